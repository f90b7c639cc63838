"""Gain and offset of each row, or of each column, of an image.

Line scanners whose light flickers, amplifiers of a camera's rows, sheets of light that scatter.
The stripes of neighbouring lines are independent, or alike over some lines.

Calibration compares lines some way apart, at several intensities: what their median difference
varies by, more than along the other axis, is due to stripes. Gains show in bright places alone,
offsets everywhere; the growth with the distance is the length over which stripes are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import (
    Defect,
    Place,
    Plane,
    Planes,
    Range,
    Symmetry,
    as_plane,
)
from microscopygan.defects.statistics import Floats, check_planes, normalised, robust_variance

APART = (1, 2, 3, 5, 8)  # lines between the lines that are compared
LEVELS = (-0.1, 0.1, 0.25, 0.45, 0.7, 1.1)  # edges of the intensities looked at
LENGTHS = (0.0, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # trial lengths, in lines
FEWEST = 12  # pixels of one intensity in a pair of lines
ROUNDS = 3  # of correction by simulation
SIMULATED = 12  # clean planes that stripes are put into
SMOOTH = 6.0  # lines; σ of the neighbourhood that a line is fitted to
RIDGE = 0.3  # how strongly the gain of a line is drawn towards 1, against its pixels
FITS = 6  # rounds of the robust fit
DRAWS = 15  # parameter sets that say how uncertain the spreads are


def _noise(count: int, length: float, rng: np.random.Generator) -> Floats:
    """Gaussian noise of variance 1, smooth over `length` lines (σ of the smoothing)."""
    if length == 0:
        return rng.standard_normal(count)
    margin = int(np.ceil(4 * length))
    kernel = np.exp(-0.5 * (np.arange(-margin, margin + 1) / length) ** 2)
    white = rng.standard_normal(count + 2 * margin)
    return np.asarray(np.convolve(white, kernel, "valid") / np.sqrt(np.sum(kernel**2)))


def stripes(
    plane: NDArray[np.generic],
    rng: np.random.Generator,
    *,
    gain: float,
    offset: float = 0.0,
    length: float = 0.0,
    axis: int = 0,
) -> Plane:
    """Multiply each line by a gain, and add an offset: ``out = g * plane + o``.

    ``g`` is log-normal of mean 1 and standard deviation `gain`, ``o`` normal of mean 0 and
    standard deviation `offset`, so that the mean light stays.

    Parameters
    ----------
    plane : array, shape (Y, X)
        The plane without stripes.
    rng : numpy.random.Generator
        Draws the gains, then the offsets.
    gain : float
        Standard deviation of the gains, 0 or more.
    offset : float
        Standard deviation of the offsets, in intensity units, 0 or more.
    length : float
        Lines over which stripes are alike, the σ of the Gaussian that smooths them; 0:
        each line has its own.
    axis : int
        0: each row has its own gain and offset; 1: each column.

    Returns
    -------
    array, shape (Y, X), float32
        The striped plane.

    Raises
    ------
    ValueError
        If the plane is not 2-D.

    Examples
    --------
    >>> striped = stripes(np.ones((256, 8)), np.random.default_rng(0), gain=0.1)
    >>> bool(abs(striped[:, 0].std() - 0.1) < 0.02), float(np.ptp(striped[0]))
    (True, 0.0)
    """
    array = as_plane(plane)
    count = array.shape[axis]
    width = np.sqrt(np.log1p(gain**2))  # of the logarithm
    gains = np.exp(width * _noise(count, length, rng) - width**2 / 2)
    offsets = offset * _noise(count, length, rng)
    across = (-1, 1) if axis == 0 else (1, -1)
    return np.asarray(gains.reshape(across) * array + offsets.reshape(across), np.float32)


class Stripes(Defect):
    """Rows, or columns, that differ in gain and offset."""

    name: ClassVar[str] = "stripes"
    place: ClassVar[Place] = Place.GAIN
    closed: ClassVar[bool] = True
    symmetry: ClassVar[Symmetry] = Symmetry.FLIPS
    noisy: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "gain": Range(0.0, 0.3),
        "offset": Range(0.0, 0.15),
        "length": Range(0.0, 6.0),
    }
    gain: float = Field(ge=0, le=5, description="spread (σ) of the lines' gains, mean 1")
    offset: float = Field(
        0.0, ge=0, le=10, description="spread (σ) of the lines' offsets, intensity units"
    )
    length: float = Field(
        0.0, ge=0, le=100, description="lines over which stripes are alike (σ); 0: independent"
    )
    axis: int = Field(0, ge=0, le=1, description="0: stripes are rows; 1: columns")

    @classmethod
    def draw(cls, rng: np.random.Generator, **fixed: Any) -> Self:
        """Draw the parameters, independent lines half of the time: see :meth:`Defect.draw`."""
        axis, smooth = int(rng.integers(2)), rng.random() < 0.5
        return super().draw(rng, **{"axis": axis} | ({} if smooth else {"length": 0.0}) | fixed)

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Put the stripes in: see :func:`stripes`."""
        return stripes(plane, rng, **self.model_dump())

    def describe(self) -> str:
        """Say how the lines differ: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Stripes(gain=0.05, offset=0.02).describe()
        'stripes: rows differ by 5 % in gain, by 2 % of the range in offset'
        """
        lines = ("rows", "columns")[self.axis]
        said = f"stripes: {lines} differ by {100 * self.gain:.2g} % in gain"
        said += f", by {100 * self.offset:.2g} % of the range in offset"
        return said + (f", alike over {self.length:.2g} lines" if self.length else "")

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the spreads of gain and offset, as uncertain as the planes leave them.

        See :meth:`Defect.calibrate`. The axis and the length are one for all; the planes are drawn
        anew, with replacement, for each parameter set. Stripes
        widen the range of a plane, and a specimen hides some: what is measured is corrected by
        what is measured on clean planes that get known stripes.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> truth = Stripes(gain=0.1, axis=1)
        >>> clean = [nuclei((96, 96), rng) for _ in range(6)]
        >>> striped = [truth.apply(nuclei((96, 96), rng), rng) for _ in range(6)]
        >>> calibrated = Stripes.calibrate(clean, striped, rng)
        >>> {item.axis for item in calibrated}
        {1}
        >>> bool(0.07 < np.median([item.gain for item in calibrated]) < 0.13)
        True
        """
        check_planes("clean", clean, 32)
        check_planes("defective", defective, 32)
        planes = [normalised(plane) for plane in defective]
        some = [normalised(clean[i]) for i in rng.permutation(len(clean))[:SIMULATED]]
        each, plain = [_contrast(plane) for plane in planes], _mean([_contrast(p) for p in some])
        axis = int(_stripedness(_mean(each)) < _stripedness(plain))
        excess = _excess(_mean(each), plain, axis)
        length = min(LENGTHS, key=lambda length: _spreads(excess, length)[1])
        spreads = [_spreads(excess, length)[0]]
        for _ in range(DRAWS if len(each) > 1 else 0):
            some_of = [each[i] for i in rng.integers(len(each), size=len(each))]
            spreads.append(_spreads(_excess(_mean(some_of), plain, axis), length)[0])
        factor, most = np.ones(2), (cls.ranges["gain"].high, cls.ranges["offset"].high)
        for _ in range(ROUNDS):
            gain, offset = (float(value) for value in (spreads[0] * factor).clip(0, most))
            trial = cls(gain=gain, offset=offset, length=length, axis=axis)
            striped = _mean([_contrast(normalised(trial.apply(plane, rng))) for plane in some])
            measured, _ = _spreads(_excess(striped, plain, axis), length)
            factor = np.clip((gain, offset) / (measured + 1e-3), 1 / 3, 3)
        return [
            cls(gain=gain, offset=offset, length=length, axis=axis)
            for gain, offset in (np.array(spreads) * factor).clip(0, most).tolist()
        ]

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Bring each line to the gain and offset of its neighbourhood.

        The lines are rows or columns, whichever differ more. Each is fitted to the smoothed plane
        by robust least squares (Huber), with the gain drawn towards 1.
        """
        rows = plane if _stripedness(_contrast(normalised(plane))) >= 0 else plane.T
        restored = _destriped(np.asarray(rows, np.float64))
        return np.asarray(restored if rows is plane else restored.T, np.float32)


def _line_variances(plane: Plane) -> Floats:
    """Variance of the median difference of rows, and how many medians: (2, APART, LEVELS)."""
    result = np.zeros((2, len(APART), len(LEVELS) - 1))
    for number, lag in enumerate(APART):
        difference, mean = plane[lag:] - plane[:-lag], (plane[lag:] + plane[:-lag]) / 2
        for level, (low, high) in enumerate(pairwise(LEVELS)):
            inside = (mean >= low) & (mean < high)
            counts = inside.sum(axis=1)
            ordered = np.sort(np.where(inside, difference, np.inf), axis=1)
            medians = ordered[np.arange(len(counts)), counts // 2][counts >= FEWEST]
            if medians.size >= FEWEST:
                variance = robust_variance(medians.astype(np.float64))
                result[:, number, level] = variance, medians.size
    return result


def _contrast(plane: Plane) -> Floats:
    """Variances between rows, and between columns, with their counts: (2, 2, APART, LEVELS)."""
    return np.stack([_line_variances(plane), _line_variances(plane.T)])


def _mean(contrasts: Sequence[Floats]) -> Floats:
    """Mean contrast of planes, each variance weighted by its count."""
    table = np.stack(contrasts)
    counts = table[:, :, 1].sum(axis=0)
    variances = (table[:, :, 0] * table[:, :, 1]).sum(axis=0) / np.maximum(counts, 1)
    return np.stack([variances, counts], axis=1)


def _stripedness(contrast: Floats) -> float:
    """How much more neighbouring rows differ than neighbouring columns, a logarithm."""
    (rows, columns), counts = contrast[:, 0, 0], contrast[:, 1, 0].min(axis=0)
    ratio = np.log((rows + 1e-9) / (columns + 1e-9))
    return float(np.sum(counts * ratio) / max(counts.sum(), 1))


def _excess(contrast: Floats, plain: Floats, axis: int) -> Floats:
    """Variances that the specimen does not explain, and their weights: (2, APART, LEVELS).

    The specimen's share is the variance along the other axis, corrected by as much as the two
    axes of clean planes differ.
    """
    own, other = contrast[axis], contrast[1 - axis]
    both = np.minimum(plain[0, 1], plain[1, 1]) > 0
    ratio = np.where(both, plain[axis, 0] / (plain[1 - axis, 0] + 1e-12), 1.0)
    specimen = other[0] * np.clip(ratio, 1 / 3, 3)
    weights = np.sqrt(np.minimum(own[1], other[1])) / (own[0] + specimen + 1e-9)
    return np.stack([own[0] - specimen, weights])


def _spreads(excess: Floats, length: float) -> tuple[Floats, float]:
    """Gain and offset that explain the excess best, and what they leave of it."""
    from scipy.optimize import nnls  # which takes long to import

    levels = np.clip([(low + high) / 2 for low, high in pairwise(LEVELS)], 0, None)
    lags = np.array(APART, np.float64)
    alike = np.exp(-((lags / length) ** 2) / 4) if length else np.zeros(lags.size)
    shape = np.repeat(2 * (1 - alike)[:, None], levels.size, axis=1)
    wanted, weights = (table.ravel() for table in excess)
    model = np.stack([(shape * levels**2).ravel(), shape.ravel()], axis=1)
    squares, left = nnls(model * weights[:, None], wanted * weights)
    return np.sqrt(squares), float(left)


def _destriped(rows: Floats) -> Floats:
    """Bring each row to the gain and offset of its neighbourhood.

    What columns, fitted likewise, vary by is the specimen: as much of it is left to the rows.
    """
    gain, offset, level = _fitted(rows)
    other_gain, other_offset, _ = _fitted(rows.T)
    gain = np.exp(_share(np.log(gain), np.log(other_gain)) * np.log(gain))
    offset = _share(offset, other_offset) * offset
    return np.asarray((rows - level - offset) / gain + level)


def _share(own: Floats, other: Floats) -> float:
    """Share of the variance of one set of values that the other set does not have."""
    return max(0.0, 1 - robust_variance(other) / max(robust_variance(own), 1e-12))


def _fitted(rows: Floats) -> tuple[Floats, Floats, float]:
    """Gain and offset of each row (N, 1) against its neighbourhood, and the level they leave."""
    smooth = ndimage.gaussian_filter1d(rows, SMOOTH, axis=0, mode="reflect")
    level = float(np.median(smooth))
    x, y = smooth - level, rows - level
    ridge = RIDGE * rows.shape[1] * max(float(x.var()), 1e-12)
    gain, offset = np.ones((len(rows), 1)), np.zeros((len(rows), 1))
    for _ in range(FITS):
        left = y - gain * x - offset
        scale = 1.4826 * np.median(np.abs(left), axis=1, keepdims=True) + 1e-9
        weight = np.minimum(1, 1.345 * scale / np.maximum(np.abs(left), 1e-12))
        total = weight.sum(axis=1, keepdims=True)
        middle = (weight * x).sum(axis=1, keepdims=True) / total
        mean = (weight * y).sum(axis=1, keepdims=True) / total
        square = (weight * (x - middle) ** 2).sum(axis=1, keepdims=True)
        both = (weight * (x - middle) * (y - mean)).sum(axis=1, keepdims=True)
        gain = np.clip((both + ridge) / (square + ridge), 0.2, 5)
        offset = mean - gain * middle
    return gain, offset, level
