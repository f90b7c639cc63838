"""Hum: a wave of one frequency over the image, of the mains or of a fan, caught by the read-out.

Calibration looks for the frequency whose power stands out most from that of its neighbours, in the
mean spectrum of the defective planes and not in that of the clean ones.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import fft, ndimage

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, Symmetry, as_plane
from microscopygan.defects.statistics import (
    Floats,
    check_planes,
    frequency_radius,
    normalised,
    power_spectrum,
)

SLOWEST = 0.03  # cycles per pixel; slower waves are the specimen's, or uneven light
AROUND, CORE = 9, 5  # frequencies a side that a peak is compared with, and that it fills
STANDS_OUT = 10.0  # times the highest of them, for the classical method to take a wave out
ZOOM = np.linspace(-1, 1, 17)  # places around a peak, in steps of the spectrum
LARGEST = 512  # pixels; side of the part that is looked at
_RING = np.pad(np.zeros((CORE, CORE), bool), (AROUND - CORE) // 2, constant_values=True)


def _wave(shape: tuple[int, ...], down: float, right: float, phase: float = 0.0) -> Floats:
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    return np.asarray(np.cos(2 * np.pi * (down * y + right * x) + phase))


class Hum(Defect):
    """A wave of one frequency and direction, added to the image."""

    name: ClassVar[str] = "hum"
    place: ClassVar[Place] = Place.LIGHT
    symmetry: ClassVar[Symmetry] = Symmetry.HALF_TURN
    spread: ClassVar[float] = 0.01  # its frequency is known well
    noisy: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "amplitude": Range(0.01, 0.2, "log"),
        "down": Range(-0.5, 0.5),
        "right": Range(0.0, 0.5),
    }
    amplitude: float = Field(ge=0, le=10, description="amplitude, intensity units")
    down: float = Field(ge=-0.5, le=0.5, description="frequency along axis 0, cycles per pixel")
    right: float = Field(ge=-0.5, le=0.5, description="frequency along axis 1, cycles per pixel")

    @classmethod
    def draw(cls, rng: np.random.Generator, **fixed: Any) -> Self:
        """Draw the parameters, of waves that are not too slow: see :meth:`Defect.draw`."""
        drawn = super().draw(rng, **fixed)
        for _ in range(100):
            if np.hypot(drawn.down, drawn.right) > 2 * SLOWEST:
                break
            drawn = super().draw(rng, **fixed)
        return drawn

    def jitter(self, rng: np.random.Generator, scale: float) -> Self:
        """Move the parameters by no more than `spread`: see :meth:`Defect.jitter`."""
        return super().jitter(rng, min(scale, self.spread))

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add the wave, its phase drawn anew."""
        array = as_plane(plane)
        wave = _wave(array.shape, self.down, self.right, rng.uniform(0, 2 * np.pi))
        return np.asarray(array + self.amplitude * wave, np.float32)

    def describe(self) -> str:
        """Say the wave's height and length: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Hum(amplitude=0.05, down=0.0, right=0.1).describe()
        'hum: waves of 5 % of the range, 10 px long, 0° from the rows'
        """
        length = 1 / max(float(np.hypot(self.down, self.right)), 1e-6)
        angle = np.degrees(np.arctan2(self.down, self.right))
        height = f"waves of {100 * self.amplitude:.2g} % of the range"
        return f"hum: {height}, {length:.3g} px long, {angle:.0f}° from the rows"

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
        check_planes("clean", clean, 32)
        check_planes("defective", defective, 32)
        sides = [side for plane in [*clean, *defective] for side in np.shape(plane)]
        side = min(LARGEST, *sides)
        planes = [_crop(plane, side) for plane in defective]
        plain = _prominence([_crop(plane, side) for plane in clean])
        excess = _prominence(planes) / np.maximum(plain, 1)
        down, right = _sharpened(planes, excess)
        heights = [min(_height(plane, down, right), 10.0) for plane in planes]
        return [cls(amplitude=height, down=down, right=right) for height in heights]

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Take out the wave that stands out most, where one does."""
        crop = np.asarray(plane, np.float64) - plane.mean()
        prominence = _prominence([crop])
        if prominence.max() < STANDS_OUT:
            return plane.copy()
        down, right = _sharpened([crop], prominence)
        quarter = -np.pi / 2
        waves = [_wave(crop.shape, down, right, phase).ravel() for phase in (0, quarter)]
        heights, *_ = np.linalg.lstsq(np.stack(waves, 1), crop.ravel(), rcond=None)
        return np.asarray(plane - (heights @ np.stack(waves)).reshape(plane.shape), np.float32)


def _crop(plane: NDArray[np.generic], side: int) -> Floats:
    """The middle of a plane on its percentile scale, less its mean."""
    scaled = normalised(plane).astype(np.float64)
    y, x = ((length - side) // 2 for length in scaled.shape)
    crop = scaled[y : y + side, x : x + side]
    return np.asarray(crop - crop.mean())


def _prominence(planes: list[Floats]) -> Floats:
    """Mean power over the highest of the frequencies around it; 0 where waves are slow."""
    power = np.mean([power_spectrum(plane, half=True) for plane in planes], axis=0)
    around = ndimage.maximum_filter(power, footprint=_RING, mode="wrap")
    ratio = power / (around + 1e-6 * around.mean() + 1e-12)
    shape = (planes[0].shape[0], planes[0].shape[1])
    return np.where(frequency_radius(shape, half=True) > SLOWEST, ratio, 0.0)


def _sharpened(planes: list[Floats], prominence: Floats) -> tuple[float, float]:
    """Frequency of the highest peak, between the places of the spectrum."""
    rows, columns = planes[0].shape
    row, column = np.unravel_index(int(np.argmax(prominence)), prominence.shape)
    down, right = float(fft.fftfreq(rows)[row]), float(fft.rfftfreq(columns)[column])
    trials = [(down + y / rows, right + x / columns) for y in ZOOM for x in ZOOM]
    total = [sum(_height(plane, *trial) ** 2 for plane in planes[:16]) for trial in trials]
    best = trials[int(np.argmax(total))]
    return float(np.clip(best[0], -0.5, 0.5)), float(np.clip(best[1], -0.5, 0.5))


def _height(plane: Floats, down: float, right: float) -> float:
    """Amplitude of a wave, under a Hann window."""
    windows = [np.hanning(side) for side in plane.shape]
    waves = [
        window * np.exp(-2j * np.pi * frequency * np.arange(window.size))
        for window, frequency in zip(windows, (down, right), strict=True)
    ]
    total = windows[0].sum() * windows[1].sum()
    return float(2 * np.abs(waves[0] @ plane @ waves[1]) / total)
