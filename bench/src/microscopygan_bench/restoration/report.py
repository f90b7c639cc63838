"""What a run leaves behind: the tables, every score, and a page with pictures."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path

import numpy as np

from microscopygan.evaluate.folders import write_csv
from microscopygan.evaluate.metrics import affine_fit, psnr_affine
from microscopygan.evaluate.report.pictures import figure, grey, picture, row, scale_note, window
from microscopygan.image.atomic import write_text
from microscopygan_bench.peers.job import read_arrays
from microscopygan_bench.restoration.cells import ALL, Bench, Cell, count_of
from microscopygan_bench.restoration.methods import METHODS
from microscopygan_bench.restoration.published import former_weights
from microscopygan_bench.restoration.scores import Row
from microscopygan_bench.restoration.tables import (
    OURS,
    Group,
    Place,
    Results,
    Sheet,
    by_pairs,
    group_title,
    sheets,
)

_STYLE = "main { max-width: 1500px; } "
_STYLE += ".row[class] { grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); }"


def write_reports(bench: Bench, scores: list[Row], costs: list[Row]) -> str:
    """Write ``table.md``, ``scores.csv``, ``cells.csv`` and ``report.html``, each whole.

    Returns
    -------
    The text of ``table.md``.
    """
    results = Results(scores, costs)
    write_csv([_rounded(row) for row in scores], bench.out / "scores.csv", overwrite=True)
    write_csv(costs, bench.out / "cells.csv", overwrite=True)
    every = [sheet for group in results.groups for sheet in sheets(results, group)]
    text = "# All tables\n\n"
    text += "\n".join(sheet.markdown() for sheet in [*every, by_pairs(results)] if sheet.rows)
    text += f"\n{conditions(bench, results)}\n"
    write_text(bench.out / "table.md", text, overwrite=True)
    write_text(bench.out / "report.html", page(bench, results), overwrite=True)
    return text


def _rounded(row: Row) -> Row:
    """Return a row with its numbers to five places."""
    return {
        name: value if isinstance(value, str) else round(value, 5) for name, value in row.items()
    }


def conditions(bench: Bench, results: Results) -> str:
    """Say under which conditions the figures came about."""
    images = ", ".join(f"{task} {len(bench.data.test[task])}" for task in bench.data.tasks)
    text = (
        f"Each training {bench.seconds / 60:g} min on {bench.threads} threads; test images: "
        f"{images}. {'; '.join(results.machines)}."
    )
    for name, labels in _by_former_weights(bench, results.every_cost).items():
        text += f" Started from {name}: {'; '.join(labels)}."
    return text


def _by_former_weights(bench: Bench, costs: list[Row]) -> dict[str, list[str]]:
    """Name the trainings that started from weights which do not ship any more, by these."""
    labels: dict[str, list[str]] = {}
    for cost in costs:
        where = group_title((str(cost["setting"]), str(cost["pairs"]))).lower()
        label = f"{METHODS[str(cost['method'])].title} ({where})"
        name = former_weights(cost, bench)
        if name and label not in labels.setdefault(name, []):
            labels[name].append(label)
    return labels


def page(bench: Bench, results: Results) -> str:
    """Lay out the page: for each group its tables and pictures. It links to nothing outside."""
    style = files("microscopygan.evaluate.report").joinpath("page.css").read_text(encoding="utf-8")
    parts = [_section(bench, results, group) for group in results.groups]
    if (growth := by_pairs(results)).rows:
        parts.append(f"<section><h2>{growth.title}</h2>{_table(growth)}</section>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Benchmark of restoration</title><style>{style}{_STYLE}</style></head><body><main>"
        f"<h1>Benchmark of restoration</h1>"
        f'<p class="lead">{html.escape(conditions(bench, results))}</p>'
        f"{''.join(parts)}</main></body></html>\n"
    )


def _section(bench: Bench, results: Results, group: Group) -> str:
    tables = "".join(_table(sheet) for sheet in sheets(results, group))
    pictures = "".join(_pictures(bench, results, group, task) for task in results.tasks)
    return f"<section><h2>{html.escape(group_title(group))}</h2>{tables}{pictures}</section>"


def _table(sheet: Sheet) -> str:
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in sheet.head)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td class="{"best" if (i, j) in sheet.best else ""}">{html.escape(text)}</td>'
            for j, text in enumerate(row)
        )
        + "</tr>"
        for i, row in enumerate(sheet.rows)
    )
    return (
        f'<h3>{html.escape(sheet.title)}</h3><div class="wide"><table><thead><tr>{head}</tr>'
        f'</thead><tbody>{rows}</tbody></table></div><p class="soft">{html.escape(sheet.note)}</p>'
    )


def _pictures(bench: Bench, results: Results, group: Group, task: str) -> str:
    """Best, median and worst test image, as every method of the first draw restores them.

    Methods of which there are published scores alone have no picture.
    """
    places = [p for p in results.places(group) if results.values(p, task, "psnr_affine").get(0)]
    if not places:
        return ""
    reference = (OURS, *group) if (OURS, *group) in places else places[-1]
    scores = list(results.values(reference, task, "psnr_affine")[0].values())
    order = np.argsort(scores)[::-1]
    cases = dict(zip(("best", "median", "worst"), order[[0, len(order) // 2, -1]], strict=True))
    planes = {
        place[0]: read_arrays(path)[task]
        for place in places
        if (path := first_draw(bench, place, task) / "restored.npz").exists()
    }
    if not planes:
        return ""
    rows = [
        f"<h3>{html.escape(task)}: {case} image of {html.escape(METHODS[reference[0]].title)}</h3>"
        + _row(planes, bench.data.targets(task)[index].target, int(index))
        for case, index in cases.items()
    ]
    return "".join(rows)


def _row(planes: dict[str, np.ndarray], target: np.ndarray, index: int) -> str:
    scale = window(target)
    figures = []
    for name, stack in planes.items():
        fitted = np.asarray(affine_fit(target, stack[index]), np.float32)
        decibels, title = f"{psnr_affine(target, stack[index]):.2f} dB", METHODS[name].title
        figures.append(figure(picture(grey(fitted, *scale), title), title, decibels))
    figures.append(figure(picture(grey(target, *scale), "target"), "target"))
    return row(figures, scale_note(scale, "the target"))


def first_draw(bench: Bench, place: Place, task: str) -> Path:
    """Return the folder of the cell where a method's first draw restores a task."""
    name, setting, pairs = place
    restores = task.rpartition("+")[2] if METHODS[name].single else ALL
    return bench.folder(Cell(name, setting, count_of(pairs), 0, restores))
