"""The parameter models draw within their ranges, refuse nonsense and apply the physics."""

import numpy as np
import pytest
from pydantic import ValidationError

from microscopygan.defects import physics
from microscopygan.defects.parameters import (
    DEFECTS,
    Axial,
    Bleaching,
    Composition,
    LowResolution,
    Noise,
)


@pytest.mark.parametrize("kind", DEFECTS.values(), ids=DEFECTS)
def test_draws_stay_in_range_and_apply(kind) -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((32, 40)).astype(np.float32)
    before = plane.copy()
    for _ in range(30):
        drawn = kind.draw(rng)
        moved = drawn.jitter(rng, 0.3)
        for name, interval in kind.ranges.items():
            for value in (getattr(drawn, name), getattr(moved, name)):
                assert interval.low * 0.999 <= value <= interval.high * 1.001
    got = drawn.apply(plane, np.random.default_rng(3))
    assert got.shape == plane.shape
    assert got.dtype == np.float32
    assert np.array_equal(got, drawn.apply(plane, np.random.default_rng(3)))
    assert np.array_equal(plane, before)


@pytest.mark.parametrize("kind", DEFECTS.values(), ids=DEFECTS)
def test_ranges_invert(kind) -> None:
    for interval in kind.ranges.values():
        for place in (0.05, 0.5, 0.95):
            value = interval.value(place)
            assert interval.value(interval.position(value)) == pytest.approx(value)


def test_draws_cover_every_integer_of_the_range() -> None:
    rng = np.random.default_rng(0)
    assert {Axial.draw(rng).step for _ in range(300)} == set(range(2, 9))
    assert {LowResolution.draw(rng).binning for _ in range(200)} == {1, 2, 3, 4}


def test_fixed_fields_are_kept() -> None:
    drawn = Axial.draw(np.random.default_rng(0), step=5, phase=4)
    assert (drawn.step, drawn.phase) == (5, 4)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Noise, {"photons": 0}),
        (Noise, {"photons": 5, "gain": 2}),
        (Axial, {"sigma_z": 1, "step": 3, "phase": 3}),
        (LowResolution, {"sigma": -1}),
        (Composition, {"steps": ()}),
    ],
)
def test_nonsense_is_refused(kind, fields) -> None:
    with pytest.raises(ValidationError):
        kind(**fields)


def test_models_are_frozen() -> None:
    noise = Noise(photons=5)
    with pytest.raises(ValidationError):
        noise.photons = 6


def test_a_free_phase_differs_between_planes() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((32, 8))
    axial = Axial(sigma_z=0, step=8)
    results = {axial.apply(plane, rng).tobytes() for _ in range(40)}
    assert len(results) == 8


def test_bleaching_of_a_plane_is_that_frame_of_the_series() -> None:
    rng = np.random.default_rng(0)
    series = np.ones((5, 4, 4))
    faded = Bleaching(decay=0.2).apply(series, rng)
    assert np.allclose(faded[3], Bleaching(decay=0.2, frame=3).apply(series[3], rng))
    with pytest.raises(ValueError, match="got shape"):
        Bleaching(decay=0.2).apply(np.ones(4), rng)


def test_composition_applies_in_order_and_keeps_its_parameters() -> None:
    both = Composition(steps=(LowResolution(sigma=2, binning=2), Noise(photons=30)))
    plane = np.random.default_rng(0).random((32, 32))
    got = both.apply(plane, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    blurred = physics.low_resolution(plane, rng, sigma=2, binning=2)
    assert np.array_equal(got, physics.poisson_gaussian(blurred, rng, photons=30))
    assert both.model_dump()["steps"][1]["photons"] == 30
