"""Blind calibration of noise, image by image.

Detectors, exposures and dyes differ from image to image, so one photon count describes a set of
noisy images badly. Each image's own noise curve is looked up among those of simulated ones.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from microscopygan.defects.noise_curve import noise_curve
from microscopygan.defects.parameters import Noise
from microscopygan.image.intensity import percentile_map

PHOTONS = np.geomspace(2, 600, 30)  # photons at intensity 1 of the clean image
READ_NOISE = (0.0, 1.5)  # electrons (σ)
BACKGROUND = (0.0, 0.03, 0.08, 0.2, 0.35)  # intensity units
CLEAN = 16  # clean crops each candidate is tried on
CROP = 128  # pixels
BINS = 8
LEVEL_WEIGHT = 0.1  # of the noise over the whole image, against its curve

Planes = Sequence[NDArray[np.generic]]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def calibrate_noise(
    clean: Planes, defective: Planes, rng: np.random.Generator, *, keep: int = 256
) -> list[Noise]:
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
    >>> clean = [nuclei((96, 96), rng) for _ in range(6)]
    >>> noisy = [Noise(photons=20).apply(plane, rng) for plane in clean]
    >>> noisy = [percentile_map(plane).apply(plane) for plane in noisy]
    >>> photons = [found.photons for found in calibrate_noise(clean, noisy, rng)]
    >>> bool(14 < np.median(photons) < 28)
    True
    """
    if not clean or not defective:
        raise ValueError("expected clean and noisy planes to calibrate on, got none; add images")
    crops = [_middle(clean[i]) for i in rng.permutation(len(clean))[:CLEAN]]
    grid = product(PHOTONS, READ_NOISE, BACKGROUND)
    candidates = [Noise(photons=p, read_noise=r, background=b) for p, r, b in grid]
    curves = [_simulated_curve(noise, crops, rng) for noise in candidates]
    found = []
    for index in rng.permutation(len(defective))[:keep]:
        real = noise_curve([np.asarray(defective[int(index)])], bins=BINS)
        misfits = [_misfit(real, curve) for curve in curves]
        found.append(candidates[int(np.argmin(misfits))])
    return found


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
