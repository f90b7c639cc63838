"""JPEG: the better the quality, the closer to the plane; found without pairs."""

import numpy as np
import pytest

from microscopygan.defects.jpeg import Jpeg
from microscopygan.defects.specimens import filaments


def test_quality_is_closeness_on_any_scale() -> None:
    rng = np.random.default_rng(0)
    plane = filaments((64, 72), rng)
    errors = [np.abs(Jpeg(quality=q).apply(plane, rng) - plane).mean() for q in (5, 30, 95)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    far = Jpeg(quality=30).apply(1000 * plane - 500, rng)
    assert np.allclose(far, 1000 * Jpeg(quality=30).apply(plane, rng) - 500, atol=0.1)


def test_a_flat_plane_stays() -> None:
    plane = np.full((20, 30), 0.4, np.float32)
    got = Jpeg(quality=10).apply(plane, np.random.default_rng(0))
    assert got == pytest.approx(0.4, abs=1e-6)


def test_light_stays() -> None:
    rng = np.random.default_rng(0)
    plane = filaments((64, 64), rng)
    assert Jpeg(quality=20).apply(plane, rng).mean() == pytest.approx(plane.mean(), abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("quality", [10, 40])
def test_ten_unpaired_images_give_the_quality_away(quality: int) -> None:
    """Slow: hundreds of trials, each on many planes."""
    rng = np.random.default_rng(0)
    clean = [filaments((96, 96), rng) for _ in range(12)]
    saved = [Jpeg(quality=quality).apply(filaments((96, 96), rng), rng) for _ in range(10)]
    calibrated = Jpeg.calibrate(clean, saved, rng)
    middle = np.median([item.quality for item in calibrated])
    assert middle == pytest.approx(quality, rel=0.5)
