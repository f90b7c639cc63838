"""Intensity scales: to about 0..1 and back, and into the dtype of a file; what cannot be light.

Pixels that pile up at one end of the grey values were cut off there; single ones that stand out
from all around them, as optics never leave them so, are hot.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

_PART = 2**15  # pixels that are computed at a time: what fits a processor's cache
_COUNTED = 2**18  # pixels that are counted at a time
NEAR = 0.02  # of the range of grey values: what lies next to its end
_PILED = 1e-4  # part of the pixels, at the end, that is a pile
_CHANCE = 8  # pixels there that are none yet
_FAR = 3.1  # times the 99th percentile of the differences to the neighbours: 8 sd of normal noise
_FEWEST, _RAREST, _MOST = 4, 2e-5, 0.02  # number and parts of the pixels that are a diagnosis
_ALONE = 0.2  # of the difference: what its neighbours may differ; optics spread more


@dataclass(frozen=True)
class AffineMap:
    """The map ``(x - offset) / scale`` and its inverse.

    Computed in float64, so that large offsets cost no precision; results are float32.

    Attributes
    ----------
    offset
        Intensity that maps to 0, in the image's units.
    scale
        Intensity range that maps to 1, in the image's units; finite and not 0.

    Examples
    --------
    >>> scale = AffineMap(offset=100.0, scale=50.0)
    >>> scale.apply(np.array([100, 125], np.uint16))
    array([0. , 0.5], dtype=float32)
    >>> scale.undo(np.array([0.5]))
    array([125.], dtype=float32)
    """

    offset: float
    scale: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.offset) and np.isfinite(self.scale) and self.scale != 0):
            raise ValueError(
                "expected a finite offset and a finite scale other than 0, got "
                f"offset {self.offset} and scale {self.scale}; use percentile_map"
            )

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Map intensities in the image's units to about 0..1; float32, shape kept."""
        return _by_parts(array, np.float32, lambda part: (part - self.offset) / self.scale)

    def undo(self, array: np.ndarray) -> np.ndarray:
        """Map about 0..1 back to the image's units; float32, shape kept."""
        return _by_parts(array, np.float32, lambda part: part * self.scale + self.offset)


@dataclass(frozen=True)
class AffineFit:
    """The gain and offset that bring one image closest to another: see `fit_affine`.

    Attributes
    ----------
    gain
        Units of y in one of x.
    x_mean, y_mean
        Means of the two, which the fit maps onto each other.
    """

    gain: float
    x_mean: float
    y_mean: float

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return x on the scale of y."""
        return self.gain * (x - self.x_mean) + self.y_mean

    def residual(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return what the fit of x leaves of y."""
        return (y - self.y_mean) - self.gain * (x - self.x_mean)


def fit_affine(x: np.ndarray, y: np.ndarray, flat: float = 0.0) -> AffineFit:
    """Fit y by a gain and an offset of x, by least squares.

    Parameters
    ----------
    x, y
        Of one shape and floating type, in any units.
    flat
        The gain of an x that is constant.

    Examples
    --------
    >>> fit = fit_affine(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
    >>> fit.gain, fit.apply(np.array([10.0]))
    (2.0, array([21.]))
    """
    x_mean, y_mean = x.mean(), y.mean()
    variance = float(np.mean((x - x_mean) ** 2))
    if variance <= 1e-20 * max(1e-100, float(np.mean(x**2))):
        return AffineFit(flat, x_mean, y_mean)
    return AffineFit(float(np.mean((x - x_mean) * (y - y_mean))) / variance, x_mean, y_mean)


def percentile_map(array: np.ndarray, low: float = 1.0, high: float = 99.8) -> AffineMap:
    """Map the percentiles `low` and `high` of an image to 0 and 1.

    Parameters
    ----------
    array
        The whole image, volume or frame (never a tile); any shape and real dtype, finite.
    low, high
        Percentiles, 0 ≤ low < high ≤ 100.

    Returns
    -------
    AffineMap, always invertible. Where the percentiles coincide (a few bright spots on flat
    ground), minimum and maximum take their place; a constant image gets scale 1.

    Raises
    ------
    ValueError
        Percentiles out of order, an empty image, or one with NaN or infinite pixels.

    Examples
    --------
    >>> percentile_map(np.arange(101), low=0, high=100)
    AffineMap(offset=0.0, scale=100.0)
    >>> percentile_map(np.full((4, 4), 7.0))
    AffineMap(offset=7.0, scale=1.0)
    """
    if not 0 <= low < high <= 100:
        raise ValueError(
            f"expected percentiles 0 <= low < high <= 100, got {low} and {high}; try 1 and 99.8"
        )
    if array.size == 0:
        raise ValueError("expected an image with pixels, got none; check the file")
    if not np.isfinite(array).all():
        raise ValueError("expected finite pixels, got NaN or infinite ones; replace them before")
    exact = array.dtype.kind in "uif" and array.dtype.itemsize <= 2
    values: NDArray[np.floating] = array.astype(np.float32 if exact else np.float64)
    bottom, top = (float(v) for v in np.percentile(values, [low, high]))
    if bottom == top:
        bottom, top = float(values.min()), float(values.max())
    return AffineMap(bottom, top - bottom if top != bottom else 1.0)


def to_dtype(array: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Convert intensities to a dtype: integers rounded and clipped to their range, floats cast.

    Parameters
    ----------
    array
        Finite real intensities in the units of the result.
    dtype
        An integer or floating dtype.

    Raises
    ------
    ValueError
        Another kind of dtype, or NaN or infinite values for an integer dtype.

    Examples
    --------
    >>> to_dtype(np.array([-3.0, 1.6, 300.0]), np.uint8)
    array([  0,   2, 255], dtype=uint8)
    """
    wanted = np.dtype(dtype)
    if wanted.kind not in "uif":
        raise ValueError(f"expected an integer or float dtype, got {wanted}; try float32")
    if wanted.kind == "f" or array.dtype == wanted:
        return array.astype(wanted)
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite values to store as {wanted}, got NaN; try float32")
    info = np.iinfo(wanted)
    low, high = np.float64(info.min), np.float64(info.max)
    if int(high) > info.max:  # 64-bit limits are no float64; the next one below fits
        high = np.nextafter(high, 0)
    return _by_parts(array, wanted, lambda part: np.clip(np.rint(part), low, high))


def piled_up(count: int, near: int, size: int) -> float:
    """Return the part of the pixels that are cut off at an end of the grey values, 0 to 1.

    Parameters
    ----------
    count
        Pixels of the highest (or of the lowest) value.
    near
        Other pixels within 2 % of the range from it, or of the next value; what is not cut off
        thins out there.
    size
        All pixels.

    Returns
    -------
    float
        ``count / size``; 0 where these are no more than thinning out leaves.

    Examples
    --------
    >>> piled_up(count=5_000, near=900, size=1_000_000), piled_up(3, 20, 1_000_000)
    (0.005, 0.0)
    """
    return count / size if count > max(_PILED * size, near + _CHANCE) else 0.0


def cut_off(array: np.ndarray, end: Literal["highest", "lowest"]) -> float:
    """Return the part of the pixels that are cut off at the highest or at the lowest value.

    Parameters
    ----------
    array
        Any shape, units and real dtype, finite; constant arrays are not cut off.
    end
        Which.

    Examples
    --------
    >>> ramp = np.linspace(0, 1, 10_000)
    >>> cut_off(ramp, "highest"), round(cut_off(np.minimum(ramp, 0.9), "highest"), 3)
    (0.0, 0.1)
    """
    low, high = float(array.min()), float(array.max())
    if low == high:
        return 0.0
    flat = array.reshape(-1)
    parts = [flat[start : start + _COUNTED] for start in range(0, flat.size, _COUNTED)]
    outermost, reach = (np.max, np.greater_equal) if end == "highest" else (np.min, np.less_equal)
    last, other = (high, low) if end == "highest" else (low, high)

    def number(edge: float) -> int:
        return sum(int(np.count_nonzero(reach(part, edge))) for part in parts)

    count, within = number(last), number(last + NEAR * (other - last))
    if within == count:
        others = (part[part != last] for part in parts)
        within = number(float(outermost([outermost(part) for part in others if part.size])))
    return piled_up(count, within - count, array.size)


def isolation(padded: np.ndarray) -> tuple[NDArray[np.float32], ...]:
    """Compare the pixels of a plane, given with a margin of 1, with their eight neighbours.

    Returns
    -------
    difference
        Of the pixel to the median of its neighbours.
    spread
        Of the second brightest of these to the second darkest.
    median
        Of the neighbours.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    around = np.stack(
        [
            padded[i : i + height, j : j + width].astype(np.float32)
            for i in range(3)
            for j in range(3)
            if (i, j) != (1, 1)
        ]
    )
    around.sort(axis=0)
    median = (around[3] + around[4]) / 2
    return padded[1:-1, 1:-1].astype(np.float32) - median, around[6] - around[1], median


def alone(
    difference: NDArray[np.float32], spread: NDArray[np.float32], threshold: float
) -> NDArray[np.bool_]:
    """Return which pixels are hot: far brighter than their neighbours, which do not differ so.

    Parameters
    ----------
    difference, spread
        As `isolation` gives them.
    threshold
        See `find_hot_pixels`.
    """
    return np.asarray((difference > threshold) & (spread < _ALONE * difference))


class HotPixelCount(NamedTuple):
    """What `find_hot_pixels` finds.

    Attributes
    ----------
    threshold
        How much brighter than the median of its neighbours a hot pixel is, in grey values.
    number, size
        Of hot pixels, and of all.
    """

    threshold: float
    number: int
    size: int

    @property
    def clear(self) -> bool:
        """Whether they are hot pixels beyond doubt: more than chance leaves, and still few."""
        return bool(max(_FEWEST, _RAREST * self.size) <= self.number <= _MOST * self.size)

    @property
    def few(self) -> bool:
        """Whether there are some, but no more than are mended."""
        return bool(0 < self.number <= _MOST * self.size)


def find_hot_pixels(planes: Sequence[np.ndarray]) -> HotPixelCount:
    """Count the hot pixels of planes of one detector.

    Parameters
    ----------
    planes
        (Y, X), any real dtype and units; NaN and infinite pixels are none.

    Returns
    -------
    HotPixelCount

    Examples
    --------
    >>> plane = np.random.default_rng(0).normal(100, 5, (64, 64))
    >>> plane[7, 8] = 900
    >>> find_hot_pixels([plane]).number
    1
    """
    margins: list[Literal["reflect", "edge"]] = [
        "reflect" if min(plane.shape) > 1 else "edge" for plane in planes
    ]
    padded = [np.pad(p, 1, mode=margin) for p, margin in zip(planes, margins, strict=True)]
    compared = [isolation(plane) for plane in padded]
    differences = np.concatenate([difference.ravel() for difference, _, _ in compared])
    spreads = np.concatenate([spread.ravel() for _, spread, _ in compared])
    finite = np.isfinite(differences)
    if not finite.any():
        return HotPixelCount(np.inf, 0, max(differences.size, 1))
    usual = float(np.percentile(np.abs(differences[finite]), 99))
    threshold = _FAR * max(usual, 1e-12 if planes[0].dtype.kind == "f" else 1.0)
    hot = finite & alone(differences, spreads, threshold)
    return HotPixelCount(threshold, int(hot.sum()), differences.size)


def _by_parts(
    array: np.ndarray, dtype: DTypeLike, change: Callable[[NDArray[np.float64]], np.ndarray]
) -> np.ndarray:
    """Compute element by element in float64, in parts that fit a processor's cache."""
    array = np.asarray(array)
    result = np.empty(array.shape, dtype)
    if array.ndim == 0:
        result[()] = change(array.astype(np.float64))
        return result
    rows = max(1, _PART * len(array) // max(1, array.size))
    for first in range(0, len(array), rows):
        part = slice(first, first + rows)
        result[part] = change(array[part].astype(np.float64))
    return result
