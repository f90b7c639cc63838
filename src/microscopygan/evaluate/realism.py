"""How realistic synthetic defects are: spectra, noise curves and a two-sample test.

Real and synthetic planes should show specimens of the same kind, or the numbers measure the
specimen. All planes: (Y, X) float32, about 0..1, at least 32 pixels a side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..defects.statistics import frequency_radius, power_spectrum, radial_mean

Array = NDArray[np.float64]
Planes = Sequence[NDArray[np.float32]]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

PATCH = 32
RINGS = 16
SPLITS = 5
PATCHES_PER_IMAGE = 64
TINY = 1e-12


class CurveError(NamedTuple):
    """Relative deviation of a synthetic noise curve from the real one."""

    largest: float
    mean: float


@dataclass(frozen=True)
class Realism:
    """How far synthetic defects are from real ones; 0, 0, 0 and 0.5 are perfect.

    `spectrum` in decades of power; `noise_curve` (mean) and `noise_curve_largest` are relative
    deviations of the variance, None without curves; `classifier` is an accuracy.
    """

    spectrum: float
    noise_curve: float | None
    noise_curve_largest: float | None
    classifier: float


def _checked(planes: Planes, name: str, least: int = 1) -> list[Array]:
    if len(planes) < least:
        raise ValueError(f"expected at least {least} {name} planes, got {len(planes)}; add images")
    checked = [np.asarray(plane, np.float64) for plane in planes]
    for plane in checked:
        if plane.ndim != 2 or min(plane.shape) < PATCH:
            raise ValueError(
                f"expected {name} planes (Y, X) of at least {PATCH} x {PATCH} pixels, "
                f"got shape {plane.shape}; use larger images"
            )
        if not np.isfinite(plane).all():
            raise ValueError(f"expected finite {name} planes, got NaN or infinity; replace them")
    return checked


def _radial_log_spectrum(plane: Array) -> Array:
    radius = frequency_radius((plane.shape[0], plane.shape[1]))
    return np.asarray(np.log10(radial_mean(power_spectrum(plane), radius, RINGS) + TINY))


def spectrum_distance(real: Planes, synthetic: Planes) -> float:
    """RMS difference of the mean radial log10 power spectra.

    Hann window, 16 rings of equal width from 0 to 0.5 cycles per pixel.

    Parameters
    ----------
    real, synthetic
        Planes (Y, X), any number of each, about 0..1, at least 32 pixels a side.

    Returns
    -------
    Decades of power, 0 or above.

    Raises
    ------
    ValueError
        No planes, planes too small, NaN or infinity.
    """
    means = [
        np.mean([_radial_log_spectrum(plane) for plane in _checked(planes, name)], axis=0)
        for planes, name in ((real, "real"), (synthetic, "synthetic"))
    ]
    return float(np.sqrt(np.mean((means[0] - means[1]) ** 2)))


def _curve(curve: Curve, name: str) -> Curve:
    means, variances = (np.asarray(part, np.float64) for part in curve)
    if means.ndim != 1 or means.shape != variances.shape:
        raise ValueError(
            f"expected the {name} curve as (means, variances) of one length, "
            f"got shapes {means.shape} and {variances.shape}"
        )
    good = np.isfinite(means) & np.isfinite(variances)
    if good.sum() < 2:
        raise ValueError(f"expected 2 or more points in the {name} curve, got {good.sum()}")
    order = np.argsort(means[good])
    return means[good][order], variances[good][order]


def noise_curve_error(real_curve: Curve, synthetic_curve: Curve) -> CurveError:
    """Relative deviation of the synthetic variance from the real, at equal intensity.

    Looks at the middle 80 % of the intensities that both curves cover, at 50 points,
    interpolating linearly.

    Parameters
    ----------
    real_curve, synthetic_curve
        (means, variances), 1-D arrays of one length, as `noise_curve_from_pairs` returns them;
        points with NaN are left out.

    Returns
    -------
    Largest and mean of |synthetic - real| / real.

    Raises
    ------
    ValueError
        Fewer than two points, no common intensities, or real variances that are not above 0.

    Examples
    --------
    >>> noise_curve_error(([0, 1], [1, 1]), ([0, 1], [1.5, 1.5]))
    CurveError(largest=0.5, mean=0.5)
    """
    real, synthetic = _curve(real_curve, "real"), _curve(synthetic_curve, "synthetic")
    low, high = max(real[0][0], synthetic[0][0]), min(real[0][-1], synthetic[0][-1])
    if low >= high:
        raise ValueError(
            f"expected curves with common intensities, got {real[0][0]:.3g}..{real[0][-1]:.3g} "
            f"and {synthetic[0][0]:.3g}..{synthetic[0][-1]:.3g}; normalise both the same way"
        )
    at = low + (high - low) * np.linspace(0.1, 0.9, 50)
    wanted, got = np.interp(at, *real), np.interp(at, *synthetic)
    if wanted.min() <= 0:
        raise ValueError(
            "expected real variances above 0, got 0 or less; use noisier or more pairs"
        )
    deviation = np.abs(got - wanted) / wanted
    return CurveError(float(deviation.max()), float(deviation.mean()))


def _patches(plane: Array, rng: np.random.Generator) -> Array:
    rows, columns = (side // PATCH for side in plane.shape)
    grid = plane[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
    patches = grid.swapaxes(1, 2).reshape(-1, PATCH, PATCH)
    return patches[rng.permutation(len(patches))[:PATCHES_PER_IMAGE]]


def _correlation(values: Array, down: int, right: int) -> Array:
    a = values[:, : PATCH - down, : PATCH - right]
    b = values[:, down:, right:]
    return np.asarray((a * b).mean((1, 2)) / ((values**2).mean((1, 2)) + TINY))


def _bands(patches: Array) -> Array:
    power, radius = power_spectrum(patches), frequency_radius((PATCH, PATCH))
    edges = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
    rings = [(radius >= a) & (radius < b) for a, b in pairwise(edges)]
    return np.log10(np.stack([power[:, ring].mean(1) for ring in rings], 1) + TINY)


def patch_features(patches: Array) -> Array:
    """Local statistics that betray a defect rather than a specimen.

    Parameters
    ----------
    patches
        (N, 32, 32) float, about 0..1.

    Returns
    -------
    (N, 13): log10 variance and kurtosis of the residual (patch minus Gaussian, sigma 1), its
    autocorrelation at lags 1 and 2 down and right, log10 power in five frequency bands, the log10
    ratio of its variance in the brighter half to the darker half, and the residual's skew
    (mean cube over variance to the power 1.5).
    """
    smooth = gaussian_filter(patches, (0, 1, 1), mode="reflect")
    residual = patches - smooth
    residual -= residual.mean((1, 2), keepdims=True)
    variance = (residual**2).mean((1, 2))
    bright = smooth > np.median(smooth, (1, 2), keepdims=True)
    lit = (residual**2 * bright).sum((1, 2)) / np.maximum(bright.sum((1, 2)), 1)
    dark = (residual**2 * ~bright).sum((1, 2)) / np.maximum((~bright).sum((1, 2)), 1)
    flat = residual.reshape(len(patches), -1)
    single = (
        np.log10(variance + TINY),
        (flat**4).mean(1) / (variance**2 + TINY),
        _correlation(residual, 1, 0),
        _correlation(residual, 2, 0),
        _correlation(residual, 0, 1),
        _correlation(residual, 0, 2),
        np.log10((lit + TINY) / (dark + TINY)),
        (flat**3).mean(1) / (variance**1.5 + TINY),
    )
    return np.concatenate([np.stack(single, 1), _bands(patches)], axis=1)


def _halves(features: list[Array], rng: np.random.Generator) -> tuple[Array, Array]:
    order = rng.permutation(len(features))
    middle = len(features) // 2
    return (
        np.concatenate([features[i] for i in order[:middle]]),
        np.concatenate([features[i] for i in order[middle:]]),
    )


def _balanced(real: Array, synthetic: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    count = min(len(real), len(synthetic))
    parts = [group[rng.permutation(len(group))[:count]] for group in (real, synthetic)]
    return np.concatenate(parts), np.repeat([0.0, 1.0], count)


def classifier_accuracy(real: Planes, synthetic: Planes, rng: np.random.Generator) -> float:
    """Two-sample test: how often a small classifier tells synthetic patches from real ones.

    Logistic regression on standardised `patch_features`; half of the images trains it, the other
    half tests it, as many real as synthetic patches in each; mean of five random splits
    (classifier two-sample test, Lopez-Paz & Oquab 2017).

    Parameters
    ----------
    real, synthetic
        Planes (Y, X), at least two of each, about 0..1, at least 32 pixels a side.
    rng
        Chooses splits and patches.

    Returns
    -------
    Accuracy on unseen images: 0.5 cannot be told apart, 1 always.

    Raises
    ------
    ValueError
        Fewer than two planes of a kind, planes too small, NaN or infinity.
    """
    # Only this measure needs scikit-learn, which comes with the training extra.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    groups = [
        [patch_features(_patches(plane, rng)) for plane in _checked(planes, name, least=2)]
        for planes, name in ((real, "real"), (synthetic, "synthetic"))
    ]
    accuracies = []
    for _ in range(SPLITS):
        (train_real, test_real), (train_synthetic, test_synthetic) = (
            _halves(group, rng) for group in groups
        )
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(*_balanced(train_real, train_synthetic, rng))
        accuracies.append(model.score(*_balanced(test_real, test_synthetic, rng)))
    return float(np.mean(accuracies))


def realism(
    real: Planes,
    synthetic: Planes,
    rng: np.random.Generator,
    *,
    real_curve: Curve | None = None,
    synthetic_curve: Curve | None = None,
) -> Realism:
    """All measures of how realistic synthetic defects are.

    Parameters
    ----------
    real, synthetic
        Planes (Y, X), at least two of each, about 0..1, at least 32 pixels a side.
    rng
        For the classifier's splits.
    real_curve, synthetic_curve
        Noise curves (means, variances), both or neither.

    Returns
    -------
    The measures; those of the noise curve are None without curves.

    Raises
    ------
    ValueError
        As the single functions; or only one of the two curves.
    """
    if (real_curve is None) != (synthetic_curve is None):
        raise ValueError("expected both noise curves or neither, got one; measure the other too")
    error = None
    if real_curve is not None and synthetic_curve is not None:
        error = noise_curve_error(real_curve, synthetic_curve)
    return Realism(
        spectrum_distance(real, synthetic),
        error.mean if error else None,
        error.largest if error else None,
        classifier_accuracy(real, synthetic, rng),
    )
