"""Paired differences and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan_bench.restoration.statistics import paired_difference


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.integers(0, 99))
def test_a_constant_difference_is_certain(shift: float, seed: int) -> None:
    theirs = {str(k): v for k, v in enumerate(np.random.default_rng(seed).normal(25, 3, 20))}
    ours = {name: value + shift for name, value in theirs.items()}
    found = paired_difference({0: ours}, {0: theirs}, {name: name for name in theirs})
    assert np.allclose(found, shift, atol=1e-9)


def test_the_interval_is_that_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.5, 1.0, 400)
    ours = {0: {str(k): 20 + v for k, v in enumerate(noise)}}
    theirs = {draw: {str(k): 20.0 + draw for k in range(400)} for draw in (-1, 0, 1)}
    found = paired_difference(ours, theirs, {str(k): str(k) for k in range(400)})
    half = 1.96 * noise.std() / 20
    assert np.allclose(found, [noise.mean(), noise.mean() - half, noise.mean() + half], atol=0.015)
    assert found == paired_difference(ours, theirs, {str(k): str(k) for k in range(400)})


def test_planes_of_one_source_count_as_one() -> None:
    values = np.random.default_rng(1).normal(0, 1, 15)
    zero = {str(k): 0.0 for k in range(60)}
    four = {str(k): values[k // 4] for k in range(60)}
    once = paired_difference(
        {0: {k: four[k] for k in list(four)[::4]}},
        {0: {k: 0.0 for k in list(four)[::4]}},
        {k: k for k in zero},
    )
    assert np.allclose(
        paired_difference({0: four}, {0: zero}, {k: str(int(k) // 4) for k in zero}), once
    )


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected scores of the same images, got 1 and 1"):
        paired_difference({0: {"a": 1.0}}, {0: {"b": 1.0}}, {"a": "a", "b": "b"})
