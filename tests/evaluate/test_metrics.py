import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from microscopygan.evaluate import metrics


def pair(seed, shape=(40, 32)):
    rng = np.random.default_rng(seed)
    target = rng.random(shape)
    return target, target + rng.normal(0, 0.2, shape)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_numbers_are_those_of_scikit_image(seed):
    a, b = pair(seed)
    assert metrics.psnr(a, b, data_range=2.0) == pytest.approx(
        peak_signal_noise_ratio(a, b, data_range=2.0)
    )
    assert metrics.ssim(a, b, data_range=2.0) == pytest.approx(
        structural_similarity(a, b, data_range=2.0)
    )
    assert metrics.nrmse(a, b) == pytest.approx(normalized_root_mse(a, b))
    gain, offset = np.polyfit(b.ravel(), a.ravel(), 1)
    expected = peak_signal_noise_ratio(a, gain * b + offset, data_range=np.ptp(a))
    assert metrics.psnr_affine(a, b) == pytest.approx(expected)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 50), st.floats(-100, 100))
def test_affine_and_minmax_ignore_gain_and_offset(seed, gain, offset):
    a, b = pair(seed)
    for function in (
        metrics.psnr_affine,
        metrics.ssim_affine,
        metrics.psnr_minmax,
        metrics.ssim_minmax,
    ):
        assert function(a, gain * b + offset) == pytest.approx(function(a, b), abs=1e-6)


def test_equal_planes_are_perfect():
    a, _ = pair(1)
    scores = metrics.score(a, a)
    assert scores["psnr"] == scores["psnr_minmax"] == math.inf
    assert scores["ssim"] == pytest.approx(1)
    assert scores["nrmse"] == 0
    assert scores["ring_resolution"] == 2


def test_constant_restored_plane_scores_low_and_finite():
    a, _ = pair(1)
    assert all(math.isfinite(v) for k, v in metrics.score(a, a * 0).items() if "ring" not in k)


def test_ring_resolution_finds_the_band_limit_in_micrometres():
    rng = np.random.default_rng(3)
    shared, one, two = rng.normal(size=(3, 256, 256))
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))

    def mixed(own):
        spectrum = np.where(radius < 0.2, np.fft.fft2(shared), np.fft.fft2(own))
        return np.fft.ifft2(spectrum).real

    pixels = metrics.ring_resolution(mixed(one), mixed(two))
    assert pixels == pytest.approx(5, rel=0.1)
    assert metrics.ring_resolution(mixed(one), mixed(two), 0.1) == pytest.approx(pixels * 0.1)


@pytest.mark.parametrize(
    ("target", "restored", "words"),
    [
        (np.eye(9), np.eye(8), "one shape"),
        (np.ones((9, 9)), np.eye(9), "contrast"),
        (np.eye(9), np.full((9, 9), np.nan), "finite"),
        (np.zeros((2, 9, 9)), np.zeros((2, 9, 9)), "plane by plane"),
        (np.eye(5), np.eye(5), "at least"),
    ],
)
def test_bad_planes_are_refused_in_one_line(target, restored, words):
    with pytest.raises(ValueError, match=words) as caught:
        metrics.score(target, restored)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data_range", [0, -1, math.nan])
def test_bad_data_range_is_refused(data_range):
    with pytest.raises(ValueError, match="data_range"):
        metrics.psnr(np.eye(9), np.eye(9), data_range=data_range)


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("noise", (17.34, 0.216, 18.43)),
        ("axial", (22.25, 0.709, 26.29)),
        ("lowres", (20.68, 0.515, 25.38)),
    ],
)
def test_untouched_benchmark_inputs_score_as_published_with_the_data(defect, expected):
    folder = os.environ.get("MICROSCOPYGAN_DATA")
    if not folder:
        pytest.skip("MICROSCOPYGAN_DATA is not set to the folder that holds benchmark/")
    x, y = (
        np.load(Path(folder) / "benchmark" / f"{defect}_test_{side}.npy").squeeze() for side in "XY"
    )
    functions = (metrics.psnr_minmax, metrics.ssim_minmax, metrics.psnr_affine)
    means = [np.mean([f(t, r) for t, r in zip(y, x, strict=True)]) for f in functions]
    assert len(x) == 60
    for mean, number, half_digit in zip(means, expected, (0.0051, 0.00051, 0.0051), strict=True):
        assert mean == pytest.approx(number, abs=half_digit)
