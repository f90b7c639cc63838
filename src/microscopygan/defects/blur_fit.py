"""Which point spread function takes the mean spectrum of clean images to that of blurred ones.

The mean power of blurred images is that of clean ones times the squared transfer function of the
blur, with a gain, which slow waves tell, and noise, which fast ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microscopygan.defects.base import Defect, Planes
from microscopygan.defects.statistics import (
    Floats,
    check_planes,
    frequency_radius,
    normalised,
    power_spectrum,
)

D = TypeVar("D", bound=Defect)
BEST = 3  # blurs that are returned
SIDE = 128  # pixels, at most, of what is looked at
LEAST = 48
SLOW, FAST = 0.06, 0.42  # cycles per pixel; below, the specimen's; above, noise
SMOOTH = 1.5  # frequencies (σ) that spectra are smoothed by


def fitted_blurs(
    trials: Sequence[D],
    kernel: Callable[[D], NDArray[np.float64]],
    clean: Planes,
    defective: Planes,
) -> list[D]:
    """Return the blurs that explain the defective planes best, the best one first.

    Parameters
    ----------
    trials : sequence of defects
        To choose from.
    kernel : callable
        Gives the kernel (y, x) of a blur, of sum 1, no larger than 128 pixels.
    clean, defective : sequences of arrays, each (Y, X)
        Unpaired planes of specimens of the same sort, on any scale, at least 48 x 48 pixels.

    Returns
    -------
    list of defects
        Three, or all where there are fewer.

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
    for trial in trials:
        blurred = before * np.abs(fft.rfft2(kernel(trial), (side, side))) ** 2
        gain = float(np.sum(after[slow]) / np.sum(blurred[slow] + 1e-12))
        apart = wanted - np.log(gain * blurred + noise)
        distances.append(float(np.mean(np.abs(apart[seen]))))
    return [trials[k] for k in np.argsort(distances, kind="stable")[:BEST].tolist()]


def _mean_power(planes: Sequence[NDArray[np.generic]], side: int) -> Floats:
    crops = []
    for plane in planes:
        y, x = ((length - side) // 2 for length in np.shape(plane))
        crops.append(normalised(plane)[y : y + side, x : x + side])
    power = power_spectrum(np.stack(crops), half=True).mean(axis=0)
    return np.asarray(ndimage.gaussian_filter(power, SMOOTH, mode="wrap") + 1e-9)
