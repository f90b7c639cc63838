"""Light beyond what the camera can count."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, as_plane
from microscopygan.defects.statistics import check_planes
from microscopygan.image.intensity import cut_off

FEWEST = 1e-4  # share of pixels at the highest value below which an image is not saturated


class Saturation(Defect):
    """Intensities cut off at a level."""

    name: ClassVar[str] = "saturation"
    place: ClassVar[Place] = Place.DIGITAL
    closed: ClassVar[bool] = True
    remedy: ClassVar[str] = "nothing brings back what was not counted; expose for less time"
    ranges: ClassVar[dict[str, Range]] = {"level": Range(0.3, 0.95)}
    level: float = Field(gt=0, le=100, description="highest intensity counted, intensity units")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Cut off what is above the level."""
        return np.minimum(as_plane(plane), np.float32(self.level))

    def describe(self) -> str:
        """Say the level: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Saturation(level=0.7).describe()
        'saturation: cut off at 70 % of the brightest'
        """
        return f"saturation: cut off at {100 * self.level:.3g} % of the brightest"

    @classmethod
    def seen(cls, planes: Planes) -> str | None:
        """Say how many pixels are cut off: see :meth:`Defect.seen`.

        Examples
        --------
        >>> Saturation.seen([np.minimum(np.linspace(0, 1000, 10_000).reshape(100, 100), 800)])
        'saturation: 20 % of the pixels have the highest value, 800'
        """
        shares = [cut_off(np.asarray(plane), "highest") for plane in planes]
        if not any(shares):
            return None
        values = sorted({f"{np.max(p):.6g}" for p, n in zip(planes, shares, strict=True) if n})
        which = f", {values[0]}" if len(values) == 1 else " of their image"
        return (
            f"saturation: {100 * np.mean(shares):.2g} % of the pixels have the highest value{which}"
        )

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the level above which as many pixels of clean planes lie as are cut off.

        See :meth:`Defect.calibrate`; an image of which nothing is cut off gets the highest level
        of :attr:`ranges`.
        """
        check_planes("clean", clean, 16)
        check_planes("defective", defective, 16)
        levels = []
        for index in rng.permutation(len(defective))[:64]:
            plane = np.asarray(defective[int(index)], np.float64)
            share = float(np.mean(plane >= plane.max() - 1e-6 * np.ptp(plane)))
            likely = clean[int(rng.integers(len(clean)))]
            level = float(np.quantile(np.asarray(likely, np.float64), 1 - share))
            low, high = cls.ranges["level"].low, cls.ranges["level"].high
            levels.append(float(np.clip(level, low, high)) if share > FEWEST else high)
        return [cls(level=level) for level in levels]

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Return the plane as it is: what was not counted cannot be brought back."""
        return plane.copy()
