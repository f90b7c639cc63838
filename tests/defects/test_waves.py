"""Waves: found between the places of a spectrum, and only where one stands out."""

import numpy as np
import pytest

from microscopygan.defects.specimens import nuclei
from microscopygan.defects.waves import find_wave, outstanding, wave


def test_a_wave_is_found_in_planes_of_several_sizes() -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((128, 128), rng), nuclei((96, 140), rng)]
    spoiled = [p + 0.1 * wave(p.shape, 0.213, 0.131, rng.uniform(0, 6)) for p in clean]
    down, right, heights = find_wave([nuclei((128, 128), rng)], spoiled)
    assert (down, right) == pytest.approx((0.213, 0.131), abs=2e-3)
    assert np.all((np.array(heights) > 0.04) & (np.array(heights) < 0.2))


def test_no_wave_stands_out_of_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    assert outstanding(noise) is None
    found = outstanding((noise + 2 * wave(noise.shape, -0.2, 0.3)).astype(np.float32))
    assert found == pytest.approx((-0.2, 0.3), abs=5e-3)
