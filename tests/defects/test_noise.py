"""Photon and read-out noise: its law, and its calibration image by image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects.noise import Noise, poisson_gaussian
from microscopygan.defects.specimens import nuclei
from microscopygan.image.intensity import percentile_map


@settings(max_examples=8, deadline=None)
@given(photons=st.floats(3, 300), read=st.floats(0, 8), level=st.floats(0.05, 1))
def test_noise_has_the_stated_mean_and_variance(photons: float, read: float, level: float) -> None:
    plane = np.full((256, 256), level, dtype=np.float32)
    noisy = poisson_gaussian(
        plane, np.random.default_rng(0), photons=photons, read_noise=read, offset=0.1
    )
    variance = level / photons + (read / photons) ** 2
    assert noisy.mean() == pytest.approx(level + 0.1, abs=5 * np.sqrt(variance) / 256)
    assert noisy.var() == pytest.approx(variance, rel=0.05)
    assert noisy.dtype == np.float32


def test_negative_intensity_is_no_light() -> None:
    noisy = poisson_gaussian(np.full((8, 8), -1.0), np.random.default_rng(0), photons=50)
    assert not noisy.any()


def calibrated(truth: list[Noise], rng: np.random.Generator) -> list[Noise]:
    """Find the noise of images, each of which has another."""
    clean = [nuclei((112, 112), rng) for _ in range(4)]
    noisy = [noise.apply(nuclei((112, 112), rng), rng) for noise in truth]
    return Noise.calibrate(clean, [percentile_map(plane).apply(plane) for plane in noisy], rng)


@pytest.mark.slow
def test_each_noisy_image_gets_its_own_photon_count() -> None:
    """Slow: hundreds of trials, each on some planes."""
    rng = np.random.default_rng(0)
    truth = [Noise(photons=photons) for photons in (8.0, 80.0) for _ in range(4)]
    found = sorted(noise.photons for noise in calibrated(truth, rng))
    assert len(found) == 8
    assert 8.0 / 1.6 < np.median(found[:4]) < 8.0 * 1.6
    assert 80.0 / 1.6 < np.median(found[4:]) < 80.0 * 1.6


@pytest.mark.slow
def test_background_light_is_told_from_its_noise() -> None:
    """Slow: hundreds of trials, each on some planes."""
    rng = np.random.default_rng(0)
    truth = [Noise(photons=10.0, background=light) for light in (0.0, 0.3) for _ in range(6)]
    found = sorted(noise.background for noise in calibrated(truth, rng))
    assert np.median(found[:6]) <= 0.03
    assert np.median(found[6:]) >= 0.14


def test_calibration_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        Noise.calibrate([], [np.ones((64, 64))], np.random.default_rng(0))


def test_words_name_what_there_is() -> None:
    words = Noise(photons=14, background=0.2).describe()
    assert "14 photons" in words
    assert "20 %" in words
    assert "read-out" not in words


@pytest.mark.parametrize(
    "call",
    [
        lambda p, r: poisson_gaussian(p, r, photons=0),
        lambda p, r: poisson_gaussian(p, r, photons=float("nan")),
        lambda p, r: poisson_gaussian(p[None], r, photons=1),
    ],
)
def test_bad_input_gets_one_clear_line(call) -> None:
    with pytest.raises(ValueError, match="got") as caught:
        call(np.ones((16, 16)), np.random.default_rng(0))
    assert "\n" not in str(caught.value)
