"""Bleaching is exponential along the series."""

import numpy as np
import pytest

from microscopygan.defects.bleaching import Bleaching, bleaching


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_bleaching_is_exponential_along_the_axis(axis: int) -> None:
    got = bleaching(np.ones((4, 5, 6)), decay=0.3, axis=axis)
    line = np.moveaxis(got, axis, 0)
    assert np.allclose(line[1:] / line[:-1], np.exp(-0.3), atol=1e-6)


def test_bleaching_of_a_plane_is_that_frame_of_the_series() -> None:
    rng = np.random.default_rng(0)
    series = np.ones((5, 4, 4))
    faded = Bleaching(decay=0.2).apply(series, rng)
    assert np.allclose(faded[3], Bleaching(decay=0.2, frame=3).apply(series[3], rng))
    with pytest.raises(ValueError, match="got shape"):
        Bleaching(decay=0.2).apply(np.ones(4), rng)


def test_a_plane_is_no_series() -> None:
    with pytest.raises(ValueError, match="got shape"):
        bleaching(np.ones((16, 16)), decay=1)
