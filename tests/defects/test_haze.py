"""Out-of-focus light keeps the flux."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects.haze import haze


@settings(max_examples=8, deadline=None)
@given(sigma=st.floats(0, 30), fraction=st.floats(0, 1))
def test_haze_preserves_flux(sigma: float, fraction: float) -> None:
    plane = np.random.default_rng(2).random((40, 50))
    got = haze(plane, sigma=sigma, fraction=fraction)
    assert got.sum() == pytest.approx(plane.sum(), rel=1e-4)


def test_a_fraction_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="got"):
        haze(np.ones((16, 16)), sigma=1, fraction=1.5)
