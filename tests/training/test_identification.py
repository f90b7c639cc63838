"""The physics of a dataset: what names say and what images show, where the images agree."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from microscopygan.defects import Defect
from microscopygan.defects.composition import Composition
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.statistics import normalised
from microscopygan.defects.stripes import Stripes
from microscopygan.diagnosis import Finding
from microscopygan.settings import make_settings
from microscopygan.training import identification
from microscopygan.training.fine_tuning import generalist
from microscopygan.training.identification import (
    MAIN,
    find_physics,
    mixed,
    nearest_draws,
    searched,
)
from microscopygan.training.likeness import RESEMBLES, Likeness
from microscopygan.training.split import Split

SETTINGS = make_settings()
STRIPES = Stripes(gain=0.2, offset=0.1)
NOISE = Noise(photons=10)


class Sees:
    """Stands in for a diagnosis that sees one defect, more or less of it, each in turn."""

    def __init__(self, *defects: Defect) -> None:
        self.defects = defects
        self.turns = itertools.cycle(defects)
        self.findings = [Finding(one.name, 0.9, {}) for one in defects[:1]]

    def __call__(self, defective: Sequence[np.ndarray], clean: Sequence[np.ndarray]) -> "Sees":
        assert len(defective) > 0
        return self

    def draw(self, rng: np.random.Generator, temper: float = 1.0) -> Defect:
        return Composition(steps=(next(self.turns),))


@pytest.fixture(autouse=True)
def sees(coarse_physics: None, monkeypatch: pytest.MonkeyPatch) -> object:
    """Set what a diagnosis sees; stripes where the test does not say."""

    def that(*defects: Defect) -> None:
        monkeypatch.setattr(identification, "diagnose", Sees(*defects))

    that(STRIPES)
    for name, few in (("DRAWS", 24), ("NEAREST", 9), ("WIDE", 3), ("_FIELDS", 12)):
        monkeypatch.setattr(identification, name, few)
    return that


def planes(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [nuclei((72, 72), rng) for _ in range(count)]


def spoiled(defect: Defect) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [normalised(defect.apply(plane, rng)) for plane in planes(6, 1)]


def split(name: str, defective: Sequence[np.ndarray], clean: int = 8) -> Split:
    none: dict[str, list[np.ndarray]] = {name: []}
    bad = {name: list(defective)}
    return Split((name,), planes(clean, 5), none, bad, none, none)  # type: ignore[arg-type]


def stages(sets: Sequence[Defect]) -> set[str]:
    return {step.name for each in sets for step in getattr(each, "steps", (each,))}


def test_any_name_gets_the_physics_that_its_images_show() -> None:
    found = find_physics(split("odd", spoiled(STRIPES)), SETTINGS)["odd"]
    assert stages(found.sets) == {"stripes"}
    assert len(found.sets) == 12
    assert found.unlikeness.keys() == {"images"}
    assert found.unlikeness["images"] < RESEMBLES


def test_what_the_name_and_the_diagnosis_miss_is_searched_for(sees) -> None:
    """The diagnosis sees noise alone; the rows are found by their closed form."""
    kinds = [Finding(kind, 0.5, {}) for kind in ("noise", "stripes")]
    seen = Sees(NOISE)
    seen.findings = kinds
    real, rng = spoiled(STRIPES), np.random.default_rng(0)
    fields = planes(12, 5)
    likeness = Likeness(real, fields, generalist(), rng)
    found = searched(seen, real, fields, likeness, rng)  # type: ignore[arg-type]
    assert len(found) == 12
    assert all("stripes" in stages([each]) for each in found[:3])


def test_what_is_hardly_nearer_than_clean_images_is_not_used() -> None:
    real, rng = planes(6, 1), np.random.default_rng(0)
    fields = planes(12, 5)
    likeness = Likeness(real, fields, generalist(), rng)
    assert searched(Sees(NOISE), real, fields, likeness, rng) == []  # type: ignore[arg-type]


def test_what_images_do_not_agree_with_is_not_used(sees) -> None:
    sees(NOISE)
    found = find_physics(split("odd", spoiled(STRIPES)), SETTINGS)["odd"]
    assert found.sets == []
    assert found.unlikeness.get("images", 1.0) > RESEMBLES


def test_a_name_that_the_images_agree_with_is_the_main_part(sees) -> None:
    sees(Noise(photons=9.0))
    sets = find_physics(split("noise", spoiled(NOISE)), SETTINGS)["noise"].sets
    named = [each for each in sets if not isinstance(each, Composition)]
    assert len(named) == MAIN * (len(sets) - len(named))
    sees(STRIPES)
    found = find_physics(split("noise", spoiled(NOISE)), SETTINGS)["noise"]
    assert stages(found.sets) == {"noise"}
    assert found.unlikeness["name"] + 0.15 < found.unlikeness["images"]


def test_a_name_that_the_images_do_not_agree_with_is_a_label() -> None:
    found = find_physics(split("noise", spoiled(STRIPES)), SETTINGS)["noise"]
    assert stages(found.sets) == {"stripes"}
    assert found.unlikeness["name"] > RESEMBLES > found.unlikeness["images"]


def test_a_training_from_scratch_believes_the_name() -> None:
    scratch = make_settings("default", "scratch")
    found = find_physics(split("noise", spoiled(NOISE)), scratch)
    assert stages(found["noise"].sets) == {"noise"}
    assert find_physics(split("odd", spoiled(NOISE)), scratch) == {}


def test_no_clean_image_but_specimens_is_enough() -> None:
    found = find_physics(split("odd", spoiled(STRIPES), clean=0), SETTINGS)["odd"]
    assert stages(found.sets) == {"stripes"}


def test_draws_that_come_nearest_are_kept_and_some_others() -> None:
    weak = [Noise(photons=p) for p in (300.0, 10.0, 280.0, 290.0)]
    real, rng = spoiled(NOISE), np.random.default_rng(0)
    likeness = Likeness(real, planes(8, 5), generalist(), rng)
    kept = nearest_draws(Sees(*weak), likeness, rng)  # type: ignore[arg-type]
    near = [each for each in kept if each.steps[0].photons == 10]  # type: ignore[attr-defined]
    assert len(kept) == 12
    assert len(near) == 6  # of 24


def test_mixed_sets_keep_their_shares() -> None:
    both = mixed([*range(7)], [10])
    assert sum(each == 10 for each in both) / len(both) == 1 / (MAIN + 1)
    assert set(both) == {*range(7), 10}
