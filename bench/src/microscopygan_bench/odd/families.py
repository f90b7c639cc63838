"""The defects of the benchmark, each of one laboratory, by formulas of their own.

Nothing here uses `microscopygan.defects`: what is learned there must do for defects that were
made otherwise. A laboratory has its settings (a camera's maps, an angle, a frequency), drawn once;
each image departs a little from them. Light is spoilt first, then its photons are counted, then
the sensor and the file do their part::

    clean plane ── light ── photons ── sensor ── image

Planes are (Y, X) float64 on about 0..1, lengths in pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

Plane = NDArray[np.float64]
Random = np.random.Generator
Stage = Callable[[Plane, Random], Plane]

SIDE = 160  # pixels of every image
_EXPOSURE = 0.15  # spread of the logarithm of an image's light
_GOOD = 2000.0  # electrons at the brightest, where nothing else is said
_MARGIN = 24  # pixels that a plane is continued by, mirrored, before a blur


class CameraMaps(NamedTuple):
    """What was measured of a real sCMOS camera, (256, 256) each."""

    gain: Plane  # mean 1
    offset: Plane  # counts


@dataclass(frozen=True)
class Microscope:
    """One laboratory's way to spoil an image.

    Attributes
    ----------
    light
        Acts on the light, before photons are counted, in this order.
    electrons
        At intensity 1, of a usual image.
    sensor
        Acts on what was counted, in this order.
    kernel
        The point spread function of its usual setting, if it blurs.
    """

    light: tuple[Stage, ...] = ()
    electrons: float = _GOOD
    sensor: tuple[Stage, ...] = ()
    kernel: Plane | None = None

    def image(self, plane: NDArray[np.generic], rng: Random) -> Plane:
        """Take an image of a clean plane."""
        clean = np.asarray(plane, np.float64)
        light = np.maximum(reduce(lambda p, stage: stage(p, rng), self.light, clean), 0)
        electrons = self.electrons * rng.lognormal(0, _EXPOSURE)
        counted = rng.poisson(electrons * light) / electrons
        return reduce(lambda p, stage: stage(p, rng), self.sensor, counted)

    def then(self, other: Microscope) -> Microscope:
        """Spoil as this one does and as the other one does; the light is the dimmer one's."""
        return Microscope(
            self.light + other.light,
            min(self.electrons, other.electrons),
            self.sensor + other.sensor,
            self.kernel if other.kernel is None else other.kernel,
        )


Build = Callable[[Random, CameraMaps], Microscope]


@dataclass(frozen=True)
class Family:
    """A row of the tables.

    Attributes
    ----------
    title
        What the tables call it.
    specimen
        Of the clean images: ``er`` or ``ccp``.
    build
        Sets up the laboratory.
    stages
        What `microscopygan.defects` calls that which is most like it; for `classical` and
        `diagnosis` alone.
    methods
        Classical and dedicated methods that apply, by their names in `classical`.
    lines
        Axis along which its stripes lie, if it has some; 0: rows.
    """

    title: str
    specimen: str
    build: Build
    stages: tuple[str, ...]
    methods: tuple[str, ...] = ()
    lines: int = 0


def microscope(name: str, maps: CameraMaps) -> Microscope:
    """Set up the laboratory of a family, the same one each time."""
    return FAMILIES[name].build(np.random.default_rng([zlib.crc32(name.encode()), 24]), maps)


def _around(value: float, spread: float, rng: Random) -> float:
    """Draw near a laboratory's setting, `spread` a part of it, at most three times that apart."""
    return value * (1 + spread * float(np.clip(rng.standard_normal(), -3, 3)))


def _walk(count: int, memory: float, rng: Random) -> Plane:
    """Draw so many values of variance 1, each related to the one before by `memory`."""
    steps = rng.standard_normal(count) * np.sqrt(1 - memory**2)
    steps[0] = rng.standard_normal()
    return np.asarray(signal.lfilter([1], [1, -memory], steps))


def _grid() -> tuple[Plane, Plane]:
    """Return rows and columns of the pixels of an image."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    return y, x


def blurred(plane: Plane, kernel: Plane) -> Plane:
    """Convolve a plane, continued by its mirror image, with a kernel of sum 1."""
    wide = np.pad(plane, _MARGIN, "symmetric")
    return np.asarray(signal.fftconvolve(wide, kernel, "same")[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN])


# ── camera ─────────────────────────────────────────────────────────────────────────────────────


def scmos(rng: Random, maps: CameraMaps) -> Microscope:
    """Real maps of gain and offset of an sCMOS camera, read-out noise, little light."""
    y, x = rng.integers(0, np.array(maps.gain.shape) - SIDE + 1)
    here = (slice(y, y + SIDE), slice(x, x + SIDE))
    electrons = 120.0
    gain, offset = maps.gain[here], (maps.offset[here] - maps.offset.mean()) / electrons

    def read_out(plane: Plane, rng: Random) -> Plane:
        noise = 1.6 / electrons * rng.standard_normal(plane.shape)
        return np.asarray(gain * (plane + noise) + offset)

    return Microscope(electrons=electrons, sensor=(read_out,))


def hot_pixels(rng: Random, _: CameraMaps) -> Microscope:
    """Fixed hot pixels that blink, dead ones, and now and then a cosmic ray."""
    hot = rng.random((SIDE, SIDE)) < 0.012
    charge = np.where(hot, 0.15 + rng.exponential(0.6, hot.shape), 0)
    dead = rng.random(hot.shape) < 0.004

    def read_out(plane: Plane, rng: Random) -> Plane:
        on = rng.random(plane.shape) < 0.85
        image = plane + on * charge * rng.lognormal(0, 0.1, plane.shape)
        for _ in range(rng.poisson(4)):  # tracks of two to five pixels
            y, x, length = *rng.integers(0, SIDE, 2), rng.integers(2, 6)
            image[y, x : x + length] += rng.uniform(0.3, 1.5)
        return np.where(dead, 0.0, image)

    return Microscope(sensor=(read_out,))


def columns(rng: Random, _: CameraMaps) -> Microscope:
    """An amplifier for each column: fixed gains and offsets, two taps, and a drift."""
    gain = 1 + 0.06 * rng.standard_normal(SIDE)
    offset = 0.035 * rng.uniform(-1.7, 1.7, SIDE) + 0.02 * (np.arange(SIDE) % 2)

    def read_out(plane: Plane, rng: Random) -> Plane:
        drift = 0.012 * rng.standard_normal(SIDE)
        return np.asarray(plane * gain + _around(1, 0.1, rng) * offset + drift)

    return Microscope(sensor=(read_out,))


def correlated_noise(rng: Random, _: CameraMaps) -> Microscope:
    """Read-out noise that an amplifier smears along the rows and a filter over three of them."""
    memory, strength = rng.uniform(0.5, 0.7), 0.07

    def read_out(plane: Plane, rng: Random) -> Plane:
        white = rng.standard_normal((SIDE, SIDE + 32))
        smeared = signal.lfilter([1 - memory], [1, -memory], white, axis=1)[:, 32:]
        mixed = ndimage.convolve1d(smeared, [0.2, 0.6, 0.2], axis=0, mode="wrap")
        return np.asarray(plane + _around(strength, 0.15, rng) * mixed / mixed.std())

    return Microscope(electrons=300, sensor=(read_out,))


def photons(rng: Random, _: CameraMaps) -> Microscope:
    """Hardly any light."""
    return Microscope(electrons=float(rng.uniform(30, 45)))


# ── light and electronics ──────────────────────────────────────────────────────────────────────


def rows(rng: Random, _: CameraMaps) -> Microscope:
    """A laser that flickers from row to row, and offsets of rows, some of them large."""
    memory = rng.uniform(0.3, 0.6)

    def flicker(plane: Plane, rng: Random) -> Plane:
        gain = 1 + _around(0.12, 0.2, rng) * _walk(SIDE, memory, rng)
        return np.asarray(plane * np.maximum(gain, 0.05)[:, None])

    def offsets(plane: Plane, rng: Random) -> Plane:
        return np.asarray(plane + rng.laplace(0, _around(0.025, 0.2, rng), SIDE)[:, None])

    return Microscope(light=(flicker,), sensor=(offsets,))


def hum(rng: Random, _: CameraMaps) -> Microscope:
    """Mains in the amplifier: a wave in the time of the read-out, its harmonic, its drift."""
    per_row, per_pixel = rng.uniform(0.08, 0.2), rng.uniform(0.01, 0.04)

    def read_out(plane: Plane, rng: Random) -> Plane:
        y, x = _grid()
        time = _around(1, 0.01, rng) * (per_row * y + per_pixel * x) + rng.random()
        wave = np.sin(2 * np.pi * time) + 0.35 * np.sin(4 * np.pi * time + 1)
        swell = 1 + 0.25 * np.sin(2 * np.pi * (y / SIDE * rng.uniform(0.5, 2) + rng.random()))
        return np.asarray(plane + _around(0.07, 0.2, rng) * swell * wave)

    return Microscope(sensor=(read_out,))


def shadows(rng: Random, _: CameraMaps) -> Microscope:
    """A sheet of light from the left that absorbing grains dim; their shadows grow blurred."""
    grains, spreading = rng.uniform(25, 40), rng.uniform(0.006, 0.012)

    def absorb(plane: Plane, rng: Random) -> Plane:
        before = SIDE // 2  # grains beside the image dim it as well
        density = np.zeros((SIDE, SIDE + before))
        for _ in range(rng.poisson(grains)):
            y, x = rng.uniform(0, SIDE), rng.uniform(0, SIDE + before)
            radius = rng.uniform(1, 3.5)
            yy, xx = np.ogrid[:SIDE, : SIDE + before]
            density += rng.gamma(4, 0.08) / radius * ((yy - y) ** 2 + (xx - x) ** 2 < radius**2)
        depth, light = np.zeros(SIDE), np.empty((SIDE, SIDE + before))
        for x in range(SIDE + before):  # the rays diverge a little at each step
            depth = depth + density[:, x]
            depth = depth + spreading * ndimage.laplace(depth, mode="nearest")
            light[:, x] = np.exp(-depth)
        return np.asarray(plane * light[:, before:])

    return Microscope(light=(absorb,))


def pattern(rng: Random, _: CameraMaps) -> Microscope:
    """Interference stripes left in the light: bent a little, another phase in each image."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(6.5, 9.5)

    def light(plane: Plane, rng: Random) -> Plane:
        y, x = _grid()
        bent = 0.4 * np.sin(2 * np.pi * (y + x) / (1.7 * SIDE) + 6 * rng.random())
        turned = angle + np.radians(0.4) * rng.standard_normal()
        place = (x * np.cos(turned) + y * np.sin(turned)) / _around(period, 0.01, rng)
        phase = 2 * np.pi * (place + rng.random()) + bent
        depth = _around(0.3, 0.15, rng)
        return np.asarray(plane * (1 + depth * (np.cos(phase) + 0.25 * np.cos(2 * phase))))

    return Microscope(light=(light,))


def uneven(rng: Random, _: CameraMaps) -> Microscope:
    """A beam beside the middle, a dark corner, and stray light from one side."""
    centre, width = rng.uniform(0.3, 0.7, 2) * SIDE, rng.uniform(0.45, 0.55) * SIDE
    corner, side = rng.integers(0, 2, 2) * (SIDE - 1), rng.uniform(0, 2 * np.pi)

    def light(plane: Plane, rng: Random) -> Plane:
        y, x = _grid()
        middle = centre + 0.03 * SIDE * rng.standard_normal(2)
        beam = 1 / (1 + ((y - middle[0]) ** 2 + 1.3 * (x - middle[1]) ** 2) / width**2) ** 1.5
        dark = 1 - 0.5 * np.exp(-np.hypot(y - corner[0], x - corner[1]) / 25)
        ramp = 0.5 + ((x / SIDE - 0.5) * np.cos(side) + (y / SIDE - 0.5) * np.sin(side)) / 1.42
        return np.asarray(plane * beam * dark + _around(0.08, 0.2, rng) * ramp)

    return Microscope(light=(light,))


# ── scanning, motion, optics ───────────────────────────────────────────────────────────────────


def jitter(rng: Random, _: CameraMaps) -> Microscope:
    """A mirror out of phase on its way back, most in the middle of a row, and a vibration."""
    lag, memory = rng.uniform(0.8, 1.1) * rng.choice((-1, 1)), rng.uniform(0.2, 0.5)

    def scan(plane: Plane, rng: Random) -> Plane:
        y, x = _grid()
        swing = _around(lag, 0.1, rng) * np.sin(np.pi * (x + 0.5) / SIDE)
        shake = _around(0.7, 0.15, rng) * _walk(SIDE, memory, rng)[:, None]
        place = x + shake + np.where(y % 2, swing, -swing)
        return np.asarray(ndimage.map_coordinates(plane, [y, place], order=3, mode="mirror"))

    return Microscope(light=(scan,))


def path_kernel(length: float, angle: float, bow: float) -> Plane:
    """Return the trace of a point that speeds up and slows down on a bent way, (25, 25), sum 1.

    Parameters
    ----------
    length
        Of the way, pixels, below 20.
    angle
        Its direction, radians from axis 1 towards axis 0.
    bow
        How far its middle lies beside the straight line, pixels.
    """
    time = np.linspace(0, 1, 400)
    along, beside = length * (3 * time**2 - 2 * time**3 - 0.5), bow * (4 * time * (1 - time) - 0.5)
    y = 12 + along * np.sin(angle) + beside * np.cos(angle)
    x = 12 + along * np.cos(angle) - beside * np.sin(angle)
    kernel = np.zeros((25, 25))
    for dy in (0, 1):
        for dx in (0, 1):
            here = np.floor(y).astype(int) + dy, np.floor(x).astype(int) + dx
            share = (1 - abs(y - here[0])) * (1 - abs(x - here[1]))
            np.add.at(kernel, here, share)
    return np.asarray(kernel / kernel.sum())


def motion(rng: Random, _: CameraMaps) -> Microscope:
    """A stage that drifts during the exposure, about the same way each time."""
    length, angle = rng.uniform(7, 9), rng.uniform(0, np.pi)

    def drift(plane: Plane, rng: Random) -> Plane:
        turned = angle + 0.06 * rng.standard_normal()
        return blurred(plane, path_kernel(_around(length, 0.1, rng), turned, rng.normal(0, 0.5)))

    return Microscope(light=(drift,), kernel=path_kernel(length, angle, 0.0))


def pupil_kernel(waves: dict[str, float], cutoff: float = 0.3) -> Plane:
    """Return the incoherent point spread function of a round pupil with aberrations, (25, 25).

    Parameters
    ----------
    waves
        Wavefront errors at the edge of the pupil, in wavelengths: ``defocus``, ``spherical``,
        ``astigmatism`` along the axes and ``aslant`` between them, as the terms r², r⁴,
        r² cos 2φ, r² sin 2φ.
    cutoff
        Radius of the pupil, cycles per pixel; the image carries twice that.

    Returns
    -------
    Sum 1.
    """
    size = 128
    fy, fx = np.meshgrid(*[np.fft.fftfreq(size)] * 2, indexing="ij")
    r, turn = np.hypot(fy, fx) / cutoff, np.arctan2(fy, fx)
    shapes = {
        "defocus": r**2,
        "spherical": r**4,
        "astigmatism": r**2 * np.cos(2 * turn),
        "aslant": r**2 * np.sin(2 * turn),
    }
    front = sum(size_of * shapes[name] for name, size_of in waves.items())
    point = np.abs(np.fft.ifft2((r <= 1) * np.exp(2j * np.pi * front))) ** 2
    middle = slice(size // 2 - 12, size // 2 + 13)
    kernel = np.fft.fftshift(point)[middle, middle]
    return np.asarray(kernel / kernel.sum())


def defocus(rng: Random, _: CameraMaps) -> Microscope:
    """An objective that focuses beside the specimen, with some spherical aberration."""
    waves = {"defocus": rng.uniform(0.9, 1.2), "spherical": rng.uniform(0.1, 0.25)}

    def lens(plane: Plane, rng: Random) -> Plane:
        here = waves | {"defocus": _around(waves["defocus"], 0.12, rng)}
        return blurred(plane, pupil_kernel(here))

    return Microscope(light=(lens,), kernel=pupil_kernel(waves))


def astigmatism(rng: Random, _: CameraMaps) -> Microscope:
    """A cover slip aslant: points become strokes, whose way the focus decides."""
    turn, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.65)

    def waves(defocus: float, strength: float) -> dict[str, float]:
        both = {"astigmatism": strength * np.cos(turn), "aslant": strength * np.sin(turn)}
        return both | {"defocus": defocus}

    def lens(plane: Plane, rng: Random) -> Plane:
        kernel = pupil_kernel(waves(_around(0.45, 0.12, rng), _around(strength, 0.1, rng)))
        return blurred(plane, kernel)

    return Microscope(light=(lens,), kernel=pupil_kernel(waves(0.45, strength)))


# ── files, and two at once ─────────────────────────────────────────────────────────────────────


def jpeg(rng: Random, _: CameraMaps) -> Microscope:
    """Exported as JPEG of 8 bits, stretched to a range that leaves some room."""
    quality = int(rng.integers(8, 13))

    def export(plane: Plane, rng: Random) -> Plane:
        low, high = float(plane.min()), 1.05 * float(np.percentile(plane, 99.9))
        grey = np.clip(255 * (plane - low) / (high - low), 0, 255).round().astype(np.uint8)
        level = int(np.clip(quality + rng.integers(-2, 3), 5, 95))
        stored = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(grey, level=level))
        return np.asarray(stored, np.float64) / 255 * (high - low) + low

    return Microscope(sensor=(export,))


def both(first: Build, second: Build) -> Build:
    """Set up a laboratory that has two defects."""

    def build(rng: Random, maps: CameraMaps) -> Microscope:
        return first(rng, maps).then(second(rng, maps))

    return build


FAMILIES: dict[str, Family] = {
    "scmos": Family("real sCMOS maps, 120 electrons", "er", scmos, ("camera", "noise"), ("fixed",)),
    "rows": Family("rows", "er", rows, ("stripes",), ("destripe", "wavelet")),
    "columns": Family(
        "columns", "ccp", columns, ("stripes", "camera"), ("destripe", "wavelet", "fixed"), 1
    ),
    "hum": Family("hum", "ccp", hum, ("hum",), ("destripe",)),
    "shadows": Family("light-sheet shadows", "er", shadows, ("shadows",), ("destripe", "wavelet")),
    "jitter": Family("line jitter, alternating and random", "er", jitter, ("jitter",)),
    "motion": Family("motion blur", "er", motion, ("motion",), ("richardson-lucy",)),
    "defocus": Family("defocus", "er", defocus, ("defocus",), ("richardson-lucy",)),
    "hot": Family("hot and dead pixels", "ccp", hot_pixels, ("hotpixels",), ("median", "fixed")),
    "correlated": Family("correlated noise", "ccp", correlated_noise, ("grain", "noise"), ("tv",)),
    "jpeg": Family("JPEG", "er", jpeg, ("jpeg",), ("tv",)),
    "pattern": Family("patterned illumination", "er", pattern, ("hum",)),
    "uneven": Family("uneven light", "er", uneven, ("uneven",), ("basic",)),
    "astigmatism+rows": Family(
        "astigmatism and rows",
        "er",
        both(astigmatism, rows),
        ("astigmatism", "stripes"),
        ("destripe", "wavelet", "richardson-lucy"),
    ),
    "shadows+photons": Family(
        "shadows, hardly any light",
        "ccp",
        both(shadows, photons),
        ("shadows", "noise"),
        ("destripe", "wavelet"),
    ),
    "jitter+hum": Family(
        "line jitter and hum", "er", both(jitter, hum), ("jitter", "hum"), ("destripe",)
    ),
}
