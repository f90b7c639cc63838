"""Patterned light: a grating of structured illumination, or fringes of a laser, on the specimen.

Calibration looks for the wave that all defective planes have, and puts its height into relation to
the light there is.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Place, Plane, Planes, Range, as_plane
from microscopygan.defects.statistics import normalised
from microscopygan.defects.waves import WaveDefect, find_wave, outstanding, wave

AROUND = 4.0  # pixels (σ) of what the classical method takes for the light around
DARKEST = 0.15  # of the light around, that is left in a dark fringe at least


class Grating(WaveDefect):
    """A wave of one frequency and direction that multiplies the light."""

    name: ClassVar[str] = "grating"
    place: ClassVar[Place] = Place.GAIN
    closed: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "depth": Range(0.05, 0.8, "log"),
        "down": Range(-0.5, 0.5),
        "right": Range(0.0, 0.5),
    }
    depth: float = Field(ge=0, le=1, description="loss of light in the dark fringes")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Multiply by the fringes, which are brightest at 1; their phase is drawn anew."""
        array = as_plane(plane)
        fringes = self.waves(array.shape, rng)
        return np.asarray(array * (1 - self.depth / 2 * (1 - fringes)), np.float32)

    def describe(self) -> str:
        """Say the fringes' depth and width: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Grating(depth=0.3, down=0.0, right=0.1).describe()
        'patterned light: fringes 10 px wide that take up to 30 % of the light, 0° from the rows'
        """
        taken = f"take up to {100 * self.depth:.2g} % of the light"
        return f"patterned light: fringes {self.length:.3g} px wide that {taken}, {self.slant}"

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the fringes of all defective planes: see :func:`waves.find_wave`.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> clean = [nuclei((96, 96), rng) for _ in range(4)]
        >>> truth = Grating(depth=0.5, down=0.21, right=0.13)
        >>> found = Grating.calibrate(clean, [truth.apply(plane, rng) for plane in clean], rng)
        >>> round(found[0].down, 2), round(found[0].right, 2)
        (0.21, 0.13)
        """
        down, right, heights = find_wave(clean, defective)
        light = max(float(np.mean([normalised(plane).mean() for plane in defective])), 1e-3)
        depths = [min(1.0, 2 * height / (height + light)) for height in heights]
        return [cls(depth=depth, down=down, right=right) for depth in depths]

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Divide by the fringes that stand out most, where some do, fitted to the light around."""
        low, high = np.percentile(plane, (1, 99.8))
        light = np.asarray(plane, np.float64) - low
        around = ndimage.gaussian_filter(light, AROUND)
        lit = np.clip(around / max(0.1 * float(high - low), 1e-9), 0, 1)
        relative = lit * (light / np.maximum(around, 1e-9) - 1)
        if (found := outstanding(np.asarray(np.clip(relative, -1, 1), np.float32))) is None:
            return plane.copy()
        waves = [wave(plane.shape, *found, phase) for phase in (0.0, -np.pi / 2)]
        model = np.stack([(around * each).ravel() for each in waves], axis=1)
        heights, *_ = np.linalg.lstsq(model, (light - around).ravel(), rcond=None)
        fringes = 1 + np.tensordot(heights, np.stack(waves), 1)
        return np.asarray(light / np.maximum(fringes, DARKEST) + low, np.float32)
