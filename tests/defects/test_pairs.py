"""Comparison of pairs: gain and offset do not matter, what a model leaves does."""

import numpy as np
import pytest

from microscopygan.defects.pairs import autocorrelation, comparable_crops, residual, share_left


def test_gain_and_offset_leave_nothing() -> None:
    plane = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    assert np.allclose(residual(3 * plane - 1, plane), 0, atol=1e-5)
    assert share_left(3 * plane - 1, plane) < 1e-6


def test_the_share_left_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(0, 1, (200, 200)).astype(np.float32)
    noisy = plane + rng.normal(0, 0.5, plane.shape).astype(np.float32)
    assert share_left(noisy, plane) == pytest.approx(0.25 / 1.25, rel=0.05)


def test_noise_of_binned_pixels_is_alike_over_their_size() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (100, 100)).astype(np.float32)
    assert autocorrelation(noise) == pytest.approx(0, abs=0.03)
    binned = np.repeat(np.repeat(noise, 2, axis=0), 2, axis=1)
    assert autocorrelation(binned)[:3] == pytest.approx([0.5, 0, 0], abs=0.04)


def test_crops_are_the_same_part_of_both_planes() -> None:
    plane = np.random.default_rng(0).random((200, 90)).astype(np.float32)
    ((bad, clean),) = comparable_crops([(plane, 5 * plane)], np.random.default_rng(0))
    assert bad.shape == clean.shape == (128, 90)
    assert np.corrcoef(bad.ravel(), clean.ravel())[0, 1] == pytest.approx(1)
    with pytest.raises(ValueError, match="got none"):
        comparable_crops([], np.random.default_rng(0))
