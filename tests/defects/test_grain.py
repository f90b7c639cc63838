"""Grain: the stated variance and correlation, measured again without pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects.grain import Grain
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, nuclei
from microscopygan.image.intensity import percentile_map


@settings(max_examples=8, deadline=None)
@given(sigma=st.floats(0.01, 0.5), down=st.floats(0.8, 3), right=st.floats(0.8, 3))
def test_noise_has_the_stated_variance_and_correlation(
    sigma: float, down: float, right: float
) -> None:
    plane = np.full((512, 512), 0.3)
    grain = Grain(sigma=sigma, down=down, right=right).apply(plane, np.random.default_rng(0))
    noise = grain - grain.mean()
    assert grain.mean() == pytest.approx(0.3, abs=0.1 * sigma)
    assert noise.std() == pytest.approx(sigma, rel=0.08)
    for lines, width in ((noise, down), (noise.T, right)):
        correlation = float((lines[1:] * lines[:-1]).mean() / noise.var())
        assert correlation == pytest.approx(np.exp(-0.25 / width**2), abs=0.04)


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(Grain(sigma=0).apply(plane, np.random.default_rng(0)), plane)


@pytest.mark.parametrize("photons", [None, 300])
def test_unpaired_images_of_another_specimen_give_the_parameters_away(photons) -> None:
    rng = np.random.default_rng(0)
    truth = Grain(sigma=0.06, right=1.5)
    clean = [filaments((128, 128), rng) for _ in range(8)]
    planes = [nuclei((128, 128), rng) for _ in range(8)]
    if photons:
        planes = [Noise(photons=photons).apply(plane, rng) for plane in planes]
    grainy = [truth.apply(plane, rng) for plane in planes]
    grainy = [percentile_map(plane).apply(plane) for plane in grainy]
    calibrated = Grain.calibrate(clean, grainy, rng)
    middle = {n: np.median([getattr(c, n) for c in calibrated]) for n in Grain.model_fields}
    assert middle["sigma"] == pytest.approx(0.06, rel=0.35)
    assert middle["right"] == pytest.approx(1.5, rel=0.3)
    assert middle["down"] < 0.6
