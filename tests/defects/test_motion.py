"""Motion blur: a line of the stated length and direction, found without pairs."""

import numpy as np
import pytest
from scipy import ndimage

from microscopygan.defects.motion import Motion
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments


def test_light_stays_and_nothing_moves() -> None:
    rng = np.random.default_rng(0)
    spot = np.zeros((65, 65))
    spot[32, 32] = 1
    for _ in range(5):
        blurred = Motion.draw(rng).apply(spot, rng)
        assert blurred.sum() == pytest.approx(1, abs=1e-4)
        assert ndimage.center_of_mass(blurred) == pytest.approx((32, 32), abs=0.02)


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(Motion(length=0).apply(plane, np.random.default_rng(0)), plane)


@pytest.mark.slow
def test_ten_noisy_unpaired_images_give_the_parameters_away() -> None:
    """Slow: hundreds of trials, each on many planes."""
    rng = np.random.default_rng(0)
    truth = Motion(length=8, angle=0.6)
    clean = [filaments((96, 96), rng) for _ in range(10)]
    planes = [truth.apply(filaments((96, 96), rng), rng) for _ in range(10)]
    noisy = [Noise(photons=300).apply(plane, rng) for plane in planes]
    calibrated = Motion.calibrate(clean, noisy, rng)
    length = np.median([item.length for item in calibrated])
    assert length == pytest.approx(truth.length, rel=0.25)
    angle = np.median([item.angle for item in calibrated])
    assert angle == pytest.approx(truth.angle, abs=0.15)


def test_a_point_becomes_a_line_of_the_stated_length_and_direction() -> None:
    spot = np.zeros((65, 65))
    spot[32, 32] = 1
    line = Motion(length=20, angle=np.pi / 6).apply(spot, np.random.default_rng(0))
    y, x = np.indices(line.shape) - 32
    along = x * np.cos(np.pi / 6) + y * np.sin(np.pi / 6)
    across = y * np.cos(np.pi / 6) - x * np.sin(np.pi / 6)
    assert np.sum(line * along**2) == pytest.approx(20**2 / 12, rel=0.02)
    assert np.sum(line * across**2) < 0.5
