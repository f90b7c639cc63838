"""Families: the same laboratory each time, another image each time, and what each one does."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from microscopygan.defects import all_defects
from microscopygan_bench.odd import families
from microscopygan_bench.odd.families import (
    FAMILIES,
    SIDE,
    CameraMaps,
    Microscope,
    microscope,
    path_kernel,
    pupil_kernel,
)

RNG = np.random.default_rng(0)
MAPS = CameraMaps(
    1 + 0.05 * RNG.standard_normal((256, 256)), 95 + 4 * RNG.standard_normal((256, 256))
)
CLEAN = np.clip(ndimage.gaussian_filter(RNG.standard_normal((SIDE, SIDE)), 3) * 8, 0, None)
BRIGHT = np.ones((SIDE, SIDE))


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def alone(name: str, plane: np.ndarray, seed: int = 1) -> np.ndarray:
    """Apply what a family does, without the photons' noise."""
    here = microscope(name, MAPS)
    for stage in (*here.light, *here.sensor):
        plane = stage(plane, rng(seed))
    return plane


@pytest.mark.parametrize("name", FAMILIES)
def test_a_laboratory_is_the_same_and_its_images_are_not(name: str) -> None:
    first, again, other = (microscope(name, MAPS).image(CLEAN, rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.shape == CLEAN.shape
    assert np.isfinite(first).all()
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first - CLEAN).max() > 0.05


def test_the_formulas_are_none_of_the_package() -> None:
    tree = ast.parse(Path(families.__file__).read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    assert not [name for name in names if name.startswith("microscopygan")]


def test_families_are_as_many_as_asked_for_and_their_stages_exist() -> None:
    assert len(FAMILIES) >= 15
    assert sum("+" in name for name in FAMILIES) == 3
    assert {stage for family in FAMILIES.values() for stage in family.stages} <= set(all_defects())


def test_the_camera_is_the_real_one() -> None:
    here = microscope("scmos", MAPS)
    images = np.stack([here.image(BRIGHT, rng(s)) for s in range(60)])
    dark = np.stack([here.image(0 * BRIGHT, rng(s)) for s in range(60)])
    few = (slice(None, None, 20), slice(None, None, 20))
    squares = np.lib.stride_tricks.sliding_window_view(MAPS.offset, (SIDE, SIDE))[..., *few]
    read = 120 * dark.mean(0)
    misfit = np.abs(squares - MAPS.offset.mean() - read[few]).mean((2, 3))
    y, x = np.unravel_index(misfit.argmin(), misfit.shape)
    here_offset = MAPS.offset[y : y + SIDE, x : x + SIDE]
    assert np.corrcoef(read.ravel(), here_offset.ravel())[0, 1] > 0.9
    gain = (images.mean(0) - dark.mean(0)).ravel()
    assert np.corrcoef(gain, MAPS.gain[y : y + SIDE, x : x + SIDE].ravel())[0, 1] > 0.9


def test_lines_are_lines() -> None:
    spoilt = alone("rows", BRIGHT)
    assert np.ptp(spoilt, axis=1).max() < 1e-9
    assert spoilt[:, 0].std() > 0.05
    spoilt, other = (alone("columns", BRIGHT, seed) for seed in (1, 2))
    assert np.ptp(spoilt, axis=0).max() < 1e-9
    assert np.corrcoef(spoilt[0], other[0])[0, 1] > 0.9


def test_jitter_moves_along_the_rows_alone() -> None:
    each_row_even = np.linspace(0, 1, SIDE)[:, None] * BRIGHT
    assert np.allclose(alone("jitter", each_row_even), each_row_even, atol=1e-6)
    ramp = np.arange(SIDE) * BRIGHT
    shift = (alone("jitter", ramp) - ramp)[:, SIDE // 2]
    assert abs(shift[::2].mean() - shift[1::2].mean()) > 1
    assert shift[::2].std() > 0.3


def test_shadows_dim_and_follow_the_rays() -> None:
    light = alone("shadows", BRIGHT)
    assert light.max() <= 1
    assert light.min() < 0.7
    assert np.diff(light, axis=0).std() > 1.5 * np.diff(light, axis=1).std()


def test_hum_and_pattern_are_waves() -> None:
    for name in ("hum", "pattern"):
        power = np.abs(np.fft.rfft2(alone(name, BRIGHT) * np.hanning(SIDE)[:, None])) ** 2
        power[:2, :2] = power[-1:, :2] = 0
        assert np.sort(power.ravel())[-12:].sum() > 0.5 * power.sum()


def test_hot_pixels_stay_where_they_are() -> None:
    first, second = (alone("hot", 0.5 * BRIGHT, seed) > 0.65 for seed in (1, 2))
    assert 0.005 < first.mean() < 0.03
    assert (first & second).sum() > 0.6 * first.sum()
    assert (alone("hot", BRIGHT) == 0).mean() == pytest.approx(0.004, abs=0.002)


def test_correlated_noise_is_alike_along_rows() -> None:
    noise = alone("correlated", 0 * BRIGHT)
    along, down = (
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]))
    )
    assert along > 0.4
    assert 0.2 < down < along + 0.2


def test_jpeg_has_blocks_of_eight() -> None:
    steps = np.abs(np.diff(alone("jpeg", CLEAN), axis=1)).mean(0)
    across = np.arange(1, SIDE) % 8 == 0
    assert steps[across].mean() > 1.2 * steps[~across].mean()


def test_uneven_light_is_smooth_and_dark_in_a_corner() -> None:
    light = alone("uneven", BRIGHT)
    assert np.abs(np.diff(light)).max() < 0.05
    assert light.min() < 0.5 * light.max()


def test_kernels_are_point_spread_functions() -> None:
    y, x = np.mgrid[-12:13, -12:13]
    path, point = path_kernel(8, 0.5, 0.3), pupil_kernel({})
    for kernel in (path, point, pupil_kernel({"defocus": 1.0, "aslant": 0.4})):
        assert kernel.sum() == pytest.approx(1)
        assert kernel.min() >= 0
    along = x * np.cos(0.5) + y * np.sin(0.5)
    assert (path * along).sum() == pytest.approx(0, abs=0.05)
    assert np.ptp(along[path > 0]) == pytest.approx(8, abs=2.5)
    assert point.argmax() == 12 * 25 + 12
    assert np.allclose(point, point.T, atol=1e-6)
    wide = [(k * (x**2 + y**2)).sum() for k in (point, pupil_kernel({"defocus": 1.0}))]
    assert wide[1] > 2 * wide[0]
    assert not np.allclose(pupil_kernel({"astigmatism": 0.6, "defocus": 0.4}), point.T, atol=1e-3)


def test_two_laboratories_together_do_both() -> None:
    one = Microscope((lambda p, _: 2 * p,), 50, (lambda p, _: p + 1,))
    two = Microscope((lambda p, _: p / 2,), 1e9, (lambda p, _: p - 1,), kernel=np.ones((3, 3)))
    both = one.then(two)
    assert both.electrons == 50
    assert both.kernel is two.kernel
    bright = Microscope(both.light, 1e9, both.sensor)
    assert np.allclose(bright.image(CLEAN, rng()), CLEAN, atol=1e-3)
