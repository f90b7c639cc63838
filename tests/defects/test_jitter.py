"""Line jitter: lines are shifted as stated, found without pairs, and shifted back."""

import numpy as np
import pytest

from microscopygan.defects.jitter import LineJitter, shift_lines
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments
from microscopygan.evaluate.metrics import psnr_affine


def test_whole_shifts_move_pixels_and_the_edge_repeats() -> None:
    plane = np.random.default_rng(0).random((4, 12)).astype(np.float32)
    got = shift_lines(plane, np.array([0, 2, -1, 0]))
    assert np.allclose(got[[0, 3]], plane[[0, 3]], atol=1e-6)
    assert np.allclose(got[1, 2:], plane[1, :-2], atol=1e-5)
    assert np.allclose(got[1, :2], plane[1, 0], atol=1e-5)
    assert np.allclose(got[2, :-1], plane[2, 1:], atol=1e-5)
    assert np.allclose(shift_lines(plane.T, np.array([0, 2, -1, 0]), axis=1), got.T)


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(LineJitter(random=0).apply(plane, np.random.default_rng(0)), plane)


@pytest.mark.parametrize("axis", [0, 1])
def test_alternating_lines_are_shifted_against_each_other(axis: int) -> None:
    ramp = np.tile(np.arange(64.0), (64, 1))
    ramp = ramp if axis == 0 else ramp.T
    jitter = LineJitter(random=0, alternating=1.5, axis=axis)
    got = jitter.apply(ramp, np.random.default_rng(0))
    inner = np.diff(got[:, 10:-10] if axis == 0 else got.T[:, 10:-10], axis=0)
    assert np.allclose(np.abs(inner), 1.5, atol=1e-3)
    assert np.allclose(inner[1:], -inner[:-1], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "truth", [LineJitter(random=1.0), LineJitter(random=0, alternating=2, axis=1)]
)
def test_ten_noisy_unpaired_images_give_the_parameters_away(truth: LineJitter) -> None:
    """Slow: hundreds of trials, each on many planes."""
    rng = np.random.default_rng(0)
    clean = [filaments((96, 96), rng) for _ in range(12)]
    planes = [truth.apply(filaments((96, 96), rng), rng) for _ in range(10)]
    noisy = [Noise(photons=300).apply(plane, rng) for plane in planes]
    calibrated = LineJitter.calibrate(clean, noisy, rng)
    assert {item.axis for item in calibrated} == {truth.axis}
    middle = {n: np.median([getattr(c, n) for c in calibrated]) for n in ("random", "alternating")}
    assert middle["random"] == pytest.approx(truth.random, abs=0.4)
    assert middle["alternating"] == pytest.approx(truth.alternating, abs=0.7)


@pytest.mark.parametrize("truth", [LineJitter(random=1), LineJitter(random=0, alternating=2)])
def test_the_classical_method_shifts_lines_back(truth: LineJitter) -> None:
    rng = np.random.default_rng(0)
    clean = [filaments((96, 96), rng) for _ in range(4)]
    planes = [truth.apply(plane, rng) for plane in clean]
    gains = [
        psnr_affine(c, LineJitter.classical(p)) - psnr_affine(c, p)
        for c, p in zip(clean, planes, strict=True)
    ]
    assert np.mean(gains) > 2
