"""Levels of a pyramid: means of two by two, to the odd edge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microscopygan.image.pyramid import SMALLEST, mean, next_step, smaller

RNG = np.random.default_rng(0)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(["uint8", "int16", "uint32", "float32"]),
)
def test_pixels_are_means_and_the_last_of_an_odd_number_stays(shape, dtype):
    stack = RNG.integers(0, 100, shape).astype(dtype)
    step = (1, 2, 2)
    odd = [(0, 0), *((0, n % 2) for n in shape[1:])]
    padded = np.pad(stack.astype(float), odd, mode="edge")
    blocks = padded.reshape(shape[0], padded.shape[1] // 2, 2, padded.shape[2] // 2, 2)
    found = mean(stack, step)
    assert (found.dtype, found.shape) == (dtype, smaller(shape, step))
    assert np.abs(found - blocks.mean((2, 4))).max() <= (1e-5 if dtype == "float32" else 0.5)


def test_levels_end_where_they_are_small():
    shape, number = (7, 3, 5000, 600), 0
    while step := next_step(shape, "ZCYX"):
        assert step[:2] == (1, 1)
        shape, number = smaller(shape, step), number + 1
    assert (number, shape[:2]) == (4, (7, 3))
    assert SMALLEST / 2 < max(shape) <= SMALLEST
    assert next_step((1, 900), "YX") == (1, 2)


@pytest.mark.parametrize("value", [0, 255])
def test_the_ends_of_the_range_stay(value):
    assert (mean(np.full((4, 4), value, np.uint8), (2, 2)) == value).all()
