"""Astigmatism: a blur that is wider in one direction than across it."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, Symmetry, as_plane
from microscopygan.defects.blur_fit import fitted_blurs
from microscopygan.defects.classical import richardson_lucy
from microscopygan.defects.optics import convolve, gaussian_kernel
from microscopygan.defects.statistics import DIRECTED_BLUR, Trace

CLASSICAL_SIGMA = 1.5  # pixels; the blur that is undone where the widths are not known


class Astigmatism(Defect):
    """A Gaussian point spread function of two widths."""

    name: ClassVar[str] = "astigmatism"
    place: ClassVar[Place] = Place.OPTICS
    symmetry: ClassVar[Symmetry] = Symmetry.HALF_TURN
    trace: ClassVar[Trace | None] = DIRECTED_BLUR
    noisy: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "sigma": Range(1.0, 5.0, "log"),
        "ratio": Range(0.15, 0.8),
        "angle": Range(-np.pi / 2, np.pi / 2),
    }
    sigma: float = Field(ge=0, le=50, description="blur σ along the wider direction, pixels")
    ratio: float = Field(
        0.5, gt=0, le=1, description="blur across, as a part of that along the wider direction"
    )
    angle: float = Field(
        0.0,
        ge=-np.pi,
        le=np.pi,
        description="wider direction, radians from axis 1 towards axis 0",
    )

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Blur by the two widths: see :func:`optics.gaussian_kernel`."""
        if self.sigma == 0:
            return as_plane(plane)
        return convolve(plane, gaussian_kernel(self.sigma, self.ratio * self.sigma, self.angle))

    def describe(self) -> str:
        """Say both widths and the direction: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Astigmatism(sigma=3, ratio=0.4, angle=0.5).describe()
        'astigmatism: blur σ 3 px, 29° from the rows, 1.2 px across'
        """
        along = f"blur σ {self.sigma:.2g} px, {np.degrees(self.angle):.0f}° from the rows"
        return f"astigmatism: {along}, {self.ratio * self.sigma:.2g} px across"

    @classmethod
    def found(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the blur by the mean spectra: see :meth:`Defect.found`, :mod:`blur_fit`."""
        trials = [
            cls(sigma=sigma, ratio=ratio, angle=angle)
            for sigma in cls.ranges["sigma"].values(10)
            for ratio in cls.ranges["ratio"].values(4)
            for angle in cls.ranges["angle"].values(13)[:-1]
        ]

        def kernel(one: Astigmatism) -> NDArray[np.float64]:
            return gaussian_kernel(one.sigma, one.ratio * one.sigma, one.angle)

        return fitted_blurs(trials, kernel, clean, defective)

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Richardson-Lucy with a Gaussian of a middling width."""
        return richardson_lucy(plane, (CLASSICAL_SIGMA, CLASSICAL_SIGMA))
