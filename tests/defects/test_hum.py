"""Hum: one wave, found by its frequency without pairs, and taken out."""

import numpy as np
import pytest

from microscopygan.defects.hum import Hum
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, nuclei
from microscopygan.evaluate.metrics import psnr_affine


def test_all_power_lies_at_the_stated_frequency() -> None:
    plane = np.full((80, 100), 0.4)
    got = Hum(amplitude=0.1, down=0.15, right=-0.23).apply(plane, np.random.default_rng(0))
    assert got.mean() == pytest.approx(0.4, abs=1e-4)
    power = np.abs(np.fft.fft2(got - got.mean())) ** 2
    assert power[12, -23] + power[-12, 23] == pytest.approx(power.sum(), rel=1e-3)
    assert got.std() == pytest.approx(0.1 / np.sqrt(2), rel=1e-3)


def test_no_strength_is_no_change_and_the_phase_is_drawn() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((20, 30)).astype(np.float32)
    assert np.array_equal(Hum(amplitude=0, down=0.1, right=0.1).apply(plane, rng), plane)
    hum = Hum(amplitude=1, down=0.1, right=0.1)
    assert not np.allclose(hum.apply(plane, rng), hum.apply(plane, rng))


def test_drawn_waves_are_not_slow() -> None:
    rng = np.random.default_rng(0)
    drawn = [Hum.draw(rng) for _ in range(300)]
    assert min(np.hypot(item.down, item.right) for item in drawn) > 0.06


@pytest.mark.parametrize(("down", "right"), [(0.13, 0.21), (0.4, 0.02), (-0.2, 0.1)])
def test_noisy_images_of_another_specimen_give_the_wave_away(down: float, right: float) -> None:
    rng = np.random.default_rng(0)
    truth = Hum(amplitude=0.04, down=down, right=right)
    clean = [filaments((128, 128), rng) for _ in range(8)]
    planes = [Noise(photons=200).apply(nuclei((128, 128), rng), rng) for _ in range(8)]
    calibrated = Hum.calibrate(clean, [truth.apply(plane, rng) for plane in planes], rng)
    for item in calibrated:
        assert (item.down, item.right) == pytest.approx((down, right), abs=0.003)
    assert np.median([item.amplitude for item in calibrated]) == pytest.approx(0.04, rel=0.4)


def test_the_classical_method_takes_a_wave_out_and_leaves_what_has_none() -> None:
    rng = np.random.default_rng(0)
    clean = nuclei((96, 120), rng)
    humming = Hum(amplitude=0.05, down=0.13, right=0.21).apply(clean, rng)
    assert psnr_affine(clean, Hum.classical(humming)) > psnr_affine(clean, humming) + 8
    assert np.array_equal(Hum.classical(clean), clean)


def test_its_frequency_is_hardly_moved() -> None:
    rng = np.random.default_rng(0)
    hum = Hum(amplitude=0.05, down=0.2, right=0.2)
    assert np.std([hum.jitter(rng, 0.1).down for _ in range(200)]) < 0.02
