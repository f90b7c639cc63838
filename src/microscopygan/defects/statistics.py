"""Statistics of images that betray a defect rather than a specimen.

Measured on single planes: the power spectrum, the noise (its level, and its variance against
intensity), the rhythm of rows. Compared between sets of unpaired planes: `Medians` of statistics
that depend little on the content, and `MeanSpectrum`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microscopygan.image.intensity import fit_affine, percentile_map

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]
Planes = Sequence[NDArray[np.generic]]
Summary = tuple[Floats, Floats]  # middle and spread of each statistic over a set of planes

BANDS = 24  # frequency bands from 0 to the Nyquist frequency
POOLED = 6  # blocks a side of a quarter of a spectrum
LAGS = 12  # rows; longer than the longest sensible step
APART = (1, 2, 3, 4, 6, 8, 12)  # pixels between the pixels whose differences are compared
QUIET_WINDOW = 16  # pixels; side of the windows that grain is measured in
QUIETEST = 0.1  # share of the windows of a plane, those of least variance
OUTLYING = 8.0  # robust standard deviations from its neighbours that make a pixel an outlier
_EIGHT = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
LEVELS = np.linspace(-0.1, 1.1, 9)  # edges of the intensity bins of the noise curve

# Mean of |x| below its own 90th percentile, for a standard normal x.
_TRIMMED_MEAN = 0.6573


def noise_and_mean(plane: NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Noise residual of unit gain for white noise (Immerkaer 1996), and the local mean."""
    array = np.asarray(plane, dtype=np.float64)
    # The kernel [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] is a second difference along both axes.
    residual = np.diff(np.diff(array, n=2, axis=0), n=2, axis=1)[2:-2, 2:-2] / 6.0
    return residual, ndimage.uniform_filter(array, 7, mode="nearest")[3:-3, 3:-3]


def noise_sigma(plane: NDArray[np.generic]) -> float:
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


def noisiness(plane: NDArray[np.generic]) -> float:
    """Estimate the noise of a plane, as a part of its range (1st to 99.8th percentile).

    From the median of the residual of `noise_and_mean`, which leaves edges and ramps out.

    Parameters
    ----------
    plane
        (Y, X), at least 8 x 8 pixels, any scale.

    Returns
    -------
    Standard deviation over the range.
    """
    residual, _ = noise_and_mean(plane)
    low, high = np.percentile(np.asarray(plane, np.float64), (1, 99.8))
    return float(np.median(np.abs(residual)) / 0.6745 / max(high - low, 1e-6))


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
        means.append(fit_affine(x, y).apply(x))
        residuals.append(y - means[-1])
    return _curve(np.concatenate(means), np.concatenate(residuals), bins, robust=False)


@lru_cache(maxsize=8)
def _hann_window(shape: tuple[int, int]) -> Plane:
    rows, columns = (np.hanning(side).astype(np.float32) for side in shape)
    return np.outer(rows, columns)


def power_spectrum(planes: NDArray[np.floating], *, half: bool = False) -> Floats:
    """Power of planes less their mean, under a Hann window, for white noise its variance.

    Parameters
    ----------
    planes : array, shape (..., Y, X)
        One plane or several of one size.
    half : bool
        Without the frequencies of axis -1 below 0, which mirror the others.

    Returns
    -------
    array, shape (..., Y, X) or (..., Y, X // 2 + 1)
        In units squared, in the order of ``scipy.fft.fft2`` or ``rfft2``.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 3, (128, 128))
    >>> bool(abs(power_spectrum(noise).mean() - 9) < 0.5)
    True
    """
    window = _hann_window((planes.shape[-2], planes.shape[-1]))
    transform = fft.rfft2 if half else fft.fft2
    spectrum = transform((planes - planes.mean(axis=(-2, -1), keepdims=True)) * window)
    return np.asarray(np.abs(spectrum) ** 2 / np.sum(window**2))


@lru_cache(maxsize=8)
def frequency_radius(shape: tuple[int, int], half: bool = False) -> Floats:
    """Spatial frequency of each place of a `power_spectrum`, in cycles per pixel."""
    columns = fft.rfftfreq(shape[1]) if half else fft.fftfreq(shape[1])
    return np.asarray(np.hypot(fft.fftfreq(shape[0])[:, None], columns[None, :]))


def radial_mean(power: Floats, radius: Floats, bands: int) -> Floats:
    """Mean power in rings of equal width from 0 to 0.5 cycles per pixel; corners are left out.

    Parameters
    ----------
    power, radius : arrays of one shape
        As `power_spectrum` and `frequency_radius` give them.
    bands : int
        Number of rings.

    Returns
    -------
    array, shape (bands,)
        From the lowest frequency to the highest.
    """
    ring = np.minimum((radius * 2 * bands).astype(np.intp), bands).ravel()
    total = np.bincount(ring, power.ravel(), bands + 1)[:bands]
    return np.asarray(total / np.bincount(ring, minlength=bands + 1)[:bands])


def _radial_log(crop: Plane, power: Floats) -> Floats:
    radius = frequency_radius((crop.shape[0], crop.shape[1]), half=True)
    return np.asarray(np.log(radial_mean(power, radius, BANDS) + 1e-7))


def radial_log_spectrum(crop: Plane) -> Floats:
    """Log power of a square in rings; without the first, which is content alone."""
    return _radial_log(crop, power_spectrum(crop, half=True))[1:]


def pooled_log_spectrum(crop: Plane) -> Floats:
    """Log power of a square, POOLED × POOLED blocks a half plane; without those next to zero."""
    half = len(crop) // 2
    power = fft.fftshift(power_spectrum(crop, half=True), axes=0)
    power = power[half % POOLED : half % POOLED + 2 * (half - half % POOLED)]
    power = power[:, : half - half % POOLED]
    blocks = power.reshape(2 * POOLED, -1, POOLED, power.shape[1] // POOLED).mean(axis=(1, 3))
    blocks[POOLED - 1 : POOLED + 1, 0] = 1.0
    return np.asarray(np.log(blocks + 1e-7)).ravel()


def log_spectra(crop: Plane) -> Floats:
    """Log power of a square: radial, along axis 0, along axis 1, and the ratio of the latter."""
    power = power_spectrum(crop, half=True)
    along = []
    for axis, frequencies in enumerate((fft.fftfreq(len(crop)), fft.rfftfreq(len(crop)))):
        bands = np.minimum((np.abs(frequencies) * 2 * BANDS).astype(np.intp), BANDS - 1)
        profile = np.bincount(bands, power.mean(axis=1 - axis), BANDS) / np.bincount(bands)
        along.append(np.log(profile + 1e-7))
    return np.concatenate([_radial_log(crop, power), *along, along[0] - along[1]])


def row_rhythm(crop: Plane) -> Floats:
    """Autocorrelation, at lags of 1 to LAGS rows, of the mean curvature along axis 0.

    An interpolated plane bends only at its kept rows, so the step stands out at any content.
    """
    bend = np.abs(np.diff(crop, n=2, axis=0)).mean(axis=1)
    bend = bend - ndimage.uniform_filter1d(bend, LAGS, mode="nearest")
    total = max(float(np.sum(bend**2)), 1e-12)
    return np.array([np.sum(bend[lag:] * bend[:-lag]) / total for lag in range(1, LAGS + 1)])


def difference_ratio(crop: Plane) -> Floats:
    """Log ratio, axis 0 over axis 1, of the mean square difference of pixels APART."""

    def square(axis: int, lag: int) -> float:
        rows = crop if axis == 0 else crop.T
        return float(np.mean((rows[lag:] - rows[:-lag]) ** 2)) + 1e-7

    return np.array([np.log(square(0, lag) / square(1, lag)) for lag in APART])


def level_variances(crop: Plane) -> Floats:
    """Log noise variance in the intensity bins LEVELS, then the same less its mean.

    NaN in bins with few pixels.
    """
    residual, mean = noise_and_mean(crop)
    level = np.digitize(mean, LEVELS)
    result = np.full(LEVELS.size - 1, np.nan)
    for index in range(1, LEVELS.size):
        pixels = residual[level == index]
        if pixels.size >= 60:
            result[index - 1] = np.log(robust_variance(pixels) + 1e-7)
    height = np.nanmean(result) if np.isfinite(result).any() else np.nan
    return np.concatenate([result, result - height])


def normalised(plane: NDArray[np.generic]) -> Plane:
    """Bring a plane to its percentile scale, float32."""
    array = np.asarray(plane)
    return np.asarray(percentile_map(array).apply(array), np.float32)


def quiet_covariances(plane: NDArray[np.generic]) -> Floats:
    """Variance, covariance 1 and 2 pixels down, 1 and 2 right, in the quietest windows."""
    scaled = normalised(plane).astype(np.float64)
    side = QUIET_WINDOW
    rows, columns = (length // side for length in scaled.shape)
    grid = scaled[: rows * side, : columns * side].reshape(rows, side, columns, side)
    windows = grid.swapaxes(1, 2).reshape(-1, side, side)
    windows = windows - windows.mean(axis=(1, 2), keepdims=True)
    count = max(2, round(QUIETEST * len(windows)))
    quiet = windows[np.argsort((windows**2).mean(axis=(1, 2)))[:count]]
    down = [float((quiet[:, lag:] * quiet[:, :-lag]).mean()) for lag in (1, 2)]
    right = [float((quiet[:, :, lag:] * quiet[:, :, :-lag]).mean()) for lag in (1, 2)]
    return np.array([float((quiet**2).mean()), *down, *right])


def outliers(plane: NDArray[np.generic]) -> tuple[Floats, NDArray[np.bool_]]:
    """Find single pixels that stand out from the eight around them.

    Parameters
    ----------
    plane : array, shape (Y, X)
        Any scale.

    Returns
    -------
    apart : array, shape (Y, X)
        Each pixel less the median of those around it.
    out : array of bool, shape (Y, X)
        Those farther apart than `OUTLYING` robust standard deviations, and beyond the others by
        more than these differ among themselves.
    """
    values = np.asarray(plane, np.float64)
    around = ndimage.median_filter(values, footprint=_EIGHT, mode="reflect")
    high = ndimage.maximum_filter(values, footprint=_EIGHT, mode="reflect")
    low = ndimage.minimum_filter(values, footprint=_EIGHT, mode="reflect")
    apart = values - around
    sigma = 1.4826 * float(np.median(np.abs(apart))) + 1e-9
    beyond = np.maximum(values - high, low - values)
    return apart, (np.abs(apart) > OUTLYING * sigma) & (beyond > high - low)


class Feature(NamedTuple):
    """A vector measured on a crop that is on its own percentile scale, and its weights."""

    measure: Callable[[Plane], Floats]
    weights: Floats


class Trace(Protocol):
    """Statistics that tell how far one set of crops is from another."""

    @property
    def crops(self) -> int:
        """Crops looked at on each side, at most."""

    def summary(self, crops: Planes) -> Summary:
        """Measure a set of crops: the middle and the spread of each statistic."""

    def distance(self, crops: Planes, target: Summary) -> float:
        """Measure how far a set of crops is from another, whose summary is given."""


@dataclass(frozen=True)
class Medians:
    """Medians, over crops, of features; apart by their mean deviation in robust spreads."""

    features: tuple[Feature, ...]
    crops: int = 40

    def _measured(self, crop: NDArray[np.generic]) -> Floats:
        scaled = normalised(crop)
        return np.concatenate([feature.measure(scaled) for feature in self.features])

    def summary(self, crops: Planes) -> Summary:
        """Return the medians and their robust spread; NaN where few crops have a value."""
        table = np.stack([self._measured(crop) for crop in crops])
        known = np.isfinite(table).sum(axis=0) >= max(1, len(crops) // 4)
        table = np.where(known, table, 0.0)
        middle = np.nanmedian(table, axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(table - middle), axis=0)
        return np.where(known, middle, np.nan), spread

    def distance(self, crops: Planes, target: Summary) -> float:
        """Return the weighted mean deviation, in spreads of the target."""
        middle, _ = self.summary(crops)
        deviation = np.abs(middle - target[0]) / (0.1 + target[1])
        every = np.concatenate([feature.weights for feature in self.features])
        weights = np.where(np.isfinite(deviation), every, 0.0)
        return float(np.sum(weights * np.nan_to_num(deviation)) / np.sum(weights))


@dataclass(frozen=True)
class MeanSpectrum:
    """Mean log spectra, apart by their root mean square deviation in standard errors.

    What blurs shows in the spectrum alone, so that other statistics would only add their chance;
    the mean of more crops is compared instead. With `floor`, the white noise of the target, which
    its lowest power tells, is added to what is compared with it: a trial without noise.
    """

    measure: Callable[[Plane], Floats]
    crops: int = 120
    floor: bool = False

    def summary(self, crops: Planes) -> Summary:
        """Return the mean log power, and its standard error."""
        table = np.stack([self.measure(normalised(crop)) for crop in crops])
        return table.mean(axis=0), table.std(axis=0) / math.sqrt(len(crops))

    def distance(self, crops: Planes, target: Summary) -> float:
        """Return the deviation, in standard errors of the target."""
        middle, _ = self.summary(crops)
        if self.floor:
            more = np.exp(target[0].min()) - np.exp(middle.min())
            middle = np.log(np.exp(middle) + max(float(more), 0.0))
        deviation = (middle - target[0]) / (0.02 + target[1])
        return float(np.sqrt(np.mean(deviation**2)))


def evenly(count: int, share: float) -> Floats:
    """Return equal weights of a feature's values that sum to its share."""
    return np.full(count, share / count)


# The high-frequency half of a spectrum weighs more; its first band is content alone.
_BAND_WEIGHTS = np.repeat([0.0, 0.5, 1.5], [1, BANDS // 2 - 1, BANDS - BANDS // 2])
SPECTRA = Feature(log_spectra, np.tile(_BAND_WEIGHTS / BANDS, 4))
RHYTHM = Feature(row_rhythm, evenly(LAGS, 1.0))
ANISOTROPY = Feature(difference_ratio, evenly(len(APART), 3.0))
NOISE = Feature(level_variances, np.tile(evenly(LEVELS.size - 1, 1.5), 2))
EVERYTHING = Medians((SPECTRA, RHYTHM, ANISOTROPY, NOISE))
SPECTRUM = MeanSpectrum(radial_log_spectrum)
BLUR = MeanSpectrum(radial_log_spectrum, crops=60, floor=True)
DIRECTED_BLUR = MeanSpectrum(pooled_log_spectrum, crops=60, floor=True)
