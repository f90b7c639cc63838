import numpy as np
import pytest
from scipy import ndimage

from microscopygan.defects.jitter import shift_lines
from microscopygan.defects.line_statistics import (
    LINES_APART,
    SCALES,
    line_differences,
    neighbour_shifts,
    ray_contrast,
)


def test_shifts_of_neighbours_are_estimated() -> None:
    plane = ndimage.gaussian_filter(np.random.default_rng(0).random((1, 200)), (0, 3))
    rows = shift_lines(np.repeat(plane, 6, axis=0), np.array([0, 0.5, 0.5, -0.5, 0, 1]))
    assert neighbour_shifts(rows) == pytest.approx([0.5, 0, -1, 0.5, 1], abs=0.15)


def test_gain_and_offset_of_lines_are_told_apart() -> None:
    """Of rows one apart: the spread of their gains first, then that of their offsets."""
    rng = np.random.default_rng(0)
    light = np.sin(np.arange(128) / 5)[None, :].repeat(128, axis=0)
    gains, offsets = rng.normal(1, 0.1, (128, 1)), rng.normal(0, 0.1, (128, 1))
    plain = line_differences(light.astype(np.float32))
    gained = line_differences((light * gains).astype(np.float32))
    lifted = line_differences((light + offsets).astype(np.float32))
    assert plain.shape == (2 * 4 * len(LINES_APART),)
    assert gained[0] > plain[0] + 0.5
    assert lifted[0] == pytest.approx(plain[0], abs=0.01)
    apart = np.median(np.abs(np.diff(offsets[:, 0])))
    assert lifted[1] == pytest.approx(np.log(apart) / 4, abs=0.02)


def test_rays_show_at_the_scale_of_their_width() -> None:
    def rays(width: int) -> np.ndarray:
        plane = np.ones((128, 128), np.float32)
        for centre in (20, 60, 90):
            plane[centre : centre + width] = 0.4
        return plane

    thin, wide = ray_contrast(rays(1)), ray_contrast(rays(12))
    assert thin.shape == (2, len(SCALES))
    assert int(np.argmax(thin[0])) == 0
    assert int(np.argmax(wide[0])) == len(SCALES) - 1
    assert thin[1].max() < 1e-6
