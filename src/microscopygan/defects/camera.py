"""A pattern fixed to the camera: each pixel, or column, has its own gain and offset.

All images of a camera share it, which tells it from noise: calibration compares what a small
high-pass leaves of different images at the same pixels. What is shared in dark places is offset,
what grows with the light of both is gain, what is shared by a whole column belongs to it.
"""

from __future__ import annotations

from itertools import combinations
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, Symmetry, as_plane
from microscopygan.defects.statistics import Floats, check_planes, normalised

SMOOTH = 1.0  # pixels; σ of the high-pass
PAIRS = 200  # pairs of images that are compared, at most
MAPS = 16  # patterns drawn with the measured spreads
FLAT = 0.6  # share of an image, that of the least slopes, that is compared


class CameraPattern(Defect):
    """Gain and offset of each pixel of a camera, the same in all its images."""

    name: ClassVar[str] = "camera"
    place: ClassVar[Place] = Place.SENSOR
    closed: ClassVar[bool] = True
    symmetry: ClassVar[Symmetry] = Symmetry.NONE
    ranges: ClassVar[dict[str, Range]] = {
        "gain": Range(0.0, 0.3),
        "offset": Range(0.0, 0.15),
        "columns": Range(0.0, 1.0),
    }
    gain: float = Field(ge=0, le=2, description="spread (σ) of the gains, mean 1")
    offset: float = Field(0.0, ge=0, le=10, description="spread (σ) of offsets, intensity units")
    columns: float = Field(
        0.0, ge=0, le=1, description="share of the pattern's variance that whole columns have"
    )
    camera: int = Field(0, ge=0, description="which camera: the seed of its pattern")

    def pattern(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        """Return the gains and the offsets of the camera's pixels.

        Parameters
        ----------
        shape : tuple of int
            Size (Y, X) of its images.

        Returns
        -------
        gains, offsets : arrays, shape (Y, X)
            Of mean 1 and 0; the same for each call.
        """
        rng = np.random.default_rng([self.camera, *shape])

        def draw() -> Floats:
            pixels, columns = rng.standard_normal(shape), rng.standard_normal(shape[1])
            return np.asarray(np.sqrt(1 - self.columns) * pixels + np.sqrt(self.columns) * columns)

        width = np.sqrt(np.log1p(self.gain**2))  # of the logarithm
        return np.exp(width * draw() - width**2 / 2), self.offset * draw()

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Multiply by the camera's gains, and add its offsets."""
        array = as_plane(plane)
        gains, offsets = self.pattern(array.shape)
        return np.asarray(array * gains + offsets, np.float32)

    def describe(self) -> str:
        """Say how the pixels differ: see :meth:`Defect.describe`.

        Examples
        --------
        >>> CameraPattern(gain=0.05, offset=0.02, columns=0.3).describe()
        'camera pattern: gain 5 %, offset 2 % of the range (σ), 30 % of it in whole columns'
        """
        said = f"gain {100 * self.gain:.2g} %, offset {100 * self.offset:.2g} % of the range (σ)"
        return f"camera pattern: {said}, {100 * self.columns:.0f} % of it in whole columns"

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Measure the spreads of a pattern that the defective planes share.

        See :meth:`Defect.calibrate`. The planes have to be of one size and whole images of one
        camera; where there is no second one of a size, the parameters are drawn.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> truth = CameraPattern(gain=0.1, offset=0.05)
        >>> clean = [nuclei((96, 96), rng) for _ in range(6)]
        >>> measured = CameraPattern.calibrate(clean, [truth.apply(p, rng) for p in clean], rng)
        >>> bool(0.04 < measured[0].offset < 0.07)
        True
        """
        check_planes("defective", defective, 16)
        groups: dict[tuple[int, ...], list[NDArray[np.generic]]] = {}
        for plane in defective:
            groups.setdefault(np.shape(plane), []).append(plane)
        planes = max(groups.values(), key=len)
        if len(planes) < 2:
            return [cls.draw(rng, camera=number) for number in range(MAPS)]
        gain, offset, columns = _measured(planes, rng)
        return [
            cls(gain=gain, offset=offset, columns=columns, camera=number) for number in range(MAPS)
        ]


def _measured(planes: Planes, rng: np.random.Generator) -> tuple[float, float, float]:
    """Spread of gain and of offset, and the columns' share of both."""
    scaled = [normalised(plane).astype(np.float64) for plane in planes]
    smooth = [ndimage.gaussian_filter(plane, 2 * SMOOTH) for plane in scaled]
    slope = [np.hypot(*np.gradient(plane)) for plane in smooth]
    flat = [values <= np.quantile(values, FLAT) for values in slope]
    left = [plane - ndimage.gaussian_filter(plane, SMOOTH) for plane in scaled]
    pairs = list(combinations(range(len(planes)), 2))
    sums, lines = np.zeros((5, *scaled[0].shape)), []
    for one, other in [pairs[i] for i in rng.permutation(len(pairs))[:PAIRS]]:
        both = flat[one] & flat[other]
        product = np.where(both, left[one] * left[other], 0)
        light = np.where(both, smooth[one].clip(0) * smooth[other].clip(0), 0)
        sums += np.stack([both, product, light, product * light, light**2])
        counts = np.maximum(both.sum(axis=0), 1)
        means = [(left[i] * both).sum(axis=0) / counts for i in (one, other)]
        shared = float(product.sum() / max(both.sum(), 1))
        lines.append(float(np.mean(means[0] * means[1])) - shared / float(counts.mean()))
    # Gain shows in how the product at one pixel grows with the light there, from pair to pair.
    count, product, light, mixed, squares = sums
    number = np.maximum(count, 1)
    slope_of_light = float((mixed - product * light / number).sum())
    square = max(slope_of_light / max(float((squares - light**2 / number).sum()), 1e-12), 0.0)
    shared, lit = (float(total.sum() / number.sum()) for total in (product, light))
    square = min(square, shared / max(lit, 1e-12)) if shared > 0 else 0.0
    constant = max(shared - square * lit, 0.0)
    pixel, line = _passed()
    whole = float(np.clip(np.mean(lines) / max(shared, 1e-12), 0, 1))
    columns = whole / line / (whole / line + (1 - whole) / pixel)
    gain, offset = np.sqrt(np.array([square, constant]) / ((1 - columns) * pixel + columns * line))
    return min(float(gain), 2.0), min(float(offset), 10.0), columns


def _passed() -> tuple[float, float]:
    """Share of the variance of independent pixels, and of columns, that the high-pass keeps."""
    point = np.zeros((17, 17))
    point[8, 8] = 1
    pixel = point - ndimage.gaussian_filter(point, SMOOTH)
    line = point[8] - ndimage.gaussian_filter1d(point[8], SMOOTH)
    return float(np.sum(pixel**2)), float(np.sum(line**2))
