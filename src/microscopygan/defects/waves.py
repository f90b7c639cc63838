"""Waves of one frequency in images: how they look, and how they are found.

The frequency looked for is that whose power stands out most from that of its neighbours, in the
mean spectrum of the defective planes and not in that of the clean ones.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import fft, ndimage

from microscopygan.defects.base import Defect, Plane, Planes, Symmetry
from microscopygan.defects.statistics import (
    Floats,
    check_planes,
    frequency_radius,
    normalised,
    power_spectrum,
)

SLOWEST = 0.03  # cycles per pixel; slower waves are the specimen's, or uneven light
AROUND, CORE = 9, 5  # frequencies a side that a peak is compared with, and that it fills
STANDS_OUT = 10.0  # times the highest of them, to count as a wave
ZOOM = np.linspace(-1, 1, 17)  # places around a peak, in steps of the spectrum
LIGHT = 4.0  # pixels (σ) of the light that fringes multiply
DARK = 0.1  # of the range; below, what is relative to the light counts less
LARGEST = 512  # pixels; side of the part that is looked at
_RING = np.pad(np.zeros((CORE, CORE), bool), (AROUND - CORE) // 2, constant_values=True)


def wave(shape: tuple[int, ...], down: float, right: float, phase: float = 0.0) -> Floats:
    """A wave of amplitude 1 over a plane (Y, X); frequencies in cycles per pixel, phase in radians.

    Examples
    --------
    >>> wave((1, 4), down=0.0, right=0.25).round(6).tolist()
    [[1.0, 0.0, -1.0, -0.0]]
    """
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    return np.asarray(np.cos(2 * np.pi * (down * y + right * x) + phase))


class WaveDefect(Defect):
    """What has one frequency and direction, and a phase that is drawn anew; the base of such."""

    symmetry: ClassVar[Symmetry] = Symmetry.HALF_TURN
    spread: ClassVar[float] = 0.01  # its frequency is known well
    noisy: ClassVar[bool] = True
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

    def waves(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return a wave of amplitude 1 over a plane (Y, X), its phase drawn anew."""
        return wave(shape, self.down, self.right, rng.uniform(0, 2 * np.pi))

    @property
    def length(self) -> float:
        """From crest to crest, pixels."""
        return 1 / max(float(np.hypot(self.down, self.right)), 1e-6)

    @property
    def slant(self) -> str:
        """The direction in words."""
        return f"{np.degrees(np.arctan2(self.down, self.right)):.0f}° from the rows"


def find_wave(clean: Planes, defective: Planes) -> tuple[float, float, list[float]]:
    """Find the wave that all defective planes have.

    Parameters
    ----------
    clean, defective : sequences of arrays, each (Y, X)
        Unpaired planes in any units; they may differ in size, the smallest decides how sharply
        frequencies are told apart.

    Returns
    -------
    down, right : float
        Frequency along each axis, cycles per pixel.
    heights : list of float
        Amplitude in each defective plane, in its range.
    """
    check_planes("clean", clean, 32)
    check_planes("defective", defective, 32)
    sides = [side for plane in [*clean, *defective] for side in np.shape(plane)]
    side = min(LARGEST, *sides)
    planes = [_crop(plane, side) for plane in defective]
    plain = prominences([_crop(plane, side) for plane in clean])
    excess = prominences(planes) / np.maximum(plain, 1)
    down, right = _sharpened(planes, excess)
    return down, right, [wave_height(plane, down, right) for plane in planes]


def relative_to_light(plane: Plane) -> Plane:
    """How far each pixel lies above the light around, as a part of that, -1 to 1; 0 in the dark.

    Parameters
    ----------
    plane : array, shape (Y, X)
        On its percentile scale.

    Examples
    --------
    >>> float(np.abs(relative_to_light(np.full((32, 32), 0.5, np.float32))).max())
    0.0
    """
    around = ndimage.gaussian_filter(plane, LIGHT)
    lit = np.clip(around / DARK, 0, 1)
    return np.asarray(np.clip(lit * (plane / np.maximum(around, DARK / 2) - 1), -1, 1), np.float32)


def strongest_wave(plane: Plane) -> tuple[float, float, float, float]:
    """Look for the wave that stands out most.

    Parameters
    ----------
    plane : array, shape (Y, X)
        Any scale.

    Returns
    -------
    prominence : float
        Its power over the highest of the frequencies around it.
    down, right : float
        Its frequency along each axis, cycles per pixel, to the next place of the spectrum.
    height : float
        Its amplitude, in the plane's units.
    """
    crop = np.asarray(plane, np.float64) - plane.mean()
    prominence = prominences([crop])
    down, right = strongest_frequency(crop, prominence)
    return float(prominence.max()), down, right, wave_height(crop, down, right)


def outstanding(plane: Plane) -> tuple[float, float] | None:
    """Return the frequency along each axis that stands out in a plane (Y, X); None if none does.

    Examples
    --------
    >>> outstanding(np.zeros((64, 64), np.float32)) is None
    True
    """
    crop = np.asarray(plane, np.float64) - plane.mean()
    prominence = prominences([crop])
    return None if prominence.max() < STANDS_OUT else _sharpened([crop], prominence)


def _crop(plane: NDArray[np.generic], side: int) -> Floats:
    """The middle of a plane on its percentile scale, less its mean."""
    scaled = normalised(plane).astype(np.float64)
    y, x = ((length - side) // 2 for length in scaled.shape)
    crop = scaled[y : y + side, x : x + side]
    return np.asarray(crop - crop.mean())


def prominences(planes: list[Floats]) -> Floats:
    """Mean power over the highest of the frequencies around it; 0 where waves are slow."""
    power = np.mean([power_spectrum(plane, half=True) for plane in planes], axis=0)
    around = ndimage.maximum_filter(power, footprint=_RING, mode="wrap")
    ratio = power / (around + 1e-6 * around.mean() + 1e-12)
    shape = (planes[0].shape[0], planes[0].shape[1])
    return np.where(frequency_radius(shape, half=True) > SLOWEST, ratio, 0.0)


def strongest_frequency(plane: Floats, prominence: Floats) -> tuple[float, float]:
    """Frequency of the highest peak of the spectrum of a plane."""
    row, column = np.unravel_index(int(np.argmax(prominence)), prominence.shape)
    return float(fft.fftfreq(len(plane))[row]), float(fft.rfftfreq(plane.shape[1])[column])


def _sharpened(planes: list[Floats], prominence: Floats) -> tuple[float, float]:
    """Frequency of the highest peak, between the places of the spectrum."""
    rows, columns = planes[0].shape
    down, right = strongest_frequency(planes[0], prominence)
    downs, rights = down + ZOOM / rows, right + ZOOM / columns
    down_waves, right_waves = _windowed(rows, downs), _windowed(columns, rights)
    total = sum(np.abs(down_waves @ plane @ right_waves.T) ** 2 for plane in planes[:16])
    y, x = np.unravel_index(int(np.argmax(total)), (len(ZOOM), len(ZOOM)))
    return float(np.clip(downs[y], -0.5, 0.5)), float(np.clip(rights[x], -0.5, 0.5))


def wave_height(plane: Floats, down: float, right: float) -> float:
    """Amplitude of a wave, under a Hann window."""
    total = np.prod([np.hanning(side).sum() for side in plane.shape])
    rows, columns = (_windowed(*pair) for pair in zip(plane.shape, (down, right), strict=True))
    turned = rows[:, None] * plane * columns  # no matrix product: threads cost more than it
    return float(2 * np.abs(turned.sum()) / total)


def _windowed(side: int, frequency: float | Floats) -> NDArray[np.complex128]:
    """Waves of some frequencies, under a Hann window: (..., side)."""
    turns = np.multiply.outer(frequency, np.arange(side))
    return np.asarray(np.hanning(side) * np.exp(-2j * np.pi * turns))
