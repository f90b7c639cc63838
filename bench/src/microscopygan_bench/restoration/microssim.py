"""MicroSSIM (Ashesh, Deschout, Jug 2024, arXiv 2408.08747), for images of weak light.

Backgrounds are taken off, and one factor for all images of a method brings its intensities to
those of the targets, so that the mean SSIM is largest. Neither a gain nor an offset of the
restored images changes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.optimize import minimize_scalar

Plane = NDArray[np.float64]

_BACKGROUND = 3.0  # percentile
_K1, _K2 = 0.01, 0.03  # of the SSIM
_UNIFORM = 7  # pixels, the window that the factor is fitted with
_SIGMA, _REACH = 1.5, 5  # pixels, the Gaussian window of the score
_SMALLEST, _LARGEST = 0.02, 50.0  # factors
_EVERY = 3  # the factor is fitted on windows around every third pixel along each axis


class _Moments(NamedTuple):
    """Local means, variances and covariance of target and restored image, and constants."""

    ux: Plane
    uy: Plane
    vx: Plane
    vy: Plane
    vxy: Plane
    c1: float | Plane
    c2: float | Plane

    def ssim(self, factor: float) -> Plane:
        """Return the SSIM of each window, the restored image times `factor`."""
        luminance = (2 * factor * self.ux * self.uy + self.c1) / (
            self.ux**2 + (factor * self.uy) ** 2 + self.c1
        )
        structure = (2 * factor * self.vxy + self.c2) / (self.vx + factor**2 * self.vy + self.c2)
        return np.asarray(luminance * structure)


def micro_ssim(targets: Sequence[np.ndarray], restored: Sequence[np.ndarray]) -> list[float]:
    """Score restored images; offsets, scale and factor are those of all of them together.

    Parameters
    ----------
    targets, restored
        Planes (Y, X) in pairs of one shape, 11 x 11 pixels at least, any scale.

    Returns
    -------
    -1..1 for each image, 1 where it equals its target up to the common gain and offset.

    Examples
    --------
    >>> target = np.random.default_rng(0).random((32, 32))
    >>> [round(value, 6) for value in micro_ssim([target], [3 * target - 1])]
    [1.0]
    """
    x = [np.asarray(plane, np.float64) for plane in targets]
    y = [np.asarray(plane, np.float64) for plane in restored]
    x_low = np.percentile(np.concatenate([p.ravel() for p in x]), _BACKGROUND)
    y_low = np.percentile(np.concatenate([p.ravel() for p in y]), _BACKGROUND)
    scale = max(float(p.max()) for p in x) - x_low
    x, y = [(p - x_low) / scale for p in x], [(p - y_low) / scale for p in y]
    factor = _factor(x, y)
    return [
        float(_moments(a, b, _gaussian, _REACH).ssim(factor).mean())
        for a, b in zip(x, y, strict=True)
    ]


def _factor(x: list[Plane], y: list[Plane]) -> float:
    """Return the factor of the restored images that makes the mean SSIM largest."""
    every = (slice(None, None, _EVERY),) * 2
    moments = [_moments(a, b, _uniform, _UNIFORM // 2) for a, b in zip(x, y, strict=True)]
    thin = [
        _Moments(*(value[every] for value in m[:5]), *(np.full_like(m.ux[every], c) for c in m[5:]))
        for m in moments
    ]
    joined = _Moments(
        *(np.concatenate([v.ravel() for v in values]) for values in zip(*thin, strict=True))
    )
    # The restored images are first brought to the targets' brightness, where the optimum is near.
    start = float(np.sqrt(np.mean(joined.ux**2) / max(float(np.mean(joined.uy**2)), 1e-12)))
    best = minimize_scalar(
        lambda log: -float(joined.ssim(start * np.exp(log)).mean()),
        bounds=(np.log(_SMALLEST), np.log(_LARGEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return start * float(np.exp(best.x))


def _moments(x: Plane, y: Plane, window: Callable[[Plane], Plane], reach: int) -> _Moments:
    inside = (slice(reach, -reach),) * 2
    count = (2 * reach + 1) ** 2
    sample = count / (count - 1)  # the covariance of a sample, as in scikit-image
    ux, uy = window(x), window(y)
    vx, vy = sample * (window(x * x) - ux * ux), sample * (window(y * y) - uy * uy)
    vxy = sample * (window(x * y) - ux * uy)
    span = float(np.ptp(x))
    ux, uy, vx, vy, vxy = (value[inside] for value in (ux, uy, vx, vy, vxy))
    return _Moments(ux, uy, vx, vy, vxy, (_K1 * span) ** 2, (_K2 * span) ** 2)


def _uniform(plane: Plane) -> Plane:
    return np.asarray(uniform_filter(plane, _UNIFORM))


def _gaussian(plane: Plane) -> Plane:
    return np.asarray(gaussian_filter(plane, _SIGMA, mode="reflect", radius=_REACH))
