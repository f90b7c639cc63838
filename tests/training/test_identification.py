"""The physics of a dataset: what a name says is used where the images agree."""

from collections.abc import Sequence

import numpy as np

from microscopygan.defects import Defect
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.statistics import normalised
from microscopygan.defects.stripes import Stripes
from microscopygan.settings import make_settings
from microscopygan.training.identification import physics_of
from microscopygan.training.split import Split

SETTINGS = make_settings()


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


def test_a_name_that_the_images_agree_with_is_believed() -> None:
    some = split("noise", spoiled(Noise(photons=10)))
    physics, unlikeness = physics_of(some, SETTINGS)
    assert all(isinstance(each, Noise) for each in physics["noise"])
    assert unlikeness["noise"] < 0.3


def test_a_name_that_the_images_do_not_agree_with_is_a_label() -> None:
    some = split("noise", spoiled(Stripes(gain=0.3, offset=0.15)))
    physics, unlikeness = physics_of(some, SETTINGS)
    assert physics == {}
    assert unlikeness["noise"] > 0.42


def test_a_training_from_scratch_believes_the_name() -> None:
    some = split("noise", spoiled(Noise(photons=10)))
    physics, unlikeness = physics_of(some, make_settings("default", "scratch"))
    assert physics["noise"]
    assert unlikeness == {}
