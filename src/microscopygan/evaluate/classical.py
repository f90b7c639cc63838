"""Classical restoration, the bar a trained network has to beat: no learning, no training data."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means

Plane = NDArray[np.float32]

# Chosen on training patches of the benchmark, never on its test patches.
NLM_STRENGTH = 1.2
LATERAL_SIGMA = 2.5
AXIAL_SIGMA = 2.5
ITERATIONS = 3


def classical(plane: Plane, defect: str) -> Plane:
    """Restore one plane by the classical method for its defect.

    ``noise`` and unknown defects: `non_local_means`. ``lowres``: `richardson_lucy` with the same
    blur in both directions. ``axial`` (missing planes along axis 0, already interpolated
    linearly): `richardson_lucy` along axis 0 only, which also undoes some of the interpolation's
    own blur.

    Parameters
    ----------
    plane
        (Y, X) float32, about 0..1 after the percentile normalisation, not clipped.
    defect
        Name of the defect.

    Returns
    -------
    (Y, X) float32 on the same scale.

    Raises
    ------
    ValueError
        Not a plane, smaller than 8 x 8, or NaN or infinity in it.
    """
    values = np.asarray(plane, np.float32)
    if values.ndim != 2 or min(values.shape) < 8:
        raise ValueError(
            f"expected a plane (Y, X) of at least 8 x 8 pixels, got shape {values.shape}; "
            "restore stacks plane by plane"
        )
    if not np.isfinite(values).all():
        raise ValueError("expected finite pixels, got NaN or infinity; mask or replace them first")
    if defect == "lowres":
        return richardson_lucy(values, (LATERAL_SIGMA, LATERAL_SIGMA))
    if defect == "axial":
        return richardson_lucy(values, (AXIAL_SIGMA, 0.0))
    return non_local_means(values)


def noise_sigma(plane: Plane) -> float:
    """Estimate the standard deviation of white noise (Donoho & Johnstone 1994).

    The median absolute diagonal Haar coefficient over 0.6745, as scikit-image's `estimate_sigma`
    does with a longer wavelet, which needs PyWavelets.

    Parameters
    ----------
    plane
        (Y, X) float32, any scale.

    Returns
    -------
    Standard deviation on the plane's scale.
    """
    p = np.asarray(plane, np.float64)
    detail = (p[:-1, :-1] - p[:-1, 1:] - p[1:, :-1] + p[1:, 1:]) / 2
    return float(np.median(np.abs(detail)) / 0.6745)


def non_local_means(plane: Plane) -> Plane:
    """Non-local means (Buades et al. 2005), its strength from the estimated noise.

    Patches of 5 x 5 within 13 x 13 pixels, cut-off 1.2 times the noise's standard deviation
    as `noise_sigma` estimates it.

    Parameters
    ----------
    plane
        (Y, X) float32, any scale.

    Returns
    -------
    (Y, X) float32; a plane without noise comes back unchanged.
    """
    sigma = noise_sigma(plane)
    if sigma == 0:
        return plane.copy()
    smooth = denoise_nl_means(
        plane, patch_size=5, patch_distance=6, h=NLM_STRENGTH * sigma, sigma=sigma
    )
    return np.asarray(smooth, np.float32)


def richardson_lucy(
    plane: Plane, sigma: tuple[float, float], iterations: int = ITERATIONS
) -> Plane:
    """Richardson-Lucy deconvolution (1972, 1974) of a Gaussian blur, reflecting borders.

    The few iterations are its only regularisation. The plane is lifted to be positive first and
    lowered again after.

    Parameters
    ----------
    plane
        (Y, X) float32, any scale.
    sigma
        Standard deviation of the blur along (Y, X) in pixels; 0 is no blur.
    iterations
        Number of multiplicative updates.

    Returns
    -------
    (Y, X) float32 on the same scale.
    """
    low = float(plane.min())
    data = plane.astype(np.float64) - low + 1e-3 * (float(plane.max()) - low) + 1e-12
    lift = float(data.min()) - low
    estimate = data.copy()
    for _ in range(iterations):
        ratio = data / gaussian_filter(estimate, sigma, mode="reflect")
        estimate *= gaussian_filter(ratio, sigma, mode="reflect")
    return np.asarray(estimate - lift, np.float32)
