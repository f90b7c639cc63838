"""One self-contained page about a run: scores, pictures, realism, losses, settings."""

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microscopygan.evaluate.metrics import psnr_affine
from microscopygan.evaluate.report.charts import grey, heat, line_chart, picture
from microscopygan.evaluate.report.run_folder import Run, Table, column, read_run
from microscopygan.image.atomic import write_text

Planes = dict[str, NDArray[np.float32]]

METHODS = {
    "input": "Defective",
    "classical": "Classical",
    "generalist": "Generalist",
    "restored": "Restored",
}
ROWS_SHOWN = 4


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
    style = files("microscopygan.evaluate.report").joinpath("page.css").read_text(encoding="utf-8")
    sections = (
        _headline(run.scores, run.record),
        _examples(run),
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
    return html.escape(str(value))


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


def _ordered(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _finite(table: Table, name: str) -> NDArray[np.float64]:
    values = column(table, name)
    return values[np.isfinite(values)]


def _spread(values: NDArray[np.float64], digits: int) -> str:
    if values.size == 0:
        return "–"
    if values.size == 1:
        return f"{values[0]:.{digits}f}"
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


# Scores


def _headline(scores: Table, record: dict[str, Any]) -> str:
    title = "How well it restores"
    if not scores:
        return _section(title, _absent("This run has no scores: it has not been evaluated yet."))
    methods = _ordered([*METHODS, *(row["method"] for row in scores)])
    present = [m for m in methods if any(row["method"] == m for row in scores)]
    head = ["Defect", "Images", *(METHODS.get(m, m) for m in present), "Gain"]
    defects = _ordered([row["defect"] for row in scores])
    rows = [_defect_row(d, [r for r in scores if r["defect"] == d], present) for d in defects]
    counts = ((record.get("dataset") or {}).get("defects") or {}).items()
    untested = [name for name, n in counts if name in defects and not n.get("test")]
    note = (
        '<p class="soft">PSNR in dB, with SSIM below it, on test images after an affine fit: '
        "mean ± standard deviation. Best in bold. Gain: restored over defective.</p>"
    )
    if untested:
        chosen = ", which have chosen the restorer as well" if record.get("adaptation") else ""
        note += (
            f'<p class="soft">Without test images: {_text(", ".join(untested))}. Held-back pairs '
            f"stand in for them{chosen}.</p>"
        )
    return _section(title, note + _table(head, rows))


def _defect_row(defect: str, scores: Table, methods: Sequence[str]) -> str:
    of = {m: [row for row in scores if row["method"] == m] for m in methods}
    decibels = {m: _finite(of[m], "psnr_affine") for m in methods}
    means = {m: float(values.mean()) for m, values in decibels.items() if values.size}
    best = max(means, key=lambda m: means[m]) if means else None
    cells = [
        f'<td class="{"best" if m == best else ""}">{_spread(decibels[m], 2)}'
        f"<small>{_spread(_finite(of[m], 'ssim_affine'), 3)}</small></td>"
        for m in methods
    ]
    gain = "–"
    if "restored" in means and "input" in means:
        gain = f"{means['restored'] - means['input']:+.2f} dB"
    images = max((len(rows) for rows in of.values()), default=0)
    return f'<td>{_text(defect)}</td><td>{images}</td>{"".join(cells)}<td class="gain">{gain}</td>'


# Pictures


def _limits(plane: NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.percentile(plane, [0.5, 99.8])
    return float(low), float(high)


def _figure(image: str, title: str, note: str = "") -> str:
    return (
        f"<figure>{image}<figcaption>{_text(title)}<span>{_text(note)}</span></figcaption></figure>"
    )


def _quality(clean: NDArray[np.float32], plane: NDArray[np.float32]) -> str:
    try:
        return f"{psnr_affine(clean, plane):.2f} dB"
    except ValueError:
        return ""


def _example_row(defect: str, planes: Planes) -> str:
    clean = planes["clean"]
    low, high = _limits(clean)
    figures = []
    for kind, title in METHODS.items():
        if kind in planes:
            image = picture(grey(planes[kind], low, high), f"{title} image, defect {defect}")
            figures.append(_figure(image, title, _quality(clean, planes[kind])))
    image = picture(grey(clean, low, high), f"Clean image of the same place, {defect}")
    figures.append(_figure(image, "Clean", "the target"))
    if "restored" in planes and planes["restored"].shape == clean.shape:
        top = 0.5 * (high - low)
        image = picture(heat(np.abs(planes["restored"] - clean), top), "Restored minus clean")
        figures.append(_figure(image, "|Restored − clean|", "white: half the range"))
    return f'<div class="row n{min(max(len(figures), 4), 6)}">{"".join(figures)}</div>'


def _examples(run: Run) -> str:
    title = "Examples"
    blocks = []
    for defect, examples in run.examples.items():
        shown = [planes for planes in examples.values() if "clean" in planes][:ROWS_SHOWN]
        rows = "".join(_example_row(defect, planes) for planes in shown)
        blocks.append(f"<h3>{_text(defect)}</h3>{rows}" if rows else "")
    if not any(blocks):
        return _section(title, _absent("This run has no example pictures."))
    note = '<p class="soft">Each row shares the grey scale of its clean image.</p>'
    return _section(title, note + "".join(blocks))


def _synthetic_row(defect: str, planes: Planes) -> str:
    titles = {
        "clean": ("Clean", ""),
        "synthetic1": ("Synthetic", "draw 1"),
        "synthetic2": ("Synthetic", "draw 2"),
        "real": ("Real defect", "another image"),
    }
    reference = planes.get("clean", next(iter(planes.values())))
    low, high = _limits(reference)
    figures = [
        _figure(picture(grey(planes[k], low, high), f"{t} {note}, {defect}".strip()), t, note)
        for k, (t, note) in titles.items()
        if k in planes
    ]
    return f'<div class="row n4">{"".join(figures)}</div>'


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

    judged = record.get("adaptation") or {}
    facts = {
        "Adaptation": _adaptation(judged) if judged else None,
        "Clean images": dataset.get("clean"),
        "Share of synthetic pairs (α)": dataset.get("alpha"),
        "Share of those by CIN-GAN where the physics is known": dataset.get("cin_gan"),
        "Seed": record.get("seed"),
        "Machine": record.get("machine"),
        "Time": listed("seconds", " s"),
        "Parameters": listed("parameters"),
        "Programs": listed("program"),
    }
    known = [f"{name}: {value}" for name, value in facts.items() if value not in (None, "")]
    return "".join(f'<p class="soft">{_text(fact)}</p>' for fact in known)


def _adaptation(judged: dict[str, Any]) -> str:
    steps, known = judged.get("kept_after_steps"), judged.get("generalist_gain_db")
    said = f"kept after {steps} steps" if steps else "none did better than the generalist: kept"
    if known is not None:
        said += f", {judged.get('kept_gain_db')} dB over the input; the generalist {known} dB"
    judges = ", ".join(f"{name} on {place}" for name, place in judged["judged_on"].items())
    return f"{said}; judged: {judges}"


def _losses(logs: dict[str, Table], judged: dict[str, Any]) -> str:
    titles = {
        "defects": "CIN-GAN (defects)",
        "restorer": "cGAN (restorer)",
    }
    if "kept_gain_db" in judged:
        titles["judged"] = "Gain over the input where it was judged, dB"
    blocks = []
    for part, title in titles.items():
        table = logs.get(part, [])
        names = [n for n in (table[0] if table else {}) if n not in ("step", "seconds", "lr")]
        steps, figures = column(table, "step"), {n: column(table, n) for n in names}
        off = {n for n, f in figures.items() if part != "judged" and not f.any()}  # of weight 0
        charts = "".join(
            line_chart(list(steps), list(figures[n]), n) for n in names if n not in off
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
