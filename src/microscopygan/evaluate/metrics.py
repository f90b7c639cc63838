"""Image quality of a restored plane against its target: pure functions, nothing guessed.

Three conventions, told apart by the name's ending:

===========  ==================================================  ======================
ending       before comparing                                    data range
===========  ==================================================  ======================
(none)       nothing                                             given by the caller
``_minmax``  each image scaled to 0..1 by its own min and max    1 (the 2019 paper)
``_affine``  restored fitted to target by a gain and an offset   target max minus min
===========  ==================================================  ======================

The affine fit is the one to trust: a single hot pixel ruins the min-max scaling.
SSIM uses scikit-image's default, a uniform window of 7 x 7 pixels.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.metrics import structural_similarity

from microscopygan.image.intensity import fit_affine

Plane = NDArray[np.float64]

SSIM_WINDOW = 7
FRC_THRESHOLD = 1 / 7


def _pair(target: ArrayLike, restored: ArrayLike) -> tuple[Plane, Plane]:
    a, b = np.asarray(target, np.float64), np.asarray(restored, np.float64)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(
            f"expected two planes (Y, X) of one shape, got target {a.shape} and restored "
            f"{b.shape}; compare stacks plane by plane"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("expected finite pixels, got NaN or infinity; mask or replace them first")
    if a.size == 0 or a.min() == a.max():
        raise ValueError("expected a target with contrast, got one value everywhere; leave it out")
    return a, b


def _positive(data_range: float) -> float:
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"expected data_range above 0, got {data_range}; try target max minus min")
    return data_range


def _minmax(plane: Plane) -> Plane:
    low, high = plane.min(), plane.max()
    if low == high:
        return np.zeros_like(plane)
    return np.asarray((plane - low) / (high - low))


def _range(target: Plane) -> float:
    return float(target.max() - target.min())


def affine_fit(target: ArrayLike, restored: ArrayLike) -> Plane:
    """Fit `restored` to `target` by least squares with one gain and one offset.

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, any real dtype, any unit.

    Returns
    -------
    Plane of float64 (Y, X) on the target's scale. A constant `restored` becomes the target's mean.

    Raises
    ------
    ValueError
        Different shapes, not 2-D, NaN or infinity, a target without contrast.

    Examples
    --------
    >>> affine_fit([[1.0, 3.0]], [[0.0, 1.0]])
    array([[1., 3.]])
    """
    a, b = _pair(target, restored)
    return fit_affine(b, a).apply(b)


def _psnr(a: Plane, b: Plane, data_range: float) -> float:
    if np.array_equal(a, b):
        return math.inf
    return 20 * math.log10(data_range / math.sqrt(float(((a - b) ** 2).mean())))


def _ssim(a: Plane, b: Plane, data_range: float) -> float:
    if min(a.shape) < SSIM_WINDOW:
        raise ValueError(
            f"expected planes of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels for SSIM, "
            f"got {a.shape}; use larger images"
        )
    value = structural_similarity(  # type: ignore[no-untyped-call]
        a, b, data_range=data_range, win_size=SSIM_WINDOW
    )
    return float(value)


def psnr(target: ArrayLike, restored: ArrayLike, *, data_range: float) -> float:
    """Peak signal-to-noise ratio, 20 log10(data_range / RMSE), of the planes as they are.

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, on one intensity scale.
    data_range
        Largest possible minus smallest possible value, in the planes' unit.

    Returns
    -------
    Decibels; infinity for equal planes.

    Raises
    ------
    ValueError
        As `affine_fit`; or `data_range` not above 0.

    Examples
    --------
    >>> psnr([[0.0, 1.0]], [[0.1, 0.9]], data_range=1.0)
    20.0
    """
    a, b = _pair(target, restored)
    return _psnr(a, b, _positive(data_range))


def psnr_minmax(target: ArrayLike, restored: ArrayLike) -> float:
    """PSNR in dB after scaling each plane to 0..1 by its own extremes (2019 convention).

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, any scale.

    Returns
    -------
    Decibels. Fragile: one hot pixel changes the scaling. Raises as `affine_fit`.
    """
    a, b = _pair(target, restored)
    return _psnr(_minmax(a), _minmax(b), 1.0)


def psnr_affine(target: ArrayLike, restored: ArrayLike) -> float:
    """PSNR in dB after `affine_fit` to the target, range = target max minus min.

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, any scale.

    Returns
    -------
    Decibels; infinity (or several hundred) where only gain and offset differ. Raises as
    `affine_fit`.
    """
    a, b = _pair(target, restored)
    return _psnr(a, affine_fit(a, b), _range(a))


def ssim(target: ArrayLike, restored: ArrayLike, *, data_range: float) -> float:
    """Structural similarity (Wang et al. 2004), uniform 7 x 7 window, planes as they are.

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, at least 7 x 7 pixels, on one intensity scale.
    data_range
        Largest possible minus smallest possible value, in the planes' unit.

    Returns
    -------
    Mean over the plane, -1..1; 1 for equal planes.

    Raises
    ------
    ValueError
        As `psnr`; or a side below 7 pixels.
    """
    a, b = _pair(target, restored)
    return _ssim(a, b, _positive(data_range))


def ssim_minmax(target: ArrayLike, restored: ArrayLike) -> float:
    """SSIM after scaling each plane to 0..1 by its own extremes (2019 convention).

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, any scale.

    Returns
    -------
    Mean over the plane, -1..1. Raises as `ssim`.
    """
    a, b = _pair(target, restored)
    return _ssim(_minmax(a), _minmax(b), 1.0)


def ssim_affine(target: ArrayLike, restored: ArrayLike) -> float:
    """SSIM after `affine_fit` to the target, range = target max minus min.

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, any scale.

    Returns
    -------
    Mean over the plane, -1..1. Raises as `ssim`.
    """
    a, b = _pair(target, restored)
    return _ssim(a, affine_fit(a, b), _range(a))


def nrmse(target: ArrayLike, restored: ArrayLike) -> float:
    """Root-mean-square error over the target's root mean square (scikit-image "euclidean").

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, on one intensity scale.

    Returns
    -------
    0 for equal planes, no upper bound. Raises as `affine_fit`.

    Examples
    --------
    >>> nrmse([[0.0, 2.0]], [[0.0, 1.0]])
    0.5
    """
    a, b = _pair(target, restored)
    return float(np.sqrt(((a - b) ** 2).sum() / (a**2).sum()))


def _hann_spectrum(plane: Plane) -> NDArray[np.complex128]:
    window = np.outer(np.hanning(plane.shape[0]), np.hanning(plane.shape[1]))
    return np.asarray(np.fft.fft2((plane - plane.mean()) * window))


def ring_correlation(a: ArrayLike, b: ArrayLike) -> tuple[Plane, Plane]:
    """Fourier ring correlation (van Heel 1987; Nieuwenhuizen et al. 2013), Hann window.

    Parameters
    ----------
    a, b
        Planes (Y, X) of one shape, at least 8 pixels a side.

    Returns
    -------
    frequencies
        Ring centres in cycles per pixel, above 0 and up to 0.5.
    correlation
        -1..1 for each ring.

    Raises
    ------
    ValueError
        As `affine_fit`; or a side below 8 pixels.
    """
    first, second = _pair(a, b)
    side = min(first.shape)
    if side < 8:
        raise ValueError(f"expected at least 8 pixels a side, got {first.shape}; use larger images")
    fa, fb = _hann_spectrum(first), _hann_spectrum(second)
    radius = np.hypot(np.fft.fftfreq(first.shape[0])[:, None], np.fft.fftfreq(first.shape[1]))
    ring = np.rint(radius * side).astype(int).ravel()

    def total(values: Plane) -> Plane:
        return np.asarray(np.bincount(ring, values.ravel()), np.float64)[1 : side // 2 + 1]

    power = total(np.abs(fa) ** 2) * total(np.abs(fb) ** 2)
    cross = total((fa * fb.conj()).real)
    correlation = np.divide(cross, np.sqrt(power), out=np.zeros_like(cross), where=power > 0)
    return np.arange(1, side // 2 + 1) / side, correlation


def ring_resolution(a: ArrayLike, b: ArrayLike, pixel_size: float = 1.0) -> float:
    """Resolution where the Fourier ring correlation of two planes first falls below 1/7.

    Between target and restored it tells down to which detail the two agree.

    Parameters
    ----------
    a, b
        Planes (Y, X) of one shape.
    pixel_size
        Side of a pixel, in µm for an answer in µm; 1 for an answer in pixels.

    Returns
    -------
    A length: 2 pixels (Nyquist) where they agree at all frequencies, infinity where at none.

    Raises
    ------
    ValueError
        As `ring_correlation`; or `pixel_size` not above 0.
    """
    if not (math.isfinite(pixel_size) and pixel_size > 0):
        raise ValueError(f"expected pixel_size above 0, got {pixel_size}; give it in µm, or 1")
    frequency, correlation = ring_correlation(a, b)
    below = np.flatnonzero(correlation < FRC_THRESHOLD)
    if below.size == 0:
        return 2.0 * pixel_size
    i = int(below[0])
    if i == 0:
        return math.inf
    fraction = (correlation[i - 1] - FRC_THRESHOLD) / (correlation[i - 1] - correlation[i])
    crossing = frequency[i - 1] + fraction * (frequency[i] - frequency[i - 1])
    return float(pixel_size / crossing)


def score(
    target: ArrayLike, restored: ArrayLike, data_range: float | None = None
) -> dict[str, float]:
    """Return every metric of this module by its name.

    Parameters
    ----------
    target, restored
        Planes (Y, X) of one shape, at least 8 pixels a side.
    data_range
        Range for plain `psnr` and `ssim`; target max minus min where None.

    Returns
    -------
    ``psnr_affine``, ``ssim_affine``, ``psnr_minmax``, ``ssim_minmax``, ``psnr``, ``ssim``,
    ``nrmse`` and ``ring_resolution`` (pixels).

    Raises
    ------
    ValueError
        As the single functions.
    """
    a, b = _pair(target, restored)
    given = _range(a) if data_range is None else data_range
    return {
        "psnr_affine": psnr_affine(a, b),
        "ssim_affine": ssim_affine(a, b),
        "psnr_minmax": psnr_minmax(a, b),
        "ssim_minmax": ssim_minmax(a, b),
        "psnr": psnr(a, b, data_range=given),
        "ssim": ssim(a, b, data_range=given),
        "nrmse": nrmse(a, b),
        "ring_resolution": ring_resolution(a, b),
    }
