"""Defocus: a disc of the stated radius, found without pairs."""

import numpy as np
import pytest
from scipy import ndimage

from microscopygan.defects.defocus import Defocus
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments


def test_light_stays_and_nothing_moves() -> None:
    rng = np.random.default_rng(0)
    spot = np.zeros((65, 65))
    spot[32, 32] = 1
    for _ in range(5):
        blurred = Defocus.draw(rng).apply(spot, rng)
        assert blurred.sum() == pytest.approx(1, abs=1e-4)
        assert ndimage.center_of_mass(blurred) == pytest.approx((32, 32), abs=0.02)


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(Defocus(radius=0).apply(plane, np.random.default_rng(0)), plane)


@pytest.mark.slow
def test_ten_noisy_unpaired_images_give_the_parameters_away() -> None:
    """Slow: hundreds of trials, each on many planes."""
    rng = np.random.default_rng(0)
    truth = Defocus(radius=3)
    clean = [filaments((96, 96), rng) for _ in range(10)]
    planes = [truth.apply(filaments((96, 96), rng), rng) for _ in range(10)]
    noisy = [Noise(photons=300).apply(plane, rng) for plane in planes]
    calibrated = Defocus.calibrate(clean, noisy, rng)
    radius = np.median([item.radius for item in calibrated])
    assert radius == pytest.approx(truth.radius, rel=0.15)


def test_a_point_becomes_a_disc_of_the_stated_radius() -> None:
    spot = np.zeros((65, 65))
    spot[32, 32] = 1
    disc = Defocus(radius=6).apply(spot, np.random.default_rng(0))
    y, x = np.indices(disc.shape) - 32
    assert disc[np.hypot(y, x) < 5] == pytest.approx(1 / (np.pi * 36), rel=0.02)
    assert disc[np.hypot(y, x) > 7] == pytest.approx(0, abs=1e-6)
