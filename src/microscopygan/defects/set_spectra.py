"""What the mean spectrum of a set of images says: blur of a shape and direction, and waves.

One image's spectrum is that of its specimen as much as that of its defect. In the mean over a set
the former evens out; what a point spread function, a rhythm or a wave leaves stays in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from .statistics import Floats, Plane, frequency_radius, power_spectrum, radial_mean
from .waves import LIGHT, prominences, relative_to_light, strongest_frequency, wave_height

RINGS = 40  # from 0 to the Nyquist frequency
DIRECTED = (0.03, 0.06, 0.1, 0.16, 0.24, 0.34, 0.5)  # edges of rings looked at by direction
ANGLES = np.arange(12) * np.pi / 12  # of lines and ellipses, from axis 1 towards axis 0
LENGTHS = np.geomspace(2, 20, 10)  # pixels, of lines
RADII = np.geomspace(1, 8, 16)  # pixels, of discs
_LOWEST = 0.02  # cycles per pixel; below is content alone
_ABOVE = 3.0  # times the lowest power, of power that a blur shows in
_FEWEST = 8  # rings above that; a disc is fitted to more
_LOCAL = 6.0  # pixels (σ) in which a wave's amplitude is taken
_DEMODULATED = 4  # images of a set in which it is


class _Places(NamedTuple):
    """Places of a spectrum (Y, X // 2 + 1): their frequency and their direction in radians."""

    radius: Floats
    direction: Floats


@cache
def _places(side: int) -> _Places:
    down, right = fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None, :]
    radius = frequency_radius((side, side), half=True)
    return _Places(radius, np.arctan2(*np.broadcast_arrays(down, right)))


def _by_ring(values: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """Mean in each ring, and the values less that of their ring; corners less that of the last."""
    radial = radial_mean(values, radius, RINGS)
    ring = np.minimum((radius * 2 * RINGS).astype(np.intp), RINGS - 1)
    return radial, values - radial[ring]


@cache
def _blurs(side: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Log power that lines, then ellipses leave, less its mean in rings; and where that counts."""
    radius, direction = _places(side)
    counts = (radius > _LOWEST) & (radius < 0.5)
    along = [radius * np.cos(direction - angle) for angle in ANGLES]
    left = [np.log(np.sinc(length * u) ** 2 + 0.01) for u in along for length in LENGTHS]
    left += [-40 * u**2 for u in along]
    directed = [_by_ring(blur, radius)[1][counts] for blur in left]
    return np.stack(directed).astype(np.float32), counts


def shape_of_spectrum(squares: Sequence[Plane]) -> Floats:
    """Measure the mean spectrum: its fall, how it depends on direction, and what blur explains.

    Parameters
    ----------
    squares
        (Y, X) of one size, Y = X of 48 pixels or more, on one scale.

    Returns
    -------
    array
        Log power in rings, the lowest power beyond, the second and fourth harmonic by direction in
        six rings; of a disc, a line and an ellipse how much of the spectrum it explains, and its
        direction; of the former two the size and a factor, which is 1 for a blur of that shape;
        of the ellipse a factor that grows with its size.
    """
    power = power_spectrum(np.stack(squares), half=True).mean(axis=0)
    places = _places(len(power))
    radius = places.radius
    outer = (radius > 0.36) & (radius < 0.5)
    floor = float(np.quantile(power[outer], 0.1)) + 1e-8
    radial, apart = _by_ring(np.log(power + 1e-8), radius)
    edge = (radius > 0.4) & (radius < 0.5)
    corner = np.log(power[radius > 0.55].mean() + 1e-8) - np.log(power[edge].mean() + 1e-8)
    return np.concatenate(
        [
            radial[1:RINGS:2],
            [np.log(floor), radial[2] - np.log(floor)],
            *(_harmonics(apart, places, *edges) for edges in pairwise(DIRECTED)),
            [corner],
            _disc(radial, floor),
            _directed_blur(apart, power > _ABOVE * floor),
        ]
    )


def _harmonics(apart: Floats, places: _Places, low: float, high: float) -> Floats:
    """Second and fourth harmonic over the directions of a ring, and the spread in it."""
    there = (places.radius >= low) & (places.radius < high)
    part, angle = apart[there], places.direction[there]
    cosine, sine = np.mean(part * np.cos(2 * angle)), np.mean(part * np.sin(2 * angle))
    fourth = np.mean(part * np.cos(4 * angle))
    return np.array([cosine, abs(sine), np.hypot(cosine, sine), fourth, part.std()])


@cache
def _discs() -> tuple[Floats, Floats]:
    """Smooth courses of a spectrum, (RINGS, 4), and log power that discs leave, (RADII, RINGS)."""
    from scipy import special

    f = (np.arange(RINGS) + 0.5) / (2 * RINGS)
    x = 2 * np.pi * RADII[:, None] * f
    smooth = np.stack([np.ones(RINGS), np.log(f), np.log(f) ** 2, f**2], axis=1)
    return smooth, np.log((2 * special.j1(x) / x) ** 2 + 0.003)


def _disc(radial: Floats, floor: float) -> Floats:
    """How much better a disc and a smooth course explain a radial spectrum than the latter."""
    smooth, discs = _discs()
    f = (np.arange(RINGS) + 0.5) / (2 * RINGS)
    there = (f > _LOWEST) & (np.exp(radial) > _ABOVE * floor)
    share = np.count_nonzero(there) / RINGS
    if share <= _FEWEST / RINGS:
        return np.array([0.0] * 7 + [share])

    def fit(design: Floats) -> tuple[float, Floats]:
        found = np.asarray(np.linalg.lstsq(design, radial[there], rcond=None)[0], np.float64)
        return float(np.sum((design @ found - radial[there]) ** 2)), found

    alone, course = fit(smooth[there])
    left, factor, radius = alone, 0.0, 0.0
    for tried, disc in zip(RADII, discs, strict=True):
        error, found = fit(np.column_stack([smooth[there], disc[there]]))
        if found[-1] > 0 and error < left:
            left, factor, radius = error, float(found[-1]), float(tried)
    better = np.log((left + 1e-9) / (alone + 1e-9))
    spread = np.log(alone / np.count_nonzero(there) + 1e-4)
    shape = [course[1], course[2], course[3] / 20]
    return np.array([better, factor, np.log(radius + 0.5), spread, *shape, share])


def _directed_blur(apart: Floats, above: NDArray[np.bool_]) -> Floats:
    """How much of what depends on direction a line explains, and how much an ellipse does."""
    blurs, counts = _blurs(len(apart))
    seen = above[counts].astype(np.float32)
    values = np.clip(apart[counts], -4, 4).astype(np.float32) * seen
    product = blurs @ values
    factor = product / (blurs**2 @ seen + 1e-3)
    share = np.where(factor > 0, product * factor, 0.0) / (float(values @ values) + 1e-3)
    lines = len(ANGLES) * len(LENGTHS)
    line, ellipse = int(np.argmax(share[:lines])), lines + int(np.argmax(share[lines:]))
    angle, length = divmod(line, len(LENGTHS))
    of_line = [share[line], factor[line], np.log(LENGTHS[length]), np.cos(2 * ANGLES[angle])]
    of_ellipse = [share[ellipse], factor[ellipse], np.cos(2 * ANGLES[ellipse - lines])]
    return np.array([*of_line, seen.mean(), *of_ellipse, share[line] - share[ellipse]])


def waves_of_set(squares: Sequence[Plane]) -> Floats:
    """Measure the wave that a set has in common: added, and multiplied.

    Parameters
    ----------
    squares
        (Y, X) of one size, Y = X, on one scale.

    Returns
    -------
    array
        For the squares, and for them relative to the light around: how far the highest and a lower
        peak stand out, the frequency, the mean amplitude and its spread over the set, and the
        amplitude that it has in dark and in bright places of the squares.
    """
    relative = [relative_to_light(square) for square in squares]
    lights = [_light_of(square) for square in squares[:_DEMODULATED]]
    found: list[float] = []
    for planes in (squares, relative):
        centred = [np.asarray(plane, np.float64) - plane.mean() for plane in planes]
        standing = prominences(centred)
        down, right = strongest_frequency(centred[0], standing)
        highest = np.sort(standing, axis=None)
        heights = np.array([wave_height(plane, down, right) for plane in centred])
        found += [np.log(highest[-1] + 1e-3), np.log(highest[-6] + 1e-3), abs(down), right]
        found += [np.log(heights.mean() + 1e-4)]
        found += [np.log(heights.std() / (heights.mean() + 1e-6) + 0.01)]
        found += _by_light(lights, down, right)
    return np.array(found)


class _Light(NamedTuple):
    """A square without its light, and the darkest and the brightest places of the latter."""

    rest: Floats
    places: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    levels: tuple[float, float]


def _light_of(square: Plane) -> _Light:
    plane = np.asarray(square, np.float64)
    light = ndimage.gaussian_filter(plane, _LOCAL)
    dark, bright = (light <= np.quantile(light, 0.3)), (light >= np.quantile(light, 0.7))
    levels = float(light[dark].mean()), float(light[bright].mean())
    return _Light(plane - ndimage.gaussian_filter(plane, LIGHT), (dark, bright), levels)


def _by_light(lights: Sequence[_Light], down: float, right: float) -> list[float]:
    """Amplitude of a wave in dark and in bright places, their ratio, its growth with the light."""
    dark, bright = np.mean([_amplitudes(light, down, right) for light in lights], axis=0).tolist()
    low, high = np.mean([light.levels for light in lights], axis=0).tolist()
    logs = [np.log(dark + 1e-4), np.log(bright + 1e-4)]
    return [*logs, logs[1] - logs[0], (bright - dark) / max(high - low, 1e-3)]


def _amplitudes(light: _Light, down: float, right: float) -> list[float]:
    y, x = (np.arange(side) for side in light.rest.shape)
    signal = light.rest * np.exp(-2j * np.pi * down * y)[:, None] * np.exp(-2j * np.pi * right * x)
    real, imaginary = (ndimage.gaussian_filter(part, _LOCAL) for part in (signal.real, signal.imag))
    amplitude = 2 * np.hypot(real, imaginary)
    return [float(amplitude[there].mean()) for there in light.places]
