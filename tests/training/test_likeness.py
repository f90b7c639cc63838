"""Synthetic images resemble real ones of their defect, whatever specimen either shows."""

from collections.abc import Callable

import numpy as np
import pytest

from microscopygan.defects import Defect
from microscopygan.defects.base import Plane
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, nuclei
from microscopygan.defects.statistics import normalised
from microscopygan.defects.stripes import Stripes
from microscopygan.training.fine_tuning import generalist
from microscopygan.training.likeness import RESEMBLES, Likeness, common_side, some_crops

STRIPES = Stripes(offset=0.08, gain=0.1)
NOISE = Noise(photons=15)
Specimen = Callable[[tuple[int, int], np.random.Generator], Plane]


def specimens(make: Specimen, count: int, seed: int) -> list[Plane]:
    rng = np.random.default_rng(seed)
    return [make((96, 96), rng) for _ in range(count)]


def real(defect: Defect, count: int = 6) -> list[Plane]:
    rng = np.random.default_rng(3)
    return [normalised(defect.apply(plane, rng)) for plane in specimens(nuclei, count, 1)]


@pytest.mark.parametrize("make", [nuclei, filaments], ids=["alike", "unlike"])
@pytest.mark.parametrize(
    ("defect", "other"), [(STRIPES, NOISE), (NOISE, STRIPES)], ids=["stripes", "noise"]
)
def test_synthetic_images_resemble_real_ones_of_their_defect(
    make: Specimen, defect: Defect, other: Defect
) -> None:
    rng = np.random.default_rng(0)
    likeness = Likeness(real(defect), specimens(make, 12, 5), generalist(), rng)
    same, wrong = (likeness.put([one] * 12, rng) for one in (defect, other))
    assert likeness.unlikeness(same) < RESEMBLES
    assert likeness.unlikeness(wrong) > RESEMBLES
    assert likeness.unlikeness(likeness.fields) == pytest.approx(1)  # as if nothing was learned
    assert likeness.distances(same).max() < likeness.distances(wrong).min()


def test_one_real_image_is_enough_to_look_at() -> None:
    rng = np.random.default_rng(0)
    likeness = Likeness(real(NOISE, 1), specimens(nuclei, 8, 5), generalist(), rng)
    assert likeness.unlikeness(likeness.put([NOISE] * 8, rng)) < RESEMBLES


def test_wide_parameters_resemble_where_some_of_them_fit() -> None:
    rng = np.random.default_rng(0)
    likeness = Likeness(real(NOISE), specimens(nuclei, 12, 5), generalist(), rng)
    wide = [Noise(photons=5 * 1.35**k) for k in range(12)]
    assert likeness.unlikeness(likeness.put(wide, rng)) < RESEMBLES


def test_crops_are_of_one_side_that_the_network_takes() -> None:
    planes = [np.zeros((90, 300)), np.zeros((200, 70))]
    assert common_side(planes) == 68
    assert common_side([np.zeros((500, 500))]) == 128
    crops = some_crops(planes, 68, np.random.default_rng(0))
    assert [crop.shape for crop in crops] == [(68, 68)] * 4
