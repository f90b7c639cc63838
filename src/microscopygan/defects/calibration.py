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

A loss of resolution shows in the radial power spectrum alone, so that the others would only add
their chance: there the mean spectra of more crops are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microscopygan.defects.noise_curve import check_planes, noise_and_mean, robust_variance
from microscopygan.defects.parameters import (
    Bleaching,
    Defect,
    LowResolution,
    UnevenIllumination,
)
from microscopygan.defects.physics import Plane
from microscopygan.image.intensity import percentile_map

Floats = NDArray[np.float64]
Planes = Sequence[NDArray[np.generic]]
D = TypeVar("D", bound=Defect)

CROP = 96  # pixels; the largest crop compared
IMAGES = 40  # crops compared on each side
SPECTRA = 120  # crops on each side where mean spectra are compared
SCREENED = 4  # the first round is judged on so many times fewer clean crops
BANDS = 24  # frequency bands from 0 to the Nyquist frequency
LAGS = 12  # rows; longer than the longest sensible step
APART = (1, 2, 3, 4, 6, 8, 12)  # pixels between the pixels whose differences are compared
LEVELS = np.linspace(-0.1, 1.1, 9)  # edges of the intensity bins of the noise curve
ROUNDS = (0.15, 0.08, 0.04)  # size of the moves around the best candidates


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
    residual, mean = noise_and_mean(crop)
    level = np.digitize(mean, LEVELS)
    result = np.full(LEVELS.size - 1, np.nan)
    for index in range(1, LEVELS.size):
        chosen = residual[level == index]
        if chosen.size >= 60:
            result[index - 1] = np.log(robust_variance(chosen) + 1e-7)
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


def _crops(planes: Planes, size: int, rng: np.random.Generator, count: int) -> list[Plane]:
    """Up to `count` square crops from different planes, each the liveliest of three."""
    chosen = rng.permutation(len(planes))[:count]
    crops = []
    for index in np.resize(chosen, max(len(chosen), min(count, 4))):
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


def _mean_spectrum(crops: Sequence[NDArray[np.generic]]) -> tuple[Floats, Floats]:
    """Mean of the radial log power over the crops, and its standard error."""
    scaled = [np.asarray(percentile_map(crop).apply(crop), np.float32) for crop in crops]
    table = np.stack([_spectra(crop)[0] for crop in scaled])
    return table.mean(axis=0), table.std(axis=0) / math.sqrt(len(crops))


def _spectral_distance(
    parameters: Defect, crops: Sequence[Plane], target: tuple[Floats, Floats], seed: int
) -> float:
    """Deviation, in standard errors, of the mean spectrum of degraded clean crops."""
    rng = np.random.default_rng(seed)
    found, _ = _mean_spectrum([parameters.apply(crop, rng) for crop in crops])
    deviation = (found - target[0]) / (0.02 + target[1])
    return float(np.sqrt(np.mean(deviation[1:] ** 2)))  # the first band is content alone


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
    check_planes("clean", clean, 64)
    check_planes("defective", defective, 64)
    size = min(CROP, *(side for plane in [*clean, *defective] for side in np.shape(plane)))
    blurred = issubclass(kind, LowResolution)
    count, distance = (SPECTRA, _spectral_distance) if blurred else (IMAGES, _distance)
    crops = _crops(clean, size, rng, count)
    target = (_mean_spectrum if blurred else _median_and_spread)(
        _crops(defective, size, rng, count)
    )
    seed = int(rng.integers(2**32))

    def ranked(trials: list[D], images: int) -> list[tuple[float, D]]:
        scores = [(distance(trial, crops[:images], target, seed), trial) for trial in trials]
        return sorted(scores, key=lambda score: score[0])

    screened = ranked([kind.draw(rng) for _ in range(candidates)], count // SCREENED)
    best = ranked([trial for _, trial in screened[: 2 * keep]], count)
    moves = math.ceil(candidates / (3 * len(ROUNDS)))
    for scale in ROUNDS:
        parents = [trial for _, trial in best[:keep]]
        moved = ranked([parents[i % keep].jitter(rng, scale) for i in range(moves)], count)
        best = sorted([*best[:keep], *moved], key=lambda score: score[0])
    return [trial for _, trial in best[:keep]]
