"""One self-contained page about what is wrong with images, and pictures that show it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ...defects.statistics import noise_and_mean, noise_curve, noisiness, power_spectrum
from ...diagnosis.words import ChannelDiagnosis, ImageDiagnosis, Said
from ...image.atomic import write_text
from ...image.intensity import alone, cut_off, find_hot_pixels, isolation
from .charts import line_chart
from .pictures import Detail, Window, box_mean, figure, grey, picture, row, scale_note, window

_DETAIL = 96  # pixels a side of the part that is enlarged
_SHOWN = 512  # pixels a side of a picture of a whole plane, at most
_LOOKED = 512  # pixels a side of the middle of a plane by which the noisiest is chosen
_LINES = 24.0  # lines (σ) of the neighbourhood that a line's mean is compared with
_BINS = 128  # of grey values
_HIGHEST, _HOT = (255, 64, 64), (255, 212, 59)  # colours of marked pixels

Plane = NDArray[np.float32]


def write_diagnosis(
    diagnoses: Sequence[ImageDiagnosis], output: str | Path, *, overwrite: bool = False
) -> Path:
    """Write diagnoses as one HTML file without links to anything outside it.

    Parameters
    ----------
    diagnoses
        Of a laboratory each, or of an image each.
    output
        HTML file to make; it appears when it is whole.
    overwrite
        Replace a file that is there.

    Returns
    -------
    `output`.

    Raises
    ------
    FileExistsError
        `output` exists and `overwrite` is not set.
    """
    return write_text(Path(output), render(diagnoses), overwrite=overwrite)


def render(diagnoses: Sequence[ImageDiagnosis]) -> str:
    """Lay out the page.

    Parameters
    ----------
    diagnoses
        As `write_diagnosis` takes them.

    Returns
    -------
    A whole HTML document.
    """
    style = files("microscopygan.evaluate.report").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(_section(one) for one in diagnoses)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>MicroscopyGAN: what is wrong</title><style>{style}</style></head><body><main>"
        f"<h1>What is wrong with the images</h1>{_reading()}{body}</main></body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _reading() -> str:
    return (
        '<p class="lead">Numbers are followed, in brackets, by the range in which 9 of 10 such '
        "values lie. A percentage says how likely the finding is.</p>"
    )


def _section(diagnosis: ImageDiagnosis) -> str:
    number = len(diagnosis.images)
    title = diagnosis.images[0] if number == 1 else f"{number} images of one laboratory"
    names = "" if number == 1 else f'<p class="soft">{_text(", ".join(diagnosis.images))}</p>'
    body = "".join(_channel(one) for one in diagnosis.channels)
    return f"<section><h2>{_text(title)}</h2>{names}{body}</section>"


def _channel(one: ChannelDiagnosis) -> str:
    title = "" if one.channel is None else f"<h3>{_text(one.channel)}</h3>"
    notes = "".join(f'<p class="soft">{_text(note)}</p>' for note in one.notes)
    return title + _findings(one.said) + notes + _seen(one) + _all(one)


def _findings(said: Sequence[Said]) -> str:
    if not said:
        return '<p class="absent">Nothing was found to be wrong.</p>'
    rows = [
        f'<td class="words">{_text(one.words)}</td><td>{_text(one.sure)}</td>'
        f'<td class="words">{_text(one.remedy)}</td>'
        for one in said
    ]
    return _table(("What", "How sure", "What undoes it"), rows)


def _all(one: ChannelDiagnosis) -> str:
    """List all that was looked for, folded away."""
    rows = [
        f'<td class="words">{_text(finding.describe())}</td><td>{finding.probability:.0%}</td>'
        for finding in one.diagnosis.findings
    ]
    table = _table(("If it were there, it would be", "Probability"), rows)
    return f"<details><summary>All that was looked for</summary>{table}</details>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{_text(title)}</th>' for title in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide said"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


# Pictures


def _seen(one: ChannelDiagnosis) -> str:
    """Show the noisiest plane: whole, its worst part, its spectrum, its lines and its numbers."""
    plane = np.asarray(max(one.planes, key=_noise), np.float32)
    about = f"channel {one.channel}" if one.channel else "the noisiest plane"
    square, scale = worst_part(plane), window(plane)
    figures = [
        figure(picture(_small(plane, scale), f"Whole, {about}"), "Whole", over=square.outline()),
        figure(picture(marked(plane, square), f"Worst part, {about}"), "Worst part", _colours()),
        figure(picture(spectrum(plane), f"Spectrum, {about}"), "Spectrum", "fine detail outside"),
        figure(picture(_noise_of(plane, square), f"Noise, {about}"), "Noise of the worst part"),
    ]
    note = scale_note(scale, "the plane") + " Lines and waves are bright dots in the spectrum."
    return row(figures, note) + f'<div class="charts">{_charts(plane)}</div>'


def _noise(plane: NDArray[np.generic]) -> float:
    y, x = (max(0, (side - _LOOKED) // 2) for side in plane.shape)
    return noisiness(plane[y : y + _LOOKED, x : x + _LOOKED])


def _colours() -> str:
    return "red: highest value, yellow: hot pixels"


def worst_part(plane: Plane) -> Detail:
    """Find the square with most of what is no structure: noise, lines, hot pixels.

    Parameters
    ----------
    plane
        (Y, X), any units.

    Returns
    -------
    Detail
        96 x 96 pixels, or less where the plane is smaller.
    """
    residual, _ = noise_and_mean(plane)
    height, width = (min(_DETAIL, side) for side in plane.shape)
    mean = box_mean(
        residual**2, *(min(n, m) for n, m in zip((height, width), residual.shape, strict=True))
    )
    y, x = (int(k) for k in np.unravel_index(int(mean.argmax()), mean.shape))
    y, x = min(y, plane.shape[0] - height), min(x, plane.shape[1] - width)
    return Detail(slice(y, y + height), slice(x, x + width), (plane.shape[0], plane.shape[1]))


def marked(plane: Plane, square: Detail) -> NDArray[np.uint8]:
    """Enlarge a square, with the pixels of the highest value and the hot ones in colours.

    Parameters
    ----------
    plane
        (Y, X), any units.
    square
        Of it.

    Returns
    -------
    (Y, X, 3) uint8.
    """
    detail = square.cut(plane)
    shown = np.repeat(grey(detail, *window(detail))[..., None], 3, axis=-1)
    found = find_hot_pixels([plane])
    if found.clear:
        difference, spread, _ = isolation(np.pad(plane, 1, mode="reflect"))
        hot = alone(difference, spread, found.threshold)
        shown[hot[square.rows, square.columns]] = _HOT
    if cut_off(plane, "highest"):
        shown[detail == plane.max()] = _HIGHEST
    return shown


def spectrum(plane: Plane) -> NDArray[np.uint8]:
    """Draw the power of each frequency, its logarithm, with that of no change in the middle.

    Parameters
    ----------
    plane
        (Y, X), any units.

    Returns
    -------
    (Y, X) uint8, of the plane's middle, at most 512 x 512.
    """
    y, x = (max(0, (side - _SHOWN) // 2) for side in plane.shape)
    power = power_spectrum(plane[y : y + _SHOWN, x : x + _SHOWN])
    logs = np.log(fft.fftshift(power) + 1e-12 * power.max() + 1e-30)
    return grey(np.asarray(logs, np.float32), *np.percentile(logs, (1, 99.9)))


def _noise_of(plane: Plane, square: Detail) -> NDArray[np.uint8]:
    residual, _ = noise_and_mean(square.cut(plane))
    shown = np.asarray(residual, np.float32)
    high = float(np.percentile(np.abs(shown), 99))
    return grey(shown, -high, high)


def _small(plane: Plane, scale: Window) -> NDArray[np.uint8]:
    step = -(-max(plane.shape) // _SHOWN)
    height, width = (side // step * step for side in plane.shape)
    cells = plane[:height, :width].reshape(height // step, step, width // step, step)
    return grey(np.asarray(cells.mean(axis=(1, 3)), np.float32), *scale)


def _charts(plane: Plane) -> str:
    low, high = (float(end) for end in np.percentile(plane, (1, 99.8)))
    span = max(high - low, 1e-12)
    charts = []
    for axis, name in ((1, "row"), (0, "column")):
        lines = np.median(plane, axis=axis).astype(np.float64)
        apart = 100 * (lines - ndimage.gaussian_filter1d(lines, _LINES)) / span
        title = f"{name.capitalize()}s against their neighbours, % of the range"
        charts.append(_chart(np.arange(len(apart)), apart, title, name))
    levels, variances = noise_curve([plane])
    sigma = 100 * np.sqrt(variances) / span
    charts.append(
        _chart(levels, sigma, "Noise (σ) where it is so bright, % of the range", "grey value")
    )
    counts, edges = np.histogram(plane, _BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    charts.append(_chart(middles, np.log10(counts + 1), "Pixels, powers of ten", "grey value"))
    return "".join(charts)


def _chart(x: NDArray[np.generic], y: NDArray[np.float64], title: str, axis: str) -> str:
    return line_chart(x.tolist(), y.tolist(), title, 0.0, axis=axis, log=False)
