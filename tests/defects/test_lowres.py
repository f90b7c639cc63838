"""Low resolution: registration, noise, calibration on pairs."""

import numpy as np
import pytest
from scipy import ndimage

from microscopygan.defects.lowres import LowResolution, low_resolution
from microscopygan.defects.specimens import filaments


def _spot(shape: tuple[int, int], sigma: float = 3.0) -> np.ndarray:
    y, x = np.indices(shape)
    centre = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    return np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("binning", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(48, 48), (47, 49)])
def test_low_resolution_does_not_shift(binning: int, shape: tuple[int, int]) -> None:
    got = low_resolution(_spot(shape), np.random.default_rng(0), sigma=1.0, binning=binning)
    assert got.shape == shape
    centre = ndimage.center_of_mass(got)
    assert centre == pytest.approx([(side - 1) / 2 for side in shape], abs=0.02)


def test_low_resolution_noise_follows_the_photons() -> None:
    flat = np.ones((128, 128))
    got = low_resolution(flat, np.random.default_rng(0), sigma=1, binning=1, photons=400)
    assert got.std() == pytest.approx(0.05, rel=0.05)


def test_draws_cover_every_integer_of_the_range() -> None:
    rng = np.random.default_rng(0)
    assert {LowResolution.draw(rng).binning for _ in range(200)} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    "truth", [LowResolution(sigma=1.5, binning=b, photons=150) for b in (1, 2, 3)]
)
@pytest.mark.slow
def test_pairs_give_the_parameters_away(truth) -> None:
    """Slow: hundreds of trials, each on many planes."""
    rng = np.random.default_rng(0)
    clean = [filaments((112, 104), rng) for _ in range(4)]
    pairs = [(3 * truth.apply(plane, rng) - 1, plane) for plane in clean]
    fitted = type(truth).calibrate_pairs(pairs, rng)
    assert len(fitted) == 4
    assert all(item.binning == truth.binning for item in fitted)
    assert np.median([item.sigma for item in fitted]) == pytest.approx(truth.sigma, rel=0.12)
    assert 75 < np.median([item.photons for item in fitted]) < 300


@pytest.mark.parametrize(
    "call",
    [
        lambda p, r: low_resolution(p, r, sigma=-1, binning=2),
        lambda p, r: low_resolution(p, r, sigma=1, binning=17),
    ],
)
def test_bad_input_gets_one_clear_line(call) -> None:
    with pytest.raises(ValueError, match="got") as caught:
        call(np.ones((16, 16)), np.random.default_rng(0))
    assert "\n" not in str(caught.value)
