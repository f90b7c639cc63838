"""Noise that is alike in neighbouring pixels: amplifiers, interpolation, video compression.

Calibration measures the covariance of neighbours in the quietest places of each plane, where there
is hardly any specimen. Independent noise, such as that of photons, adds to the variance alone, so
the variance of the grain is extrapolated from the covariances one and two pixels apart.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, Symmetry, as_plane
from microscopygan.defects.statistics import (
    QUIET_WINDOW,
    Floats,
    check_planes,
    quiet_covariances,
)

LEAST = 0.08  # correlation of neighbours below which noise counts as independent


class Grain(Defect):
    """Gaussian noise, smooth over some pixels along each axis."""

    name: ClassVar[str] = "grain"
    place: ClassVar[Place] = Place.SENSOR
    closed: ClassVar[bool] = True
    symmetry: ClassVar[Symmetry] = Symmetry.FLIPS
    ranges: ClassVar[dict[str, Range]] = {
        "sigma": Range(0.01, 0.3, "log"),
        "down": Range(0.0, 2.5),
        "right": Range(0.0, 2.5),
    }
    sigma: float = Field(ge=0, le=10, description="noise (σ), intensity units")
    down: float = Field(0.0, ge=0, le=50, description="smoothing (σ) along axis 0, pixels")
    right: float = Field(0.0, ge=0, le=50, description="smoothing (σ) along axis 1, pixels")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add the noise, whose variance does not depend on the smoothing."""
        array = as_plane(plane)
        point = np.zeros([2 * int(np.ceil(4 * width)) + 1 for width in (self.down, self.right)])
        point[point.shape[0] // 2, point.shape[1] // 2] = 1
        widths = (self.down, self.right)
        gain = np.sqrt(np.sum(ndimage.gaussian_filter(point, widths, mode="constant") ** 2))
        white = rng.standard_normal(array.shape)
        noise = ndimage.gaussian_filter(white, widths, mode="wrap") / gain
        return np.asarray(array + self.sigma * noise, np.float32)

    def describe(self) -> str:
        """Say the noise and over how many pixels it is alike: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Grain(sigma=0.05, right=1.2).describe()
        'grain: noise σ 5 % of the range, smooth over 0 px down and 1.2 px right'
        """
        said = f"grain: noise σ {100 * self.sigma:.2g} % of the range"
        return f"{said}, smooth over {self.down:.2g} px down and {self.right:.2g} px right"

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Measure the grain of each defective plane: see :meth:`Defect.calibrate`.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> clean = [nuclei((96, 96), rng) for _ in range(4)]
        >>> grainy = [Grain(sigma=0.1, down=1.5).apply(plane, rng) for plane in clean]
        >>> measured = Grain.calibrate(clean, grainy, rng)
        >>> bool(1.1 < np.median([item.down for item in measured]) < 1.9)
        True
        """
        check_planes("clean", clean, 2 * QUIET_WINDOW)
        check_planes("defective", defective, 2 * QUIET_WINDOW)
        plain = np.median([quiet_covariances(plane) for plane in clean], axis=0)
        chosen = rng.permutation(len(defective))[:64]
        return [cls(**_parameters(quiet_covariances(defective[int(i)]) - plain)) for i in chosen]


def _parameters(covariances: Floats) -> dict[str, float]:
    """Read noise and widths off the covariances of Gaussian-smoothed white noise.

    Noise smoothed by σ = w has the correlation ``exp(-d² / 4 w²)`` at d pixels.
    """
    variance = max(float(covariances[0]), 0.0)
    widths, grain = [], []
    for one, two in (covariances[1:3], covariances[3:5]):
        if one <= LEAST * variance:
            widths.append(0.0)
            continue
        fall = np.log(one / max(float(two), 0.02 * float(one)))  # is 3 / 4 w²
        widths.append(float(np.clip(np.sqrt(0.75 / max(fall, 0.02)), 0.3, 6.0)))
        grain.append(float(one) * float(np.exp(0.25 / widths[-1] ** 2)))
    total = min(float(np.mean(grain)), variance) if grain else variance
    return {"sigma": float(np.sqrt(total)), "down": widths[0], "right": widths[1]}
