import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from microscopygan.evaluate.realism import (
    classifier_accuracy,
    noise_curve_error,
    patch_features,
    realism,
    spectrum_distance,
)


def planes(seed, count=8, noise=0.1, sigma=0.0):
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        clean = gaussian_filter(rng.random((96, 128)), 4) * 5
        grain = rng.normal(0, noise, clean.shape)
        result.append((clean + gaussian_filter(grain, sigma)).astype(np.float32))
    return result


def test_same_noise_cannot_be_told_apart_and_other_noise_can():
    rng = np.random.default_rng(0)
    assert classifier_accuracy(planes(1), planes(2), rng) == pytest.approx(0.5, abs=0.13)
    assert classifier_accuracy(planes(1), planes(2, noise=0.2), rng) > 0.95
    smooth = planes(2, noise=0.2, sigma=0.6)
    assert classifier_accuracy(planes(1), smooth, rng) > 0.95


def test_classifier_repeats_with_its_generator():
    numbers = [
        classifier_accuracy(planes(1), planes(2), np.random.default_rng(5)) for _ in range(2)
    ]
    assert numbers[0] == numbers[1]


def test_spectrum_distance_measures_decades():
    real = planes(1)
    assert spectrum_distance(real, real) == 0
    tenfold = [plane * np.float32(10) for plane in real]
    assert spectrum_distance(real, tenfold) == pytest.approx(2, abs=1e-3)
    assert spectrum_distance(real, tenfold) == pytest.approx(spectrum_distance(tenfold, real))


@settings(max_examples=10, deadline=None)
@given(st.floats(0, 5))
def test_noise_curve_error_is_the_relative_deviation(factor):
    means = np.linspace(0, 1, 9)
    variances = 0.01 + 0.1 * means
    error = noise_curve_error((means, variances), (means, factor * variances))
    assert error.largest == pytest.approx(abs(factor - 1))
    assert error.mean == pytest.approx(abs(factor - 1))


def test_noise_curve_error_ignores_the_outer_tenths():
    means = np.linspace(0, 1, 101)
    synthetic = np.where((means < 0.09) | (means > 0.91), 9.0, 1.0)
    assert noise_curve_error((means, np.ones(101)), (means, synthetic)).largest == 0


def test_realism_gathers_all():
    curve = (np.array([0, 1.0]), np.array([1.0, 1.0]))
    rng = np.random.default_rng(0)
    result = realism(planes(1, 4), planes(2, 4), rng, real_curve=curve, synthetic_curve=curve)
    assert result.noise_curve == result.noise_curve_largest == 0
    assert result.spectrum < 0.1
    assert realism(planes(1, 2), planes(2, 2), rng).noise_curve is None


def test_constant_patches_have_finite_features():
    assert np.isfinite(patch_features(np.zeros((2, 32, 32)))).all()


def test_bad_input_is_refused():
    rng = np.random.default_rng(0)
    curve = (np.array([0, 1.0]), np.array([1.0, 1.0]))
    far = (np.array([5, 6.0]), np.array([1.0, 1.0]))
    with pytest.raises(ValueError, match="at least 2 real planes"):
        classifier_accuracy(planes(1, 1), planes(2), rng)
    with pytest.raises(ValueError, match="32 x 32"):
        spectrum_distance([np.zeros((16, 64), np.float32)], planes(1))
    with pytest.raises(ValueError, match="common intensities"):
        noise_curve_error(curve, far)
    with pytest.raises(ValueError, match="above 0"):
        noise_curve_error((curve[0], np.zeros(2)), curve)
    with pytest.raises(ValueError, match="both noise curves"):
        realism(planes(1), planes(2), rng, real_curve=curve)
