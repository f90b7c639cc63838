"""Real defective images: restored by one network they lie nearer to clean ones than by another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from microscopygan.datasets.folder import Pair
from microscopygan.defects import Defect
from microscopygan.defects.base import Plane
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.statistics import normalised
from microscopygan.settings import make_settings
from microscopygan.training.fine_tuning import generalist
from microscopygan.training.gate import Interval
from microscopygan.training.real_images import (
    Comparison,
    compare,
    distance_from,
    may_keep,
    read_comparisons,
    write_comparisons,
)
from microscopygan.training.split import Split

NOISE = Noise(photons=15)


def specimens(count: int, seed: int) -> list[Plane]:
    rng = np.random.default_rng(seed)
    return [nuclei((96, 96), rng) for _ in range(count)]


def spoiled(clean: list[Plane], defect: Defect, seed: int = 0) -> list[Plane]:
    rng = np.random.default_rng(seed)
    return [normalised(defect.apply(plane, rng)) for plane in clean]


def test_clean_planes_lie_nearest_to_each_other() -> None:
    distance = distance_from(specimens(12, 0))
    other = specimens(6, 1)
    near, middle, far = (
        distance(planes).mean()
        for planes in (other, spoiled(other, Noise(photons=100)), spoiled(other, NOISE))
    )
    assert near < middle < far


class AddsRows(nn.Module):
    """Adds an offset to every third row."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(image.shape[2]) % 3 == 0
        return image + self.offset * rows[:, None]


def test_the_restorer_that_leaves_images_nearer_is_found() -> None:
    bad = spoiled(specimens(8, 1), Noise(photons=30), 2)
    none: dict[str, list[Plane]] = {"noise": []}
    planes = specimens(8, 0)
    split = Split(("noise",), planes, none, {"noise": bad}, none, none)  # type: ignore[arg-type]
    better, worse, settings = AddsRows(0.0), AddsRows(0.2), make_settings()
    compared = compare(split, settings, better, worse)["noise"]
    assert compared.images == 8
    assert compared.nearer
    assert not compared.farther
    back = compare(split, settings, worse, better)["noise"]
    assert back.farther
    assert not may_keep({"noise": back})
    assert may_keep({"noise": compared})
    assert "nearer to the clean images" in compared.describe()
    assert "farther from the clean images" in back.describe()
    assert "about as far" in compare(split, settings, worse, worse)["noise"].describe()


def test_few_images_say_nothing() -> None:
    none: dict[str, list[Plane]] = {"noise": []}
    planes = specimens(3, 0)
    split = Split(("noise",), planes, none, {"noise": planes}, none, none)  # type: ignore[arg-type]
    assert compare(split, make_settings(), generalist(), generalist()) == {}
    assert may_keep({})


def test_what_was_found_is_written_and_read(tmp_path: Path) -> None:
    found = {"noise": Comparison(10, 1.5, Interval(-0.2, -0.3, -0.1))}
    write_comparisons(tmp_path, found)
    assert read_comparisons(tmp_path) == found
    assert read_comparisons(tmp_path / "none") == {}


def test_held_back_pairs_know_better() -> None:
    none: dict[str, list[Plane]] = {"noise": []}
    planes, networks = specimens(6, 0), (AddsRows(0.0), AddsRows(0.2))
    pair = Pair(planes[0], planes[1], "a", "b")
    split = Split(("noise",), planes, none, {"noise": planes}, none, none)  # type: ignore[arg-type]
    assert compare(split, make_settings(), *networks).keys() == {"noise"}
    split = replace(split, validation_pairs={"noise": [pair]})
    assert compare(split, make_settings(), *networks) == {}
