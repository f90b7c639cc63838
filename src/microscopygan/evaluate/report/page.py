"""One self-contained page about a run: scores, pictures, realism, losses, settings."""

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from microscopygan.evaluate.report.charts import line_chart
from microscopygan.evaluate.report.pictures import (
    Planes,
    detail_row,
    figure,
    find_detail,
    grey,
    image_row,
    picture,
    row,
    scale_note,
    window,
)
from microscopygan.evaluate.report.run_folder import Run, Table, column, read_run
from microscopygan.evaluate.score_table import TITLES, Spread, score_table
from microscopygan.image.atomic import write_text

_NO_LOSSES = ("step", "seconds", "lr", "waiting")  # columns of a log
ROWS_SHOWN = 2  # images of each defect; the rest is folded away


def write_report(run: str | Path, output: str | Path, *, overwrite: bool = False) -> Path:
    """Write the report of a run as one HTML file without links to anything outside it.

    Parameters
    ----------
    run
        Folder that training and evaluation wrote; parts that are absent are named as such.
    output
        HTML file to make.
    overwrite
        Replace a file that is there.

    Returns
    -------
    `output`.

    Raises
    ------
    FileNotFoundError
        The run folder does not exist.
    ValueError
        It is no run folder, or a part of it is broken.
    FileExistsError
        `output` exists and `overwrite` is not set.
    """
    output = Path(output)
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; choose another name or allow overwriting")
    return write_text(output, render(read_run(Path(run))), overwrite=overwrite)


def render(run: Run) -> str:
    """Lay out the page.

    Parameters
    ----------
    run
        As `read_run` gives it.

    Returns
    -------
    A whole HTML document.
    """
    titles = TITLES if run.record.get("adaptation") else TITLES | {"restored": "Restored"}
    style = files("microscopygan.evaluate.report").joinpath("page.css").read_text(encoding="utf-8")
    sections = (
        _headline(run, titles),
        _examples(run, titles),
        _synthetic(run),
        _training(run.record),
        _losses(run.logs, run.record.get("adaptation") or {}),
        _reading(),
        _settings(run),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>MicroscopyGAN: {_text(run.name)}</title><style>{style}</style></head><body><main>"
        f'<h1>Restoration report</h1><p class="lead">Run “{_text(run.name)}”</p>'
        f"{''.join(sections)}</main></body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value)).encode(errors="replace").decode()


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _absent(sentence: str) -> str:
    return f'<p class="absent">{sentence}</p>'


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{_text(title)}</th>' for title in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


# Scores


def _headline(run: Run, titles: Mapping[str, str]) -> str:
    title = "How well it restores"
    if not run.scores:
        return _section(title, _absent("This run has no scores: it has not been evaluated yet."))
    decibels, structure = score_table(run.scores), score_table(run.scores, "ssim_affine")
    methods = list(next(iter(decibels.values())))
    head = ["Defect", "Images", *(titles.get(name, name) for name in methods), "Gain"]
    images = {
        name: len({r.get("image") for r in run.scores if r["defect"] == name}) for name in decibels
    }
    rows = [_defect_row(n, images[n], decibels[n], structure[n]) for n in decibels]
    note = (
        '<p class="soft">PSNR in dB, with SSIM below it, on test images after an affine fit: '
        "mean ± standard deviation. Best in bold. "
        f"Gain: {titles['restored'].lower()} over input.</p>"
    )
    return _section(title, note + _untested(run) + _table(head, rows))


def _untested(run: Run) -> str:
    counts = ((run.record.get("dataset") or {}).get("defects") or {}).items()
    scored = {row["defect"] for row in run.scores}
    names = [name for name, n in counts if name in scored and not n.get("test")]
    if not names:
        return ""
    both = ", which have chosen the restorer as well" if run.record.get("adaptation") else ""
    return (
        f'<p class="soft">Without test images: {_text(", ".join(names))}. Held-back pairs '
        f"stand in for them{both}.</p>"
    )


def _defect_row(
    defect: str, images: int, decibels: dict[str, Spread], structure: dict[str, Spread]
) -> str:
    means = {name: value.mean for name, value in decibels.items() if np.isfinite(value.mean)}
    best = max(means, key=lambda name: means[name]) if means else None
    cells = [
        f'<td class="{"best" if name == best else ""}">{value.text(2)}'
        f"<small>{structure[name].text(3)}</small></td>"
        for name, value in decibels.items()
    ]
    gain = "–"
    if "restored" in means and "input" in means:
        gain = f"{means['restored'] - means['input']:+.2f} dB"
    return f'<td>{_text(defect)}</td><td>{images}</td>{"".join(cells)}<td class="gain">{gain}</td>'


# Pictures


def _examples(run: Run, titles: Mapping[str, str]) -> str:
    title = "Examples"
    blocks = [
        _defect_examples(defect, examples, titles) for defect, examples in run.examples.items()
    ]
    if not any(blocks):
        return _section(title, _absent("This run has no example pictures."))
    note = (
        '<p class="soft">First one detail, enlarged: where the pictures differ most. The frame '
        "shows where it lies. All pictures of a row share one stretched grey scale.</p>"
    )
    return _section(title, note + "".join(blocks))


def _defect_examples(defect: str, examples: Mapping[str, Planes], titles: Mapping[str, str]) -> str:
    """Show the detail of one image, that image, another, and the rest folded away."""
    shown = {n: planes for n, planes in examples.items() if "clean" in planes}
    details = {n: pair for n, planes in shown.items() if (pair := find_detail(planes))}
    order = sorted(shown, key=lambda n: -details[n][0] if n in details else 0)
    rows = [image_row(shown[n], titles, defect) for n in order]
    detail = ""
    if order and order[0] in details:
        first, square = shown[order[0]], details[order[0]][1]
        detail = detail_row(first, titles, square, defect)
        rows[0] = image_row(first, titles, defect, over=square.outline())
    more = "".join(rows[ROWS_SHOWN:])
    if more:
        more = f"<details><summary>More images</summary>{more}</details>"
    body = detail + "".join(rows[:ROWS_SHOWN]) + more
    return f"<h3>{_text(defect)}</h3>{body}" if body else ""


def _synthetic_row(defect: str, planes: Planes) -> str:
    titles = {
        "clean": ("Clean", ""),
        "synthetic1": ("Synthetic", "draw 1"),
        "synthetic2": ("Synthetic", "draw 2"),
        "real": ("Real defect", "another image"),
    }
    scale = window(planes.get("clean", next(iter(planes.values()))))
    return row(
        [
            figure(picture(grey(planes[k], *scale), f"{t} {note}, {defect}"), t, note)
            for k, (t, note) in titles.items()
            if k in planes
        ],
        scale_note(scale, "the clean image"),
    )


def _synthetic(run: Run) -> str:
    blocks = []
    for defect, examples in run.synthetic.items():
        rows = [_synthetic_row(defect, planes) for planes in examples.values()][:ROWS_SHOWN]
        blocks.append(f"<h3>{_text(defect)}</h3>{''.join(rows)}")
    pictures = "".join(blocks) or _absent("This run has no pictures of synthetic defects.")
    return _section("Defects it learned", pictures + _realism(run.realism))


def _measure(value: Any, digits: int, percent: bool = False) -> str:
    if not isinstance(value, int | float) or not np.isfinite(value):
        return "<td>–</td>"
    return f"<td>{value:.{digits}%}</td>" if percent else f"<td>{value:.{digits}f}</td>"


def _realism(realism: dict[str, dict[str, dict[str, Any]]]) -> str:
    rows = [
        f"<td>{_text(defect)}</td><td>{_text(source)}</td>"
        + _measure(numbers.get("spectrum"), 3)
        + _measure(numbers.get("noise_curve"), 0, percent=True)
        + _measure(numbers.get("classifier"), 2)
        for defect, sources in realism.items()
        for source, numbers in sources.items()
    ]
    if not rows:
        return _absent("How realistic the synthetic defects are was not measured.")
    head = ("Defect", "Made by", "Spectrum (decades)", "Noise curve", "Classifier")
    sentence = (
        "<p>How far synthetic defects are from real ones: the difference of their power spectra, "
        "the mean deviation of noise variance at equal intensity, and how often a classifier tells "
        "the two apart. Smaller is better; 0, 0 % and 0.5 (a coin toss) are perfect.</p>"
    )
    return f"<h3>How realistic they are</h3>{sentence}{_table(head, rows)}"


# Training


def _training(record: dict[str, Any]) -> str:
    title = "What was trained on what"
    if not record:
        return _section(title, _absent("This run kept no record of its data and programs."))
    dataset = record.get("dataset") or {}
    counts = [
        f"<td>{_text(defect)}</td>"
        + "".join(f"<td>{_text(n.get(k, '–'))}</td>" for k in ("unpaired", "pairs", "test"))
        for defect, n in (dataset.get("defects") or {}).items()
    ]
    head = ("Defect", "Unpaired images", "Real pairs", "Test images")
    table = _table(head, counts) if counts else _absent("No counts of images were recorded.")
    return _section(title, table + _facts(record, dataset))


def _facts(record: dict[str, Any], dataset: dict[str, Any]) -> str:
    def listed(key: str, unit: str = "") -> str:
        return ", ".join(f"{name} {value}{unit}" for name, value in (record.get(key) or {}).items())

    adaptation = record.get("adaptation") or {}
    facts = {
        "Adaptation": _adaptation(adaptation) if adaptation else None,
        "Clean images": dataset.get("clean"),
        "Share of synthetic pairs (α)": dataset.get("alpha"),
        "Share of those by CIN-GAN where the physics is known": dataset.get("cin_gan"),
        "Seed": record.get("seed"),
        "Machine": record.get("machine"),
        "Time": listed("seconds", " s"),
        "Parameters": listed("parameters"),
        "Programs": listed("program"),
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value not in (None, "")]
    return "".join(f'<p class="soft">{_text(fact)}</p>' for fact in lines)


def _adaptation(adaptation: dict[str, Any]) -> str:
    if "said" in adaptation:
        return " ".join(adaptation["said"])
    steps = adaptation.get("kept_after_steps")
    text = f"kept after {steps} steps" if steps else "the generalist was kept, none did better"
    if "generalist_gain_db" in adaptation:
        text += (
            f", {adaptation.get('kept_gain_db')} dB over the input; "
            f"the generalist {adaptation['generalist_gain_db']} dB"
        )
    judged_on = adaptation.get("judged_on", {})
    images = ", ".join(f"{name} on {place}" for name, place in judged_on.items())
    return f"{text}; validation: {images}"


def _losses(logs: dict[str, Table], adaptation: dict[str, Any]) -> str:
    titles = {
        "defects": "CIN-GAN (defects)",
        "restorer": "cGAN (restorer)",
    }
    if "kept_gain_db" in adaptation:
        titles["validation"] = "Validation: gain over the input, dB"
    blocks = []
    for part, title in titles.items():
        table = logs.get(part, [])
        names = [n for n in (table[0] if table else {}) if n not in _NO_LOSSES]
        steps, figures = column(table, "step"), {n: column(table, n) for n in names}
        weight = 0.0 if part == "validation" else 0.95
        charts = "".join(
            line_chart(list(steps), list(values), name, weight)
            for name, values in figures.items()
            if part == "validation" or values.any()  # others are of weight 0
        )
        body = f'<div class="charts">{charts}</div>' if charts else ""
        blocks.append(f"<h3>{title}</h3>" + (body or _absent("Not trained, or without a log.")))
    note = '<p class="soft">Pale: as logged. Strong: smoothed. Logarithmic where positive.</p>'
    return _section("Losses", note + "".join(blocks))


def _reading() -> str:
    return _section(
        "How to read it",
        "<p>PSNR and SSIM compare an image with its clean target after fitting one gain and one "
        "offset by least squares, with the target’s maximum minus minimum as the range and a "
        "7 × 7 uniform window for SSIM. Figures in the 2019 convention, each image scaled to 0..1 "
        "by its own extremes, stand in scores.csv as psnr_minmax and ssim_minmax; one hot pixel "
        "changes them, so compare them only with papers that use them.</p>",
    )


def _settings(run: Run) -> str:
    if not run.settings:
        return _section("Settings", _absent("This run kept no settings."))
    text = _text(json.dumps(run.settings, indent=2, ensure_ascii=False))
    return _section(
        "Settings", f"<details><summary>All settings</summary><pre>{text}</pre></details>"
    )
