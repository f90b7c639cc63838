"""Noise curves and noise levels agree with the truth."""

import numpy as np
import pytest

from microscopygan.defects.noise import Noise
from microscopygan.defects.statistics import noise_curve, noise_curve_from_pairs, noise_sigma


def test_noise_curves_agree_with_the_model() -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(0.05, 1, 192, dtype=np.float32), (192, 1))
    noisy = [Noise(photons=40, read_noise=3).apply(ramp, rng) for _ in range(3)]
    for means, variances in (noise_curve(noisy), noise_curve_from_pairs(noisy, [2 * ramp + 1] * 3)):
        truth = means / 40 + (3 / 40) ** 2
        assert np.allclose(variances, truth, rtol=0.15)
        assert np.all(np.diff(means) > 0)


def test_unmatched_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="one to one"):
        noise_curve_from_pairs([np.ones((32, 32))], [np.ones((32, 16))])


def test_noise_is_estimated():
    noise = np.random.default_rng(0).normal(0, 0.3, (128, 128)).astype(np.float32)
    assert noise_sigma(noise) == pytest.approx(0.3, rel=0.05)
