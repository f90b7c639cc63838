"""Pixels of the camera that always read high, or nothing."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, as_plane
from microscopygan.defects.statistics import Floats, check_planes, normalised

APART = 8.0  # robust standard deviations from its neighbours that make a pixel an outlier
LEAST = 0.1  # of the range, that an outlier is apart at least
_AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def outliers(plane: NDArray[np.generic]) -> tuple[Floats, NDArray[np.bool_]]:
    """Find single pixels that stand out from the eight around them.

    Parameters
    ----------
    plane : array, shape (Y, X)
        Any scale.

    Returns
    -------
    apart : array, shape (Y, X)
        Each pixel less the median of those around it.
    out : array of bool, shape (Y, X)
        Those farther apart than `APART` robust standard deviations, and beyond the others by more
        than these differ among themselves.
    """
    values = np.asarray(plane, np.float64)
    around = ndimage.median_filter(values, footprint=_AROUND, mode="reflect")
    high = ndimage.maximum_filter(values, footprint=_AROUND, mode="reflect")
    low = ndimage.minimum_filter(values, footprint=_AROUND, mode="reflect")
    apart = values - around
    sigma = 1.4826 * float(np.median(np.abs(apart))) + 1e-9
    beyond = np.maximum(values - high, low - values)
    return apart, (np.abs(apart) > APART * sigma) & (beyond > high - low)


class HotPixels(Defect):
    """Single bright pixels, and single dark ones, at random places."""

    name: ClassVar[str] = "hotpixels"
    place: ClassVar[Place] = Place.SENSOR
    ranges: ClassVar[dict[str, Range]] = {
        "hot": Range(1e-4, 0.03, "log"),
        "dead": Range(1e-5, 0.01, "log"),
        "brightness": Range(0.3, 3.0, "log"),
    }
    hot: float = Field(ge=0, le=0.5, description="share of pixels that read high")
    dead: float = Field(0.0, ge=0, le=0.5, description="share of pixels that read nothing")
    brightness: float = Field(
        1.0, ge=0, le=1e3, description="mean of what hot pixels read too much, intensity units"
    )

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add exponentially distributed light to hot pixels; dead ones read the plane's lowest."""
        array = as_plane(plane)
        which = rng.random(array.shape)
        extra = self.brightness * rng.standard_exponential(array.shape)
        lit = np.where(which < self.hot, array + extra, array)
        dark = (which >= self.hot) & (which < self.hot + self.dead)
        return np.asarray(np.where(dark, min(0.0, float(array.min())), lit), np.float32)

    def describe(self) -> str:
        """Say how many pixels are hot or dead: see :meth:`Defect.describe`.

        Examples
        --------
        >>> HotPixels(hot=0.002, dead=0.0005, brightness=0.8).describe()
        'hot pixels: 0.2 % of them, 80 % of the range too bright, 0.05 % dead'
        """
        bright = f"{100 * self.brightness:.2g} % of the range too bright"
        return f"hot pixels: {100 * self.hot:.2g} % of them, {bright}, {100 * self.dead:.2g} % dead"

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Count the outliers of each defective plane: see :meth:`Defect.calibrate`.

        Those of clean planes are taken off; what an exponential distribution hides below the
        threshold is added.
        """
        check_planes("clean", clean, 16)
        check_planes("defective", defective, 16)
        plain = np.mean([_shares(plane)[:2] for plane in clean], axis=0)
        found = []
        for index in rng.permutation(len(defective))[:64]:
            hot, dead, brightness = _shares(defective[int(index)])
            hot, dead = max(0.0, hot - plain[0]), max(0.0, dead - plain[1])
            found.append(cls(hot=min(hot, 0.5), dead=min(dead, 0.5), brightness=brightness))
        return found

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Put the median of the eight around it in the place of each outlier."""
        apart, out = outliers(plane)
        return np.asarray(np.where(out, plane - apart, plane), np.float32)


def _shares(plane: NDArray[np.generic]) -> tuple[float, float, float]:
    """Shares of bright and of dark outliers, and how bright the former are."""
    apart, out = outliers(normalised(plane))
    bright = apart[out & (apart > LEAST)]
    least = float(bright.min()) if bright.size else LEAST
    brightness = max(float(bright.mean()) - least, 0.05) if bright.size else 1.0
    hidden = np.exp(least / brightness)
    dark = float((out & (apart < -LEAST)).mean())
    return float(bright.size / apart.size * min(hidden, 3.0)), dark, min(brightness, 1e3)
