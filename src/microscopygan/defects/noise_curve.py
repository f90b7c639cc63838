"""How the noise of an image grows with its intensity: variance against mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
Planes = Sequence[NDArray[np.generic]]

# Mean of |x| below its own 90th percentile, for a standard normal x.
_TRIMMED_MEAN = 0.6573


def noise_and_mean(plane: NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Noise residual of unit gain for white noise (Immerkaer 1996), and the local mean."""
    array = np.asarray(plane, dtype=np.float64)
    # The kernel [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] is a second difference along both axes.
    residual = np.diff(np.diff(array, n=2, axis=0), n=2, axis=1)[2:-2, 2:-2] / 6.0
    return residual, ndimage.uniform_filter(array, 7, mode="nearest")[3:-3, 3:-3]


def robust_variance(residual: Floats) -> float:
    """Variance of a residual, from the mean of its smaller nine tenths."""
    size = np.abs(residual)
    kept = size[size <= np.quantile(size, 0.9)]
    return float((kept.mean() / _TRIMMED_MEAN) ** 2)


def check_planes(name: str, planes: Planes, least: int) -> None:
    """Raise ValueError unless there are planes, all 2-D, finite and large enough."""
    if len(planes) == 0:
        raise ValueError(f"expected at least one plane in {name}, got none; give a few images")
    for plane in planes:
        if np.ndim(plane) != 2 or min(np.shape(plane)) < least:
            raise ValueError(
                f"expected planes (Y, X) of at least {least} x {least} pixels in {name}, "
                f"got shape {np.shape(plane)}; give larger planes"
            )
        if not np.isfinite(plane).all():
            raise ValueError(
                f"expected finite intensities in {name}, got NaN or infinity; replace them"
            )


def _curve(means: Floats, residuals: Floats, bins: int, robust: bool) -> tuple[Floats, Floats]:
    """Noise variance in intensity bins of equal occupancy."""
    order = np.argsort(means, kind="stable")
    groups = [group for group in np.array_split(order, bins) if group.size]
    variances = [
        robust_variance(residuals[group]) if robust else float(np.mean(residuals[group] ** 2))
        for group in groups
    ]
    return np.array([means[group].mean() for group in groups]), np.array(variances)


def noise_curve(planes: Planes, *, bins: int = 16) -> tuple[Floats, Floats]:
    """Estimate the noise variance against the mean intensity, without any reference.

    The noise is the response to the kernel of Immerkaer 1996 (doi:10.1006/cviu.1996.0060),
    which structure hardly passes, binned by the local mean; in each bin the variance is a
    trimmed one. It holds for white noise; noise that was blurred or interpolated reads low.

    Parameters
    ----------
    planes : sequence of arrays, each (Y, X)
        Noisy planes on one intensity scale, at least 16 x 16 pixels.
    bins : int
        Number of intensity bins of equal occupancy, at least 1.

    Returns
    -------
    means, variances : arrays, shape (bins,), float64
        Mean intensity and noise variance, in the planes' units and units squared.

    Raises
    ------
    ValueError
        If there are no planes, or they are too small, not 2-D or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(5, 2, (64, 64))
    >>> means, variances = noise_curve([noise], bins=1)
    >>> bool(abs(variances[0] - 4) < 0.4)
    True
    """
    check_planes("planes", planes, 16)
    parts = [noise_and_mean(plane) for plane in planes]
    residuals = np.concatenate([residual.ravel() for residual, _ in parts])
    means = np.concatenate([mean.ravel() for _, mean in parts])
    return _curve(means, residuals, bins, robust=True)


def noise_curve_from_pairs(
    inputs: Planes, targets: Planes, *, bins: int = 16
) -> tuple[Floats, Floats]:
    """Measure the noise variance against the mean intensity from noisy and clean pairs.

    Each target is first brought to its input by a least-squares gain and offset.

    Parameters
    ----------
    inputs, targets : sequences of arrays, each (Y, X)
        Noisy planes, and the clean planes of the same shapes, in the same order.
    bins : int
        Number of intensity bins of equal occupancy, at least 1.

    Returns
    -------
    means, variances : arrays, shape (bins,), float64
        Mean intensity and noise variance, on the scale of the inputs.

    Raises
    ------
    ValueError
        If the sequences do not match, or the planes are too small, not 2-D or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> clean = np.tile(np.arange(64.0), (64, 1))
    >>> noisy = clean + np.random.default_rng(0).normal(0, 2, clean.shape)
    >>> means, variances = noise_curve_from_pairs([noisy], [clean], bins=1)
    >>> bool(abs(variances[0] - 4) < 0.4)
    True
    """
    check_planes("inputs", inputs, 16)
    check_planes("targets", targets, 16)
    shapes = [np.shape(plane) for plane in inputs], [np.shape(plane) for plane in targets]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"expected pairs of equal shapes, got {len(inputs)} inputs and {len(targets)} "
            "targets that differ in number or shape; pair them one to one"
        )
    means, residuals = [], []
    for noisy, clean in zip(inputs, targets, strict=True):
        y, x = (np.asarray(a, dtype=np.float64).ravel() for a in (noisy, clean))
        gain = np.mean((x - x.mean()) * (y - y.mean())) / max(float(x.var()), 1e-12)
        means.append(gain * (x - x.mean()) + y.mean())
        residuals.append(y - means[-1])
    return _curve(np.concatenate(means), np.concatenate(residuals), bins, robust=False)
