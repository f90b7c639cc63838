"""Find the physical parameters of a defect from unpaired clean and defective planes.

Crops of the clean planes are degraded with candidate parameters, brought to the intensity scale
of the defective crops, and compared with them by statistics that depend little on the content:

====================  ==================================================================
statistic             what it identifies
====================  ==================================================================
log power spectra     blur, noise floor, binning: radial, and along each axis on its own
anisotropy            axial defects: axis 0 over axis 1, of the spectra and of the mean
                      square differences between pixels some way apart
row rhythm            the step of axial subsampling: autocorrelation of the curvature
noise curve           photons and read-out noise: noise variance against mean, blind,
                      its height and, apart, its shape
====================  ==================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microscopygan.defects.parameters import Bleaching, Defect, UnevenIllumination
from microscopygan.defects.physics import Plane
from microscopygan.image.intensity import percentile_map

Floats = NDArray[np.float64]
Planes = Sequence[NDArray[np.generic]]
D = TypeVar("D", bound=Defect)

CROP = 96  # pixels; the largest crop compared
IMAGES = 40  # crops compared on each side
SCREENED = 10  # clean crops on which the first round is judged
BANDS = 24  # frequency bands from 0 to the Nyquist frequency
LAGS = 12  # rows; longer than the longest sensible step
APART = (1, 2, 3, 4, 6, 8, 12)  # pixels between the pixels whose differences are compared
LEVELS = np.linspace(-0.1, 1.1, 9)  # edges of the intensity bins of the noise curve
ROUNDS = (0.15, 0.08, 0.04)  # size of the moves around the best candidates

# Mean of |x| below its own 90th percentile, for a standard normal x.
_TRIMMED_MEAN = 0.6573


def _noise_and_mean(plane: NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Noise residual of unit gain for white noise (Immerkaer 1996), and the local mean."""
    array = np.asarray(plane, dtype=np.float64)
    # The kernel [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] is a second difference along both axes.
    residual = np.diff(np.diff(array, n=2, axis=0), n=2, axis=1)[2:-2, 2:-2] / 6.0
    return residual, ndimage.uniform_filter(array, 7, mode="nearest")[3:-3, 3:-3]


def _robust_variance(residual: Floats) -> float:
    """Variance of a residual, from the mean of its smaller nine tenths."""
    size = np.abs(residual)
    kept = size[size <= np.quantile(size, 0.9)]
    return float((kept.mean() / _TRIMMED_MEAN) ** 2)


def _check_planes(name: str, planes: Planes, least: int) -> None:
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
        _robust_variance(residuals[group]) if robust else float(np.mean(residuals[group] ** 2))
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
    _check_planes("planes", planes, 16)
    parts = [_noise_and_mean(plane) for plane in planes]
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
    _check_planes("inputs", inputs, 16)
    _check_planes("targets", targets, 16)
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


@lru_cache(maxsize=4)
def _frequency_bands(size: int) -> tuple[NDArray[np.intp], list[NDArray[np.intp]], Plane]:
    """Radial and one-axis band numbers of the half spectrum of a square, and its window."""
    frequencies = np.abs(fft.fftfreq(size)), fft.rfftfreq(size)
    radius = np.hypot(frequencies[0][:, None], frequencies[1][None, :])
    window = np.hanning(size).astype(np.float32)
    # Corners beyond the Nyquist frequency share one last band, which is dropped.
    radial = np.minimum((radius * 2 * BANDS).astype(np.intp), BANDS)
    single = [np.minimum((f * 2 * BANDS).astype(np.intp), BANDS - 1) for f in frequencies]
    return radial, single, np.outer(window, window)


def _spectra(crop: Plane) -> list[Floats]:
    """Log power: radial average, profile along axis 0, profile along axis 1, and their ratio."""
    radial, single, window = _frequency_bands(crop.shape[0])
    power = np.abs(fft.rfft2((crop - crop.mean()) * window)) ** 2 / np.sum(window**2)
    counts = np.bincount(radial.ravel(), minlength=BANDS + 1)[:BANDS]
    average = np.bincount(radial.ravel(), power.ravel(), BANDS + 1)[:BANDS] / counts
    along = [
        np.bincount(bands, power.mean(axis=1 - axis), BANDS) / np.bincount(bands)
        for axis, bands in enumerate(single)
    ]
    logs = [np.log(profile + 1e-7) for profile in (average, *along)]
    return [*logs, logs[1] - logs[2]]


def _row_rhythm(crop: Plane) -> Floats:
    """Autocorrelation, at lags of 1 to LAGS rows, of the mean curvature along axis 0.

    An interpolated plane bends only at its kept rows, so the step stands out at any content.
    """
    bend = np.abs(np.diff(crop, n=2, axis=0)).mean(axis=1)
    bend = bend - ndimage.uniform_filter1d(bend, LAGS, mode="nearest")
    total = max(float(np.sum(bend**2)), 1e-12)
    return np.array([np.sum(bend[lag:] * bend[:-lag]) / total for lag in range(1, LAGS + 1)])


def _difference_ratio(crop: Plane) -> Floats:
    """Log ratio, axis 0 over axis 1, of the mean square difference of pixels APART."""

    def square(axis: int, lag: int) -> float:
        rows = crop if axis == 0 else crop.T
        return float(np.mean((rows[lag:] - rows[:-lag]) ** 2)) + 1e-7

    return np.array([np.log(square(0, lag) / square(1, lag)) for lag in APART])


def _level_variances(crop: Plane) -> Floats:
    """Log noise variance in the intensity bins LEVELS, then the same less its mean.

    NaN in bins with few pixels.
    """
    residual, mean = _noise_and_mean(crop)
    level = np.digitize(mean, LEVELS)
    result = np.full(LEVELS.size - 1, np.nan)
    for index in range(1, LEVELS.size):
        chosen = residual[level == index]
        if chosen.size >= 60:
            result[index - 1] = np.log(_robust_variance(chosen) + 1e-7)
    height = np.nanmean(result) if np.isfinite(result).any() else np.nan
    return np.concatenate([result, result - height])


def _statistics(crop: NDArray[np.generic]) -> Floats:
    """All statistics of one crop, on the percentile scale of that crop."""
    scaled = np.asarray(percentile_map(crop).apply(crop), dtype=np.float32)
    return np.concatenate(
        [
            *_spectra(scaled),
            _row_rhythm(scaled),
            _difference_ratio(scaled),
            _level_variances(scaled),
        ]
    )


def _weights() -> Floats:
    """Weight of each statistic; the high-frequency half of the spectra weighs more."""
    spectrum = np.where(np.arange(BANDS) < BANDS // 2, 0.5, 1.5) / BANDS
    spectrum[0] = 0.0  # content alone
    groups = (LAGS, len(APART), LEVELS.size - 1, LEVELS.size - 1)
    shares = (1.0, 3.0, 1.5, 1.5)
    others = [np.full(size, share / size) for size, share in zip(groups, shares, strict=True)]
    return np.concatenate([spectrum] * 4 + others)


def _crops(planes: Planes, size: int, rng: np.random.Generator) -> list[Plane]:
    """Up to IMAGES square crops from different planes, each the liveliest of three."""
    chosen = rng.permutation(len(planes))[:IMAGES]
    crops = []
    for index in np.resize(chosen, max(len(chosen), min(IMAGES, 4))):
        plane = np.asarray(planes[int(index)], dtype=np.float32)
        corners = [[int(rng.integers(side - size + 1)) for side in plane.shape] for _ in range(3)]
        trials = [plane[y : y + size, x : x + size] for y, x in corners]
        crops.append(max(trials, key=lambda crop: float(crop.std())))
    return crops


def _median_and_spread(crops: Sequence[NDArray[np.generic]]) -> tuple[Floats, Floats]:
    """Median of the statistics over the crops, and their robust spread (NaN where unknown)."""
    table = np.stack([_statistics(crop) for crop in crops])
    known = np.isfinite(table).sum(axis=0) >= max(1, len(crops) // 4)
    table = np.where(known, table, 0.0)
    middle = np.nanmedian(table, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(table - middle), axis=0)
    return np.where(known, middle, np.nan), spread


def _distance(
    parameters: Defect, crops: Sequence[Plane], target: tuple[Floats, Floats], seed: int
) -> float:
    """Weighted mean deviation of degraded clean crops from the defective ones."""
    rng = np.random.default_rng(seed)  # the same noise for every candidate
    found, _ = _median_and_spread([parameters.apply(crop, rng) for crop in crops])
    deviation = np.abs(found - target[0]) / (0.1 + target[1])
    weights = np.where(np.isfinite(deviation), _weights(), 0.0)
    return float(np.sum(weights * np.nan_to_num(deviation)) / np.sum(weights))


def calibrate(
    kind: type[D],
    clean: Planes,
    defective: Planes,
    rng: np.random.Generator,
    *,
    candidates: int = 200,
    keep: int = 8,
) -> list[D]:
    """Find the parameters with which clean planes come to look like the defective ones.

    Random candidates first, then rounds of smaller and smaller moves around the best. The
    planes are unpaired; their content should be of the same sort. The scale and offset of the
    defective planes do not matter.

    Parameters
    ----------
    kind : type
        The defect's model: Noise, Axial, LowResolution or Haze. UnevenIllumination and
        Bleaching leave no trace in the statistics of unpaired planes and are refused.
    clean : sequence of arrays, each (Y, X)
        Clean planes on a scale of about 0 to 1, at least 64 x 64 pixels.
    defective : sequence of arrays, each (Y, X)
        Defective planes on any scale, at least 64 x 64 pixels.
    rng : numpy.random.Generator
        Source of randomness.
    candidates : int
        Candidates in the first round, at least ``keep``; a third as many in the later ones.
    keep : int
        Number of parameter sets to return, at least 1.

    Returns
    -------
    list of ``kind``
        The ``keep`` best parameter sets, best first.

    Raises
    ------
    ValueError
        If the kind cannot be calibrated, a plane is unsuitable, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from microscopygan.defects.parameters import Noise
    >>> from microscopygan.defects.specimens import nuclei
    >>> rng = np.random.default_rng(0)
    >>> clean = [nuclei((64, 64), rng) for _ in range(4)]
    >>> noisy = [Noise(photons=10).apply(plane, rng) for plane in clean]
    >>> len(calibrate(Noise, clean, noisy, rng, candidates=8, keep=2))
    2
    """
    if issubclass(kind, UnevenIllumination | Bleaching) or not kind.ranges:
        raise ValueError(
            f"expected Noise, Axial, LowResolution or Haze, got {kind.__name__}, which cannot be "
            "found from unpaired planes; draw its parameters with draw() instead"
        )
    if keep < 1 or candidates < keep:
        raise ValueError(
            f"expected candidates >= keep >= 1, got {candidates} and {keep}; raise candidates"
        )
    _check_planes("clean", clean, 64)
    _check_planes("defective", defective, 64)
    size = min(CROP, *(side for plane in [*clean, *defective] for side in np.shape(plane)))
    crops = _crops(clean, size, rng)
    target = _median_and_spread(_crops(defective, size, rng))
    seed = int(rng.integers(2**32))

    def ranked(trials: list[D], images: int = IMAGES) -> list[tuple[float, D]]:
        scores = [(_distance(trial, crops[:images], target, seed), trial) for trial in trials]
        return sorted(scores, key=lambda score: score[0])

    screened = ranked([kind.draw(rng) for _ in range(candidates)], SCREENED)
    best = ranked([trial for _, trial in screened[: 2 * keep]])
    moves = math.ceil(candidates / (3 * len(ROUNDS)))
    for scale in ROUNDS:
        parents = [trial for _, trial in best[:keep]]
        moved = ranked([parents[i % keep].jitter(rng, scale) for i in range(moves)])
        best = sorted([*best[:keep], *moved], key=lambda score: score[0])
    return [trial for _, trial in best[:keep]]
