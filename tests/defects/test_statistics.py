"""Noise curves and noise levels agree with the truth."""

import numpy as np
import pytest

from microscopygan.defects.noise import Noise
from microscopygan.defects.statistics import (
    frequency_radius,
    noise_curve,
    noise_curve_from_pairs,
    noise_sigma,
    noisiness,
    power_spectrum,
    radial_mean,
)


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


def test_noisiness_is_a_part_of_the_range_and_leaves_ramps_out() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (128, 128))
    ramp = np.tile(np.linspace(0, 3, 128), (128, 1))
    assert noisiness(ramp) == pytest.approx(0, abs=1e-9)
    assert noisiness(ramp + noise) == pytest.approx(0.02 / 2.97, rel=0.05)
    assert noisiness(100 * (ramp + noise) + 7) == pytest.approx(noisiness(ramp + noise))


def test_half_of_a_spectrum_says_the_same_as_the_whole() -> None:
    planes = np.random.default_rng(0).normal(0, 1, (3, 64, 48))
    whole, half = power_spectrum(planes), power_spectrum(planes, half=True)
    assert np.allclose(whole[..., :25], half, rtol=1e-5)
    assert np.allclose(frequency_radius((64, 48))[:, :24], frequency_radius((64, 48), True)[:, :24])


def test_a_wave_lies_in_the_ring_of_its_frequency() -> None:
    y, x = np.indices((64, 64))
    wave = np.cos(2 * np.pi * (0.15 * y + 0.2 * x))  # 0.25 cycles per pixel
    rings = radial_mean(power_spectrum(wave), frequency_radius((64, 64)), 10)
    assert rings.argmax() in (4, 5)
    assert rings[[4, 5]].sum() > 0.99 * rings.sum()
