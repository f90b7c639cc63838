"""Hum: a wave of one frequency over the image, of the mains or of a fan, caught by the read-out."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Place, Plane, Planes, Range, as_plane
from microscopygan.defects.waves import WaveDefect, find_wave, outstanding, wave


class Hum(WaveDefect):
    """A wave of one frequency and direction, added to the image."""

    name: ClassVar[str] = "hum"
    place: ClassVar[Place] = Place.LIGHT
    closed: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "amplitude": Range(0.01, 0.2, "log"),
        "down": Range(-0.5, 0.5),
        "right": Range(0.0, 0.5),
    }
    amplitude: float = Field(ge=0, le=10, description="amplitude, intensity units")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add the wave, its phase drawn anew."""
        array = as_plane(plane)
        return np.asarray(array + self.amplitude * self.waves(array.shape, rng), np.float32)

    def describe(self) -> str:
        """Say the wave's height and length: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Hum(amplitude=0.05, down=0.0, right=0.1).describe()
        'hum: waves of 5 % of the range, 10 px long, 0° from the rows'
        """
        height = f"waves of {100 * self.amplitude:.2g} % of the range"
        return f"hum: {height}, {self.length:.3g} px long, {self.slant}"

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the wave that all defective planes have, and its height in each.

        See :meth:`Defect.calibrate`; the planes may differ in size, the smallest decides how
        sharply frequencies are told apart.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> clean = [nuclei((96, 96), rng) for _ in range(4)]
        >>> truth = Hum(amplitude=0.05, down=0.21, right=0.13)
        >>> found = Hum.calibrate(clean, [truth.apply(plane, rng) for plane in clean], rng)
        >>> round(found[0].down, 2), round(found[0].right, 2)
        (0.21, 0.13)
        """
        down, right, heights = find_wave(clean, defective)
        return [cls(amplitude=min(height, 10.0), down=down, right=right) for height in heights]

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Take out the wave that stands out most, where one does."""
        if (found := outstanding(plane)) is None:
            return plane.copy()
        down, right = found
        crop = np.asarray(plane, np.float64) - plane.mean()
        quarter = -np.pi / 2
        waves = [wave(crop.shape, down, right, phase).ravel() for phase in (0, quarter)]
        heights, *_ = np.linalg.lstsq(np.stack(waves, 1), crop.ravel(), rcond=None)
        return np.asarray(plane - (heights @ np.stack(waves)).reshape(plane.shape), np.float32)
