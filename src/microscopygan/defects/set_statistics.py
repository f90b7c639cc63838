"""What is measured on a set of images at once: light, rays, lines, grain, rhythm, what they share.

The measures of single images are in `statistics` and `line_statistics`; here they are means over
the set. Those along each axis come with the difference of the axes, which the specimen has less of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from scipy import ndimage

from .line_statistics import RAY, line_differences, neighbour_shifts, ray_contrast
from .statistics import Floats, Plane, quiet_covariances, row_rhythm

BLOCKS = 8  # a side, of which the light is taken
PERIODS = range(2, 9)  # pixels, of rhythms
BANDS = (1, 2, 4, 10)  # pixels (σ) between which a pattern is looked for that all images share
_SMOOTHED = (1.0, 2.5)  # pixels (σ) along lines, before shifts are measured in them
_DARK = 0.03  # of the range; light is not told apart below
_PADDED = 840  # places of a spectrum of lines: a multiple of all PERIODS

Set = Sequence[Plane]


def _by_axis(measure: Callable[[Plane], Floats], squares: Set) -> tuple[Floats, Floats]:
    """Mean over the set of what is measured along rows, and along columns."""
    rows = np.mean([measure(square) for square in squares], axis=0)
    return rows, np.mean([measure(np.asarray(square.T)) for square in squares], axis=0)


def _stronger_first(rows: Floats, columns: Floats, excess: float) -> Floats:
    """Return by how much one axis exceeds the other, then its values; rows if `excess` >= 0."""
    apart = rows - columns
    return np.concatenate([apart, rows] if excess >= 0 else [-apart, columns])


@cache
def _paraboloids() -> tuple[Floats, Floats]:
    y, x = np.mgrid[:BLOCKS, :BLOCKS] / ((BLOCKS - 1) / 2) - 1
    columns = [np.ones(BLOCKS**2), *(c.ravel() for c in (x, y, x * x, y * y, x * y))]
    design = np.stack(columns, axis=1)
    return design, np.linalg.pinv(design)


def light(squares: Set) -> Floats:
    """How far a paraboloid explains the light of blocks, their middle and their spread."""
    rows = np.array([_falls(square) for square in squares])
    return np.concatenate([rows.mean(axis=0), rows.std(axis=0)[3::6]])


def _falls(square: Plane) -> Floats:
    design, inverse = _paraboloids()
    side = len(square) // BLOCKS
    grid = square[: side * BLOCKS, : side * BLOCKS].reshape(BLOCKS, side, BLOCKS, side)
    blocks = grid.swapaxes(1, 2).reshape(BLOCKS**2, -1)
    found = []
    for values in (np.quantile(blocks, 0.9, axis=1), np.median(blocks, 1), 2 * blocks.std(1)):
        logs = np.log(np.clip(values, 0, None) + _DARK)
        c = inverse @ logs
        fit = design @ c
        bends = np.linalg.eigvalsh(np.array([[2 * c[3], c[5]], [c[5], 2 * c[4]]]))
        explained = 1 - np.var(logs - fit) / (np.var(logs) + 1e-6)
        found += [explained, *bends, np.ptp(fit), np.var(logs), c[3] + c[4]]
    return np.array(found)


def rays(squares: Set) -> Floats:
    """Log variances of rays at several scales, how dark and how long they are, on either axis."""
    rows, columns = np.log(np.mean([ray_contrast(square) for square in squares], axis=0))
    first, second = _by_axis(_ray_shape, squares)
    excess = float((rows - columns).sum())
    differences = _stronger_first(rows, columns, excess)
    return np.concatenate([differences, first, second, first - second, np.maximum(first, second)])


def _ray_shape(square: Plane) -> Floats:
    """Skewness of what lines differ by, which shadows make negative, and its course along them."""
    logs = np.log(np.clip(square, 0, None) + 0.1)
    count = logs.shape[1] // RAY
    means = logs[:, : count * RAY].reshape(len(logs), count, RAY).mean(axis=2)
    apart = means - ndimage.gaussian_filter1d(means, 6, axis=0)
    skewness = (apart**3).mean() / (apart.var() ** 1.5 + 1e-9)
    if count < 2 or apart.std(axis=0).min() <= 1e-6:
        return np.array([skewness, 0.0])
    return np.array([skewness, np.corrcoef(apart.T)[np.triu_indices(count, 1)].mean()])


def shifts(squares: Set) -> Floats:
    """How far lines are shifted against each other, and in which rhythm, along either axis."""
    rows, columns = _by_axis(_shifts, squares)
    excess = float((rows - columns)[:: len(rows) // len(_SMOOTHED)].sum())
    return _stronger_first(rows, columns, excess)


def _shifts(square: Plane) -> Floats:
    found = []
    for width in _SMOOTHED:
        smooth = ndimage.gaussian_filter1d(square, width, axis=1)
        shift = neighbour_shifts(smooth)
        apart = shift - shift.mean()
        power = (apart**2).mean() + 1e-6
        alternating = abs((apart * (-1.0) ** np.arange(apart.size)).mean())
        one, two, four = (((smooth[k:] - smooth[:-k]) ** 2).mean() + 1e-7 for k in (1, 2, 4))
        found += [np.log(power), *((apart[k:] * apart[:-k]).mean() / power for k in (1, 2))]
        found += [np.log(alternating + 0.01), np.log(np.median(np.abs(apart)) + 0.01)]
        found += [np.log(one / two + 1e-3), np.log(two / four + 1e-3)]
    return np.array(found)


def gains(squares: Set) -> Floats:
    """How far lines differ in gain and offset, along either axis."""
    both = np.mean([line_differences(square) for square in squares], axis=0)
    rows, columns = np.split(both, 2)
    return _stronger_first(rows, columns, float((rows - columns).sum()))


def grain(squares: Set) -> Floats:
    """Noise and its correlation with the next pixels, in the quietest and in the bright places.

    In the quietest: 1 and 2 down, 1 and 2 right, and the noise of the image that has least. In the
    bright: 1 down, 1 right, 2 down, 2 right.
    """
    quiet = np.array([_correlations(quiet_covariances(square)) for square in squares])
    bright = np.mean([_bright_correlations(square) for square in squares], axis=0)
    return np.concatenate([quiet.mean(axis=0), quiet.min(axis=0)[:1], bright])


def _correlations(covariances: Floats) -> Floats:
    variance = float(covariances[0])
    rest = np.clip(covariances[1:] / (variance + 1e-7), -1, 1)
    return np.concatenate([[np.log(variance + 1e-6)], rest])


def _bright_correlations(square: Plane) -> Floats:
    residual = square - ndimage.uniform_filter(square, 5)
    around = ndimage.uniform_filter(square, 9)
    bright = around >= np.quantile(around, 0.7)
    variance = (residual[bright] ** 2).mean() + 1e-8
    found = [np.log(variance)]
    for apart in (1, 2):
        for axis in (0, 1):
            found.append((residual * np.roll(residual, apart, axis))[bright].mean() / variance)
    return np.array(found)


def rhythm(squares: Set) -> Floats:
    """How far each n-th line stands out, as of interpolation and of binning, along either axis."""
    rows, columns = _by_axis(lambda square: row_rhythm(square)[: len(PERIODS) + 1], squares)
    first, second = (np.log(spectrum + 1e-3) for spectrum in _by_axis_peaks(squares))
    apart = (np.maximum(first, second), first - second, np.minimum(first, second))
    return np.concatenate([rows, columns, *apart])


def _by_axis_peaks(squares: Set) -> list[Floats]:
    """Power of the bends of lines at each of `PERIODS`, over that of most rhythms."""
    peaks = []
    for power in _by_axis(_bends, squares):
        middle = np.median(power) + 1e-6
        near = [power[max(0, _PADDED // k - 4) : _PADDED // k + 5] for k in PERIODS]
        peaks.append(np.array([part.max() / middle for part in near]))
    return peaks


def _bends(square: Plane) -> Floats:
    bend = np.log(np.abs(np.diff(square, n=2, axis=0)).mean(axis=1) + 1e-4)
    bend = bend - ndimage.uniform_filter1d(bend, 9)
    return np.asarray(np.abs(np.fft.rfft(bend * np.hanning(bend.size), n=_PADDED)) ** 2)


def shared(squares: Set) -> Floats:
    """Log power of the mean over that of independent images, by scale: 0 where nothing is shared.

    Far below 0 where there is nothing at that scale. Of planes, of the means of rows, and of those
    of columns.
    """
    planes = np.stack(squares).astype(np.float64)
    smooth = [planes, *(ndimage.gaussian_filter(planes, (0, width, width)) for width in BANDS)]
    smooth.append(smooth[-1].mean(axis=(1, 2), keepdims=True))
    found = [_shared(a - b) for a, b in pairwise(smooth)]
    for axis in (2, 1):
        lines = planes.mean(axis=axis)
        courses = [lines, *(ndimage.gaussian_filter1d(lines, width, axis=1) for width in (2, 8))]
        courses.append(lines.mean(axis=1, keepdims=True))
        found += [_shared(a - b) for a, b in pairwise(courses)]
    return np.array(found)


def _shared(band: Floats) -> float:
    each = tuple(range(1, band.ndim))
    band = band / np.sqrt((band**2).mean(axis=each, keepdims=True) + 1e-9)
    return float(np.log((band.mean(axis=0) ** 2).mean() * len(band) + 1e-3))
