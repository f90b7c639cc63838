"""An image out of focus: a blur by a disc."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, as_plane
from microscopygan.defects.blur_fit import fitted_blurs
from microscopygan.defects.classical import richardson_lucy
from microscopygan.defects.optics import convolve, disc_kernel
from microscopygan.defects.statistics import BLUR, Trace

CLASSICAL_SIGMA = 1.5  # pixels; the blur that is undone where the radius is not known


class Defocus(Defect):
    """The whole plane out of focus, by geometrical optics."""

    name: ClassVar[str] = "defocus"
    place: ClassVar[Place] = Place.OPTICS
    trace: ClassVar[Trace | None] = BLUR
    noisy: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {"radius": Range(1.0, 8.0, "log")}
    radius: float = Field(ge=0, le=100, description="radius of the disc of a point, pixels")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Blur by the disc: see :func:`optics.disc_kernel`."""
        return convolve(plane, disc_kernel(self.radius)) if self.radius else as_plane(plane)

    def describe(self) -> str:
        """Say the radius: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Defocus(radius=3.2).describe()
        'defocus: a point becomes a disc of radius 3.2 px'
        """
        return f"defocus: a point becomes a disc of radius {self.radius:.2g} px"

    @classmethod
    def found(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the blur by the mean spectra: see :meth:`Defect.found`, :mod:`blur_fit`."""
        trials = [cls(radius=radius) for radius in cls.ranges["radius"].values(24)]
        return fitted_blurs(trials, lambda one: disc_kernel(one.radius), clean, defective)

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Richardson-Lucy with a Gaussian of a middling width."""
        return richardson_lucy(plane, (CLASSICAL_SIGMA, CLASSICAL_SIGMA))
