"""Photon and read-out noise of the sensor.

Detectors, exposures and dyes differ from image to image, so one photon count describes a set of
noisy images badly. Each image's own noise curve is looked up among those of simulated ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, as_plane, require
from microscopygan.defects.statistics import EVERYTHING, Trace, noise_curve, normalised
from microscopygan.image.intensity import percentile_map

PHOTONS = np.geomspace(2, 600, 30)  # photons at intensity 1 of the clean image
READ_NOISE = (0.0, 1.5)  # electrons (σ)
BACKGROUND = (0.0, 0.03, 0.08, 0.2, 0.35)  # intensity units
CLEAN = 16  # clean crops each candidate is tried on
CROP = 128  # pixels
BINS = 8
LEVEL_WEIGHT = 0.1  # of the noise over the whole image, against its curve

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def poisson_gaussian(
    plane: NDArray[np.generic],
    rng: np.random.Generator,
    *,
    photons: float,
    read_noise: float = 0.0,
    offset: float = 0.0,
) -> Plane:
    """Add photon (Poisson) noise and read-out (Gaussian) noise.

    ``out = (Poisson(photons * max(plane, 0)) + Normal(0, read_noise)) / photons + offset``,
    so the variance at intensity *m* is ``m / photons + (read_noise / photons)**2``
    (Foi et al. 2008, doi:10.1109/TIP.2008.2001399).

    Parameters
    ----------
    plane : array, shape (Y, X)
        Expected intensity; negative values count as no light.
    rng : numpy.random.Generator
        Source of randomness.
    photons : float
        Expected photons (electrons) at intensity 1.0, above 0.
    read_noise : float
        Standard deviation of the read-out noise, in electrons.
    offset : float
        Camera baseline added to the result, in intensity units.

    Returns
    -------
    array, shape (Y, X), float32
        The noisy plane on the same intensity scale.

    Raises
    ------
    ValueError
        If the plane is not 2-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> noisy = poisson_gaussian(np.ones((64, 64)), np.random.default_rng(0), photons=100)
    >>> bool(abs(noisy.std() - 0.1) < 0.01)
    True
    """
    array = as_plane(plane)
    require("photons", photons, 1e-6, 1e9)
    require("read_noise", read_noise, 0.0)
    electrons = rng.poisson(np.maximum(array, 0.0).astype(np.float64) * photons).astype(np.float32)
    if read_noise > 0:
        electrons += np.float32(read_noise) * rng.standard_normal(array.shape, dtype=np.float32)
    return (electrons / np.float32(photons) + np.float32(offset)).astype(np.float32)


BROAD_PHOTONS = Range(2.0, 1000.0, "log")  # of pre-training
BROAD_BACKGROUND = Range(0.0, 0.4)


class Noise(Defect):
    """Photon and read-out noise of the sensor."""

    name: ClassVar[str] = "noise"
    place: ClassVar[Place] = Place.SENSOR
    trace: ClassVar[Trace | None] = EVERYTHING
    spread: ClassVar[float] = 0.0  # each image has its own
    usual: ClassVar[bool] = True
    share: ClassVar[float] = 6.0
    ranges: ClassVar[dict[str, Range]] = {
        "photons": Range(3.0, 300.0, "log"),
        "read_noise": Range(0.0, 8.0),
    }
    photons: float = Field(gt=0, le=1e6, description="photons at intensity 1.0")
    read_noise: float = Field(0.0, ge=0, le=1e4, description="read-out noise, electrons (σ)")
    offset: float = Field(0.0, ge=-10, le=10, description="camera baseline, intensity units")
    background: float = Field(
        0.0, ge=0, le=10, description="even background light, which adds noise, intensity units"
    )

    @classmethod
    def draw_broad(cls, rng: np.random.Generator) -> Self:
        """Draw from some photons to what the eye calls clean: see :meth:`Defect.draw_broad`.

        Three in ten are counted without read-out noise: where there is no light they are 0.
        """
        background = BROAD_BACKGROUND.value(rng.random()) if rng.random() < 0.5 else 0.0
        photons = BROAD_PHOTONS.value(rng.random() ** 1.5)
        counted = {"read_noise": 0.0} if rng.random() < 0.3 else {}
        return cls.draw(rng, photons=photons, background=background, **counted)

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add the noise: see :func:`poisson_gaussian`."""
        lit = np.asarray(plane, dtype=np.float32) + np.float32(self.background)
        return poisson_gaussian(
            lit, rng, photons=self.photons, read_noise=self.read_noise, offset=self.offset
        )

    def target(self, plane: NDArray[np.generic]) -> Plane:
        """Return the plane with background and baseline, see :meth:`Defect.target`.

        Examples
        --------
        >>> import numpy as np
        >>> float(Noise(photons=30, background=0.25).target(np.ones((1, 1)))[0, 0])
        1.25
        """
        return np.asarray(plane, dtype=np.float32) + np.float32(self.background + self.offset)

    def describe(self) -> str:
        """Say the photons and the read-out noise: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Noise(photons=14, read_noise=1.5).describe()
        'photon noise: about 14 photons at the brightest, read-out noise 1.5 electrons'
        """
        said = f"photon noise: about {self.photons:.3g} photons at the brightest"
        if self.read_noise:
            said += f", read-out noise {self.read_noise:.2g} electrons"
        if self.background:
            said += f", background light {100 * self.background:.0f} % of the range"
        return said

    @classmethod
    def calibrate(
        cls, clean: Planes, defective: Planes, rng: np.random.Generator, *, keep: int = 256
    ) -> list[Self]:
        """Find for each noisy image the noise that gives clean images its noise curve.

        Candidates are put into clean crops, which are then normalised by their percentiles as the
        noisy images were, since noise widens the percentiles; variance is compared at equal
        intensity, as a log ratio, each intensity counting alike. That curve is the same with
        background light and without, as the percentiles take it off; how noisy the image is over
        all its pixels tells the two apart, and counts a little too.

        Parameters
        ----------
        clean, defective : sequences of arrays, each (Y, X)
            Unpaired planes on a scale of about 0 to 1, at least 32 x 32 pixels.
        rng : numpy.random.Generator
            Source of randomness.
        keep : int
            Number of noisy images looked at, at random, at most.

        Returns
        -------
        list of Noise
            One for each of these images.

        Raises
        ------
        ValueError
            No planes, or too small ones.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> clean = [nuclei((80, 80), rng) for _ in range(4)]
        >>> noisy = [Noise(photons=20).apply(plane, rng) for plane in clean]
        >>> noisy = [percentile_map(plane).apply(plane) for plane in noisy]
        >>> photons = [noise.photons for noise in Noise.calibrate(clean, noisy, rng)]
        >>> bool(14 < np.median(photons) < 28)
        True
        """
        if not clean or not defective:
            raise ValueError(
                "expected clean and noisy planes to calibrate on, got none; add images"
            )
        crops = [_middle(clean[i]) for i in rng.permutation(len(clean))[:CLEAN]]
        grid = product(PHOTONS, READ_NOISE, BACKGROUND)
        candidates = [cls(photons=p, read_noise=r, background=b) for p, r, b in grid]
        curves = [_simulated_curve(noise, crops, rng) for noise in candidates]
        parameters = []
        for index in rng.permutation(len(defective))[:keep]:
            real = noise_curve([np.asarray(defective[int(index)])], bins=BINS)
            misfits = [_misfit(real, curve) for curve in curves]
            parameters.append(candidates[int(np.argmin(misfits))])
        return parameters

    @classmethod
    def found(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find the noise that the variance at each intensity grows by: see :meth:`Defect.found`.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> clean = [nuclei((80, 80), rng) for _ in range(4)]
        >>> noisy = [Noise(photons=400).apply(plane, rng) for plane in clean]
        >>> bool(200 < Noise.found(clean, noisy, rng)[0].photons < 800)
        True
        """
        from scipy.optimize import nnls  # which takes long to import

        few = [defective[int(k)] for k in rng.permutation(len(defective))[:CLEAN]]
        plain = [clean[int(k)] for k in rng.permutation(len(clean))[:CLEAN]]
        at, variance = noise_curve([normalised(plane) for plane in few], bins=BINS)
        without = np.interp(at, *noise_curve([normalised(plane) for plane in plain], bins=2 * BINS))
        weights = 1 / (variance + 1e-9)
        model = np.stack([np.clip(at, 0, None), np.ones_like(at)], axis=1) * weights[:, None]
        (of_light, always), _ = nnls(model, np.clip(variance - without, 0, None) * weights)
        photons = 1 / max(float(of_light), 1e-5)
        return [cls(photons=photons, read_noise=min(float(np.sqrt(always)) * photons, 1e4))]


def _middle(plane: NDArray[np.generic]) -> NDArray[np.float32]:
    """The middle of a plane, CROP pixels wide at most, normalised."""
    y, x = (max(0, (side - CROP) // 2) for side in plane.shape)
    crop = np.asarray(plane[y : y + CROP, x : x + CROP], np.float32)
    return np.asarray(percentile_map(crop).apply(crop), np.float32)


def _simulated_curve(
    noise: Noise, crops: Sequence[NDArray[np.float32]], rng: np.random.Generator
) -> Curve:
    made = [noise.apply(crop, rng) for crop in crops]
    return noise_curve([percentile_map(plane).apply(plane) for plane in made], bins=2 * BINS)


def _misfit(real: Curve, simulated: Curve) -> float:
    at, wanted = real
    ratio = np.log((np.interp(at, *simulated) + 1e-6) / (wanted + 1e-6))
    level = np.log(simulated[1] + 1e-6).mean() - np.log(wanted + 1e-6).mean()
    curve = np.average(ratio**2, weights=np.gradient(at) + 1e-9)
    return float(curve + LEVEL_WEIGHT * level**2)
