"""Saturation: nothing above the level, which the share of cut-off pixels gives away."""

import numpy as np
import pytest

from microscopygan.defects.saturation import Saturation
from microscopygan.defects.specimens import nuclei


def test_what_is_above_the_level_is_cut_off_and_the_rest_stays() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    got = Saturation(level=0.6).apply(plane, np.random.default_rng(0))
    assert got.max() == np.float32(0.6)
    assert np.array_equal(got[plane < 0.6], plane[plane < 0.6])
    assert np.array_equal(Saturation(level=2).apply(plane, np.random.default_rng(0)), plane)


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_unpaired_images_give_the_level_away(level: float) -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((128, 128), rng) for _ in range(20)]
    cut = [Saturation(level=level).apply(nuclei((128, 128), rng), rng) for _ in range(20)]
    calibrated = Saturation.calibrate(clean, [7 * plane + 3 for plane in cut], rng)
    assert np.median([item.level for item in calibrated]) == pytest.approx(level, abs=0.15)


def test_images_that_are_not_cut_off_get_the_highest_level() -> None:
    rng = np.random.default_rng(0)
    planes = [nuclei((128, 128), rng) for _ in range(4)]
    assert {item.level for item in Saturation.calibrate(planes, planes, rng)} == {0.95}


def test_nothing_is_brought_back() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(Saturation.classical(plane), plane)
