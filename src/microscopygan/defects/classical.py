"""Classical methods that several defects share: no learning, no training data."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from microscopygan.defects.statistics import noise_sigma

Plane = NDArray[np.float32]

# Chosen on training patches of the benchmark, never on its test patches.
NLM_STRENGTH = 1.2
ITERATIONS = 3


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
    from skimage.restoration import denoise_nl_means  # slow to load

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
