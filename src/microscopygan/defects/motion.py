"""Motion while the light is gathered: a blur along a line."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, Symmetry, as_plane
from microscopygan.defects.blur_fit import fitted_blurs
from microscopygan.defects.classical import richardson_lucy
from microscopygan.defects.optics import convolve, line_kernel
from microscopygan.defects.statistics import DIRECTED_BLUR, Trace

CLASSICAL_SIGMA = 1.5  # pixels; the blur that is undone where length and angle are not known


class Motion(Defect):
    """A specimen, or a stage, that moves in one direction during the exposure."""

    name: ClassVar[str] = "motion"
    place: ClassVar[Place] = Place.OPTICS
    symmetry: ClassVar[Symmetry] = Symmetry.HALF_TURN
    trace: ClassVar[Trace | None] = DIRECTED_BLUR
    noisy: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "length": Range(2.0, 20.0, "log"),
        "angle": Range(-np.pi / 2, np.pi / 2),
    }
    length: float = Field(ge=0, le=200, description="way moved during the exposure, pixels")
    angle: float = Field(
        0.0, ge=-np.pi, le=np.pi, description="direction, radians from axis 1 towards axis 0"
    )

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Blur along the line: see :func:`optics.line_kernel`."""
        if self.length == 0:
            return as_plane(plane)
        return convolve(plane, line_kernel(self.length, self.angle))

    def describe(self) -> str:
        """Say the way and its direction: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Motion(length=8, angle=0.5).describe()
        'motion: 8 px during the exposure, 29° from the rows'
        """
        turned = f"{np.degrees(self.angle):.0f}°"
        return f"motion: {self.length:.2g} px during the exposure, {turned} from the rows"

    @classmethod
    def found(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the blur by the mean spectra: see :meth:`Defect.found`, :mod:`blur_fit`."""
        trials = [
            cls(length=length, angle=angle)
            for length in cls.ranges["length"].values(12)
            for angle in cls.ranges["angle"].values(25)[:-1]
        ]
        return fitted_blurs(
            trials, lambda one: line_kernel(one.length, one.angle), clean, defective
        )

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Richardson-Lucy with a small blur in all directions."""
        return richardson_lucy(plane, (CLASSICAL_SIGMA, CLASSICAL_SIGMA))
