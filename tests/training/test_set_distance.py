"""Sets of synthetic images against the real ones, by what a diagnosis measures."""

import numpy as np
import pytest

from microscopygan.defects import Defect
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.statistics import normalised
from microscopygan.defects.stripes import Stripes
from microscopygan.training.set_distance import NEARER, SetDistance

ROWS = Stripes(gain=0.2, offset=0.1)


def planes(count: int, seed: int, side: int = 96) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [nuclei((side, side), rng) for _ in range(count)]


def spoiled(defect: Defect, clean: list[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [normalised(defect.apply(plane, rng)) for plane in clean]


@pytest.fixture(scope="module")
def distance() -> SetDistance:
    return SetDistance(spoiled(ROWS, planes(8, 1)), planes(12, 5), np.random.default_rng(0))


def test_the_true_defect_is_nearest(distance: SetDistance) -> None:
    others = (Noise(photons=10), ROWS.model_copy(update={"axis": 1}), Stripes(gain=0.02))
    assert all(distance(ROWS) < distance(other) for other in others)
    assert distance(ROWS) < NEARER * distance.of_clean


def test_the_same_defect_lies_equally_far_each_time(distance: SetDistance) -> None:
    assert distance(ROWS) == distance(ROWS)


def test_images_of_the_defect_are_nearer_than_clean_ones(distance: SetDistance) -> None:
    assert distance.share(spoiled(ROWS, planes(6, 9))) < NEARER < distance.share(planes(6, 9))


def test_measures_that_a_defect_moves_by_chance_count_less(distance: SetDistance) -> None:
    before = distance(Noise(photons=3))
    distance.weigh(Noise(photons=3), np.random.default_rng(0))
    assert distance(Noise(photons=3)) < before


def test_one_image_and_small_sides_are_enough() -> None:
    clean = planes(2, 5, side=40)
    one = SetDistance(spoiled(ROWS, planes(1, 1, side=64)), clean, np.random.default_rng(0))
    assert np.isfinite(one(ROWS))
