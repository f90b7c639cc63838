"""Uneven light is smooth and as strong as stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects.uneven import uneven_illumination


@settings(max_examples=8, deadline=None)
@given(strength=st.floats(0, 0.95), seed=st.integers(0, 99))
def test_illumination_is_smooth_and_as_strong_as_stated(strength: float, seed: int) -> None:
    field = uneven_illumination(np.ones((64, 80)), np.random.default_rng(seed), strength=strength)
    assert field.min() == pytest.approx(1 - strength, abs=1e-5)
    assert field.max() == pytest.approx(1, abs=0.01)
    assert np.abs(np.diff(field, axis=1)).max() < 0.12


def test_a_loss_of_all_light_is_refused() -> None:
    with pytest.raises(ValueError, match="got 1"):
        uneven_illumination(np.ones((16, 16)), np.random.default_rng(0), strength=1)
