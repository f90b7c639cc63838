"""Axial subsampling: kept rows, interpolation, calibration on pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from microscopygan.defects.axial import Axial, axial_subsampling
from microscopygan.defects.specimens import filaments


@settings(max_examples=12, deadline=None)
@given(step=st.integers(1, 8), data=st.data(), order=st.sampled_from([1, 3]))
def test_kept_rows_stay_and_ramps_survive(step: int, data: st.DataObject, order: int) -> None:
    phase = data.draw(st.integers(0, step - 1))
    plane = np.random.default_rng(0).random((40, 5)).astype(np.float32)
    got = axial_subsampling(plane, sigma_z=0, step=step, phase=phase, order=order)
    assert np.allclose(got[phase::step], plane[phase::step], atol=1e-6)
    ramp = np.arange(40.0)[:, None] * np.ones((1, 5))
    last = np.arange(phase, 40, step)[-1]
    got = axial_subsampling(ramp, sigma_z=0, step=step, phase=phase, order=order)
    assert np.allclose(got, np.clip(ramp, phase, last), atol=1e-4)


def test_linear_axial_interpolation_agrees_with_numpy() -> None:
    plane = np.random.default_rng(1).random((30, 3)).astype(np.float32)
    blurred = ndimage.gaussian_filter1d(plane, 1.5, axis=0, mode="nearest")
    kept = np.arange(2, 30, 6)
    got = axial_subsampling(plane, sigma_z=1.5, step=6, phase=2)
    for column in range(3):
        reference = np.interp(np.arange(30), kept, blurred[kept, column])
        assert np.allclose(got[:, column], reference, atol=1e-6)


def test_a_free_phase_differs_between_planes() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((32, 8))
    axial = Axial(sigma_z=0, step=8)
    results = {axial.apply(plane, rng).tobytes() for _ in range(40)}
    assert len(results) == 8


def test_draws_cover_every_integer_of_the_range() -> None:
    rng = np.random.default_rng(0)
    assert {Axial.draw(rng).step for _ in range(300)} == set(range(2, 9))


@pytest.mark.parametrize("truth", [Axial(sigma_z=1.2, step=4), Axial(sigma_z=2.0, step=7)])
def test_pairs_give_the_parameters_away(truth) -> None:
    rng = np.random.default_rng(0)
    clean = [filaments((112, 104), rng) for _ in range(4)]
    pairs = [(3 * truth.apply(plane, rng) - 1, plane) for plane in clean]
    fitted = type(truth).calibrate_pairs(pairs, rng)
    assert len(fitted) == 4
    assert all(item.step == truth.step for item in fitted)
    assert np.median([item.sigma_z for item in fitted]) == pytest.approx(truth.sigma_z, rel=0.12)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        Axial.calibrate_pairs([], np.random.default_rng(0))


@pytest.mark.parametrize(
    "call",
    [
        lambda p, r: axial_subsampling(p, sigma_z=1, step=4, phase=4),
        lambda p, r: axial_subsampling(p, sigma_z=1, step=99),
        lambda p, r: axial_subsampling(p, sigma_z=1, step=2, order=2),
    ],
)
def test_bad_input_gets_one_clear_line(call) -> None:
    with pytest.raises(ValueError, match="got") as caught:
        call(np.ones((16, 16)), np.random.default_rng(0))
    assert "\n" not in str(caught.value)
