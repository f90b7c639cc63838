"""Pixels of the camera that always read high, or nothing."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, as_plane
from microscopygan.defects.statistics import check_planes, normalised, outliers
from microscopygan.image.intensity import find_hot_pixels

LEAST = 0.1  # of the range, that an outlier is apart at least


class HotPixels(Defect):
    """Single bright pixels, and single dark ones, at random places."""

    name: ClassVar[str] = "hotpixels"
    place: ClassVar[Place] = Place.SENSOR
    closed: ClassVar[bool] = True
    remedy: ClassVar[str] = (
        "restore takes single bright ones out before the network, and mends them (--hot-pixels)"
    )
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

    camera: int | None = Field(
        None, ge=0, description="seed of the places on a camera; None: anew in each image"
    )

    @classmethod
    def draw_broad(cls, rng: np.random.Generator) -> Self:
        """Draw pixels at the same places in every image, or not: see :meth:`Defect.draw_broad`."""
        return cls.draw(rng, camera=int(rng.integers(2**31)) if rng.random() < 0.5 else None)

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add exponentially distributed light to hot pixels; dead ones read the plane's lowest."""
        array = as_plane(plane)
        if self.camera is not None:
            rng = np.random.default_rng([self.camera, *array.shape])
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
    def seen(cls, planes: Planes) -> str | None:
        """Count the bright ones that restoring mends: see :meth:`Defect.seen`.

        Examples
        --------
        >>> plane = np.random.default_rng(0).normal(100, 5, (100, 100))
        >>> plane[::20, ::20] = 900
        >>> HotPixels.seen([plane])
        'hot pixels: 0.25 % of them, single and far brighter than all around them'
        """
        found = find_hot_pixels([np.asarray(plane) for plane in planes])
        if not found.clear:
            return None
        share = 100 * found.number / found.size
        return f"hot pixels: {share:.2g} % of them, single and far brighter than all around them"

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
