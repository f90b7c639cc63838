"""Simulated specimens: range, reproducibility, variety."""

import numpy as np
import pytest

from microscopygan.defects.specimens import SPECIMENS, draw_specimen


@pytest.mark.parametrize("make", SPECIMENS.values(), ids=SPECIMENS)
@pytest.mark.parametrize("shape", [(128, 128), (48, 80), (17, 31)])
def test_planes_are_unit_float32_and_seeded(make, shape) -> None:
    for seed in range(5):
        plane = make(shape, np.random.default_rng(seed))
        assert plane.shape == shape
        assert plane.dtype == np.float32
        assert plane.min() >= 0
        assert plane.max() == pytest.approx(1)
        assert plane.std() > 0.01
        assert np.array_equal(plane, make(shape, np.random.default_rng(seed)))


def test_all_kinds_are_drawn_and_differ() -> None:
    rng = np.random.default_rng(0)
    planes = [draw_specimen((32, 32), rng) for _ in range(20)]
    assert len({plane.tobytes() for plane in planes}) == 20


def test_a_tiny_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        draw_specimen((8, 64), np.random.default_rng(0))
