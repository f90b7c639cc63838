"""Astigmatism: a Gaussian of two widths, found without pairs."""

import numpy as np
import pytest
from scipy import ndimage

from microscopygan.defects.astigmatism import Astigmatism
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments


def test_light_stays_and_nothing_moves() -> None:
    rng = np.random.default_rng(0)
    spot = np.zeros((65, 65))
    spot[32, 32] = 1
    for _ in range(5):
        blurred = Astigmatism.draw(rng).apply(spot, rng)
        assert blurred.sum() == pytest.approx(1, abs=1e-4)
        assert ndimage.center_of_mass(blurred) == pytest.approx((32, 32), abs=0.02)


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(Astigmatism(sigma=0).apply(plane, np.random.default_rng(0)), plane)


@pytest.mark.slow
def test_ten_noisy_unpaired_images_give_the_parameters_away() -> None:
    """Slow: hundreds of trials, each on many planes."""
    rng = np.random.default_rng(0)
    truth = Astigmatism(sigma=2.5, ratio=0.3, angle=0.5)
    clean = [filaments((96, 96), rng) for _ in range(10)]
    planes = [truth.apply(filaments((96, 96), rng), rng) for _ in range(10)]
    noisy = [Noise(photons=300).apply(plane, rng) for plane in planes]
    calibrated = Astigmatism.calibrate(clean, noisy, rng)
    sigma = np.median([item.sigma for item in calibrated])
    assert sigma == pytest.approx(truth.sigma, rel=0.25)
    ratio = np.median([item.ratio for item in calibrated])
    assert ratio == pytest.approx(truth.ratio, abs=0.2)
    angle = np.median([item.angle for item in calibrated])
    assert angle == pytest.approx(truth.angle, abs=0.25)


def test_equal_widths_are_a_gaussian() -> None:
    plane = np.random.default_rng(0).random((40, 50))
    got = Astigmatism(sigma=2, ratio=1, angle=0.7).apply(plane, np.random.default_rng(0))
    expected = ndimage.gaussian_filter(plane, 2, mode="reflect")
    assert np.allclose(got, expected, atol=2e-3)
