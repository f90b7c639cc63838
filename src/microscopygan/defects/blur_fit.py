"""Which point spread function takes the mean spectrum of clean images to that of blurred ones.

The mean power of blurred images is that of clean ones times the squared transfer function of the
blur, with a gain, which slow waves tell, and noise, which fast ones do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microscopygan.defects.base import Planes
from microscopygan.defects.statistics import (
    Floats,
    check_planes,
    frequency_radius,
    normalised,
    power_spectrum,
)

SIDE = 128  # pixels, at most, of what is looked at
LEAST = 48
SLOW, FAST = 0.06, 0.42  # cycles per pixel; below, the specimen's; above, noise
SMOOTH = 1.5  # frequencies (σ) that spectra are smoothed by


def nearest_blurs(
    kernels: Iterable[NDArray[np.float64]], clean: Planes, defective: Planes
) -> list[int]:
    """Return the numbers of kernels, the one that explains the defective planes best first.

    Parameters
    ----------
    kernels : arrays, each (y, x)
        Of sum 1, no larger than 128 pixels.
    clean, defective : sequences of arrays, each (Y, X)
        Unpaired planes of specimens of the same sort, on any scale, at least 48 x 48 pixels.

    Returns
    -------
    list of int
        All of them.

    Raises
    ------
    ValueError
        If a plane is unsuitable, or there is none.
    """
    check_planes("clean", clean, LEAST)
    check_planes("defective", defective, LEAST)
    side = min(SIDE, *(length for plane in [*clean, *defective] for length in np.shape(plane)))
    before, after = (_mean_power(planes, side) for planes in (clean, defective))
    radius = frequency_radius((side, side), half=True)
    slow, fast = (radius > 1.5 / side) & (radius < SLOW), radius > FAST
    seen = (radius >= SLOW / 2) & ~fast
    noise = float(np.median(after[fast]))
    wanted, distances = np.log(after), []
    for kernel in kernels:
        blurred = before * np.abs(fft.rfft2(kernel, (side, side))) ** 2
        gain = float(np.sum(after[slow]) / np.sum(blurred[slow] + 1e-12))
        apart = wanted - np.log(gain * blurred + noise)
        distances.append(float(np.mean(np.abs(apart[seen]))))
    return [int(k) for k in np.argsort(distances, kind="stable")]


def _mean_power(planes: Sequence[NDArray[np.generic]], side: int) -> Floats:
    crops = []
    for plane in planes:
        y, x = ((length - side) // 2 for length in np.shape(plane))
        crops.append(normalised(plane)[y : y + side, x : x + side])
    power = power_spectrum(np.stack(crops), half=True).mean(axis=0)
    return np.asarray(ndimage.gaussian_filter(power, SMOOTH, mode="wrap") + 1e-9)
