"""From a diagnosis to the composition whose images lie nearest to the real ones."""

import itertools

import numpy as np
import pytest

from microscopygan.defects.composition import Composition
from microscopygan.defects.hum import Hum
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.statistics import normalised
from microscopygan.diagnosis import Diagnosis, Finding
from microscopygan.training import composition_search
from microscopygan.training.composition_search import MOVES, compose, search_compositions
from microscopygan.training.set_distance import SetDistance

FIRST = Hum(amplitude=0.15, down=0.06, right=0.26)
SECOND = Hum(amplitude=0.1, down=-0.27, right=0.31)


def planes(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [nuclei((96, 96), rng) for _ in range(count)]


def test_two_waves_are_found_though_a_diagnosis_knows_one_of_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slow (about 8 s): the closed form sees the second once the first is there."""
    for name, few in (("DRAWN", 2), ("WIDE", 2), ("CHILDREN", 4), ("MOVES", MOVES[:2])):
        monkeypatch.setattr(composition_search, name, few)
    rng, both = np.random.default_rng(1), compose([FIRST, SECOND])
    real = [normalised(both.apply(plane, rng)) for plane in planes(8, 1)]
    fields = planes(12, 5)
    seen = Diagnosis((Finding("hum", 0.6, {}), Finding("noise", 0.5, {})), 8)
    distance = SetDistance(real, fields, rng)
    found = search_compositions(seen, distance, real, fields, rng)
    assert all(a.distance <= b.distance for a, b in itertools.pairwise(found))
    waves = [step for step in found[0].defect.steps if isinstance(step, Hum)]
    for true in (FIRST, SECOND):
        apart = [np.hypot(one.down - true.down, one.right - true.right) for one in waves]
        assert min(apart) < 0.005


def test_stages_are_put_into_the_order_of_the_light_path() -> None:
    noise = Noise(photons=9)
    assert compose([noise, FIRST, SECOND]).steps == (FIRST, SECOND, noise)


def test_the_last_stages_are_kept_where_there_are_too_many() -> None:
    assert compose([FIRST, SECOND, FIRST, FIRST, SECOND]).steps.count(FIRST) == 2
    assert isinstance(compose([FIRST]), Composition)
