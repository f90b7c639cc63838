"""What is measured on a square of an image before the set encoder sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..defects import all_defects, set_spectra, set_statistics
from ..defects.line_statistics import line_differences
from ..defects.statistics import Floats, MeanSpectrum, Medians, outliers
from ..defects.waves import relative_to_light, strongest_wave
from ..image.intensity import percentile_map

SIDE = 128  # pixels of a square
QUANTILES = (0, 0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)  # per cent

Plane = NDArray[np.float32]


def scaled(square: NDArray[np.generic]) -> Plane:
    """Bring a square to its own percentile scale, as the encoder sees it, within -2 to 6."""
    array = np.asarray(square, np.float32)
    return np.asarray(np.clip(percentile_map(array).apply(array), -2, 6), np.float32)


def filled(square: NDArray[np.generic]) -> Plane:
    """Fill a square (Y, X) that is smaller than 128 pixels with its mirror image, float32.

    Examples
    --------
    >>> filled(np.zeros((100, 64))).shape
    (128, 128)
    """
    array = np.asarray(square, np.float32)
    missing = [(0, max(0, SIDE - length)) for length in array.shape]
    return np.pad(array, missing, mode="symmetric") if any(m for _, m in missing) else array


@cache
def _traces() -> tuple[Callable[[Plane], Floats], ...]:
    """Every statistic in which some defect shows in unpaired images, each once."""
    found: dict[Callable[[Plane], Floats], None] = {}
    for kind in all_defects().values():
        if isinstance(kind.trace, Medians):
            found |= dict.fromkeys(feature.measure for feature in kind.trace.features)
        elif isinstance(kind.trace, MeanSpectrum):
            found[kind.trace.measure] = None
    return tuple(found)


def _grey_values(square: Plane) -> Floats:
    """Quantiles; shares of the least and the greatest value, and of values, in decades."""
    ends = [np.count_nonzero(square == end) for end in (square.min(), square.max())]
    counts = np.log10(np.array([*ends, np.unique(square).size]) / square.size)
    return np.concatenate([np.percentile(square, QUANTILES), counts])


def _waves(square: Plane) -> Floats:
    """How far the strongest wave stands out, its frequency and height: added, and multiplied."""
    found = []
    for plane in (square, relative_to_light(square)):
        prominence, down, right, height = strongest_wave(plane)
        found += [np.log(prominence + 1e-3) / 4, 2 * down, 2 * right, np.log(height + 1e-3) / 4]
    return np.array(found)


def _outliers(square: Plane) -> Floats:
    """Shares of bright and of dark outliers in decades, and how bright the former are."""
    apart, out = outliers(square)
    bright, dark = apart[out & (apart > 0)], np.count_nonzero(out & (apart < 0))
    shares = np.log10(np.array([bright.size, dark]) / square.size + 1e-5)
    return np.array([*shares, float(bright.mean()) if bright.size else 0.0])


def features(square: Plane) -> NDArray[np.float32]:
    """Measure all in which some defect shows.

    Parameters
    ----------
    square : array, shape (128, 128)
        As :func:`scaled` gives it.

    Returns
    -------
    array, shape (count(),), float32
        Grey values, differences between lines, waves, outliers, and the statistics of all traces.
        0 where a value is not known.

    Examples
    --------
    >>> features(np.zeros((SIDE, SIDE), np.float32)).shape == (count(),)
    True
    """
    measures = (_grey_values, line_differences, _waves, _outliers, *_traces())
    measured = np.concatenate([measure(square) for measure in measures])
    return np.asarray(np.nan_to_num(np.clip(measured, -20, 20)), np.float32)


@cache
def count() -> int:
    """Return how many numbers :func:`features` gives."""
    return len(features(np.zeros((SIDE, SIDE), np.float32)))


_OF_SETS: tuple[Callable[[Sequence[Plane]], Floats], ...] = (
    set_spectra.shape_of_spectrum,
    set_spectra.waves_of_set,
    set_statistics.light,
    set_statistics.rays,
    set_statistics.shifts,
    set_statistics.gains,
    set_statistics.grain,
    set_statistics.rhythm,
    set_statistics.shared,
)


def set_features(squares: Sequence[Plane]) -> NDArray[np.float32]:
    """Measure on a set of images what a single one does not tell from its specimen.

    Parameters
    ----------
    squares : sequence of arrays, each (128, 128)
        As :func:`scaled` gives them; the same part of the field of view in each.

    Returns
    -------
    array, shape (set_count(),), float32
        The measures of `defects.set_spectra` and `defects.set_statistics`, and the log of how many
        images there are. 0 where a value is not known.

    Examples
    --------
    >>> set_features([np.zeros((SIDE, SIDE), np.float32)]).shape == (set_count(),)
    True
    """
    measured = np.concatenate([*(measure(squares) for measure in _OF_SETS), [np.log(len(squares))]])
    return np.asarray(np.nan_to_num(np.clip(measured, -30, 30)), np.float32)


@cache
def set_count() -> int:
    """Return how many numbers :func:`set_features` gives."""
    return len(set_features([np.zeros((SIDE, SIDE), np.float32)]))
