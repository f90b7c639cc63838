"""Compositions of defects."""

import numpy as np
import pytest
from pydantic import ValidationError

from microscopygan.defects import all_defects
from microscopygan.defects.composition import Composition
from microscopygan.defects.lowres import LowResolution, low_resolution
from microscopygan.defects.noise import Noise, poisson_gaussian


def test_composition_applies_in_order_and_keeps_its_parameters() -> None:
    both = Composition(steps=(LowResolution(sigma=2, binning=2), Noise(photons=30)))
    plane = np.random.default_rng(0).random((32, 32))
    got = both.apply(plane, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    blurred = low_resolution(plane, rng, sigma=2, binning=2)
    assert np.array_equal(got, poisson_gaussian(blurred, rng, photons=30))
    assert both.model_dump()["steps"][1]["photons"] == 30


def test_composition_is_read_back_as_it_was_written() -> None:
    both = Composition(steps=(LowResolution(sigma=2, binning=2), Noise(photons=30)))
    assert Composition.model_validate(both.model_dump()) == both
    assert Composition.model_validate_json(both.model_dump_json()) == both
    with pytest.raises(ValidationError, match="got 'unheard'"):
        Composition.model_validate({"steps": [{"defect": "unheard"}]})


def test_composition_is_drawn_in_the_order_of_the_light_path() -> None:
    rng = np.random.default_rng(0)
    kinds = list(all_defects().values())
    for _ in range(20):
        stages = [kinds[i] for i in rng.permutation(len(kinds))[: rng.integers(1, 5)]]
        drawn = Composition.draw(rng, stages)
        assert [step.place for step in drawn.steps] == sorted(stage.place for stage in stages)
        plane = rng.random((32, 40)).astype(np.float32)
        once, twice = (drawn.apply(plane, np.random.default_rng(1)) for _ in range(2))
        assert (once.shape, once.dtype) == (plane.shape, np.float32)
        assert np.array_equal(once, twice)
        assert drawn.describe().count(";") == len(stages) - 1


def test_a_composition_has_a_step() -> None:
    with pytest.raises(ValidationError):
        Composition(steps=())
