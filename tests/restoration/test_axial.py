"""The axial task: the grid, any blocking, the identity, the planes of the input, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from microscopygan.image.tiles import pad_plane
from microscopygan.restoration.axial import (
    AxialTask,
    Region,
    Volume,
    axial_step,
    interpolate,
    resample,
)

HALO, MULTIPLE = 9, 4  # of `network`


def network(windows: Volume) -> Volume:
    """A network: not linear, not symmetric, down-samples by 4, reaches 9 pixels at most."""
    fine = ndimage.correlate1d(windows, [0.2, -0.5, 1.0], axis=2, mode="constant")
    fine = np.abs(ndimage.correlate1d(fine, [1.0, 0.3, -0.2], axis=3, mode="constant"))
    count, _, height, width = fine.shape
    coarse = fine.reshape(count, 1, height // 4, 4, width // 4, 4).max((3, 5))
    coarse = ndimage.correlate1d(coarse, [0.4, 0.1, -0.7], axis=2, mode="constant")
    return np.asarray(windows + fine + coarse.repeat(4, 2).repeat(4, 3), dtype=np.float32)


def identity(windows: Volume) -> Volume:
    return windows


def everything(shape: tuple[int, int, int]) -> Region:
    z, y, x = (slice(0, length) for length in shape)
    return z, y, x


def restore(task: AxialTask, volume: Volume, blocks: tuple[int, int, int], run=network) -> Volume:
    """Restore block by block, each from the part of the input it asks for."""
    result = np.full(task.shape, np.nan, np.float32)
    counts = [-(-length // block) for length, block in zip(task.shape, blocks, strict=True)]
    for place in np.ndindex(*counts):
        z, y, x = (
            slice(k * block, min((k + 1) * block, length))
            for k, block, length in zip(place, blocks, task.shape, strict=True)
        )
        region = (z, y, x)
        result[region] = task.compute(volume[task.source(region)], region, run)
    return result


def stack(shape: tuple[int, ...], seed: int = 0) -> Volume:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(2, 9), st.integers(1, 40), st.integers(1, 40)),
    step=st.floats(1, 9) | st.integers(1, 9).map(float),
    sampling=st.sampled_from(("isotropic", "input", "other")),
    blocks=st.tuples(st.integers(4, 40), st.integers(4, 30), st.integers(4, 30)),
)
def test_any_blocking_gives_the_whole_volume(shape, step, sampling, blocks) -> None:
    spacing = {"isotropic": 1.0, "input": step, "other": 1 + step / 4}[sampling]
    task = AxialTask(shape, step, HALO, MULTIPLE, spacing)
    volume = stack(shape)
    whole = restore(task, volume, task.shape)
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(restore(task, volume, blocks), whole, atol=1e-5 * np.ptp(whole))


@settings(deadline=None, max_examples=60)
@given(planes=st.integers(2, 20), step=st.floats(1, 9), size=st.integers(1, 20))
def test_the_identity_gives_linear_interpolation(planes, step, size) -> None:
    volume = stack((planes, size, 7))
    task = AxialTask(volume.shape, step, halo=3, multiple=4)
    positions = np.arange(task.shape[0]) / step
    whole = task.compute(
        volume[task.source(everything(task.shape))], everything(task.shape), identity
    )
    expected = np.stack(
        [
            [np.interp(positions, np.arange(planes), row) for row in rows.T]
            for rows in volume.swapaxes(0, 1)
        ]
    ).transpose(2, 0, 1)
    np.testing.assert_allclose(whole, expected, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(planes=st.integers(2, 300), step=st.floats(1, 20))
def test_the_grid_reaches_from_the_first_plane_to_the_last(planes, step) -> None:
    task = AxialTask((planes, 1, 1), step, 0, 1)
    last = (task.shape[0] - 1) / step
    assert planes - 1 - 1 / step < last <= planes - 1 + 1e-5
    region = (slice(0, task.shape[0]), slice(0, 1), slice(0, 1))
    assert task.source(region) == (slice(0, planes), slice(0, 1), slice(0, 1))


@settings(deadline=None, max_examples=60)
@given(planes=st.integers(2, 300), z=st.floats(0.2, 3), x=st.floats(0.05, 0.2))
def test_keep_sampling_has_the_planes_of_the_input(planes, z, x) -> None:
    step = axial_step({"Z": z, "Y": x, "X": x})
    assert AxialTask((planes, 5, 6), step, 9, 4, spacing=step).shape == (planes, 5, 6)


@pytest.mark.parametrize("step", [1.0, 3.0, 4.46, 8.276])
def test_keep_sampling_of_the_identity_returns_to_smooth_input_planes(step) -> None:
    z = np.linspace(0, 3, 12, dtype=np.float32)[:, None, None]
    volume = np.sin(z) * np.ones((1, 5, 6), np.float32)
    task = AxialTask(volume.shape, step, 3, 4, spacing=step)
    found = restore(task, volume, (5, 5, 6), identity)
    np.testing.assert_allclose(found, volume, atol=0.02)
    if step == round(step):
        np.testing.assert_allclose(found, volume, atol=1e-6)


def test_the_network_sees_whole_padded_planes_with_the_axial_axis_first() -> None:
    volume = stack((3, 10, 13))
    seen = []

    def keep(windows: Volume) -> Volume:
        seen.append(windows)
        return windows

    task = AxialTask(volume.shape, 2.0, HALO, MULTIPLE)
    restore(task, volume, task.shape, keep)
    grid = interpolate(volume, np.arange(5) / 2)
    xz, yz = (np.stack([pad_plane(p, MULTIPLE) for p in np.moveaxis(grid, a, 0)]) for a in (1, 2))
    np.testing.assert_array_equal(seen[0][:, 0], xz)
    np.testing.assert_array_equal(seen[1][:, 0], yz)


def test_xz_and_yz_restorations_are_averaged() -> None:
    volume = np.zeros((2, 4, 8), np.float32)
    task = AxialTask(volume.shape, 1.0, 0, 4)

    def width(windows: Volume) -> Volume:
        return np.full_like(windows, windows.shape[3])

    assert (restore(task, volume, (4, 4, 8), width) == (8 + 4) / 2).all()


def test_a_block_asks_for_its_surroundings_only() -> None:
    task = AxialTask((1000, 5000, 5000), 5.0, 20, 4)
    region = slice(2500, 2564), slice(1000, 1064), slice(2000, 2064)
    z, y, x = task.source(region)
    assert z.start >= 490
    assert z.stop <= 520
    assert (y, x) == (slice(980, 1084), slice(1980, 2084))


def test_interpolation_of_a_linear_ramp_is_exact() -> None:
    ramp = np.arange(9, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    positions = np.random.default_rng(0).uniform(1, 7, 50)
    for way in (interpolate, resample):
        np.testing.assert_allclose(way(ramp, positions)[:, 1, 2], positions, rtol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"Y": 0.1, "X": 0.1}, "expected the pixel sizes of Z, Y and X in µm, got Y 0.1, X 0.1;"),
        ({}, "got none; give --voxel-size z,y,x"),
        ({"Z": 0.0, "Y": 0.1, "X": 0.1}, "got Z 0, Y 0.1"),
        ({"Z": np.nan, "Y": 0.1, "X": 0.1}, "got Z nan"),
        ({"Z": 1.0, "Y": 0.1, "X": 0.2}, "square lateral pixels"),
        ({"Z": 0.1, "Y": 0.2, "X": 0.2}, "already sampled finer than laterally"),
    ],
)
def test_pixel_sizes_that_give_no_grid_are_refused_in_one_line(sizes, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        axial_step(sizes)
    assert "\n" not in str(caught.value)


def test_lateral_pixels_may_differ_by_a_rounding_of_the_metadata() -> None:
    assert axial_step({"Z": 0.4, "Y": 0.1004, "X": 0.1}) == pytest.approx(4.0)


def test_a_single_plane_and_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 planes along Z, got 1"):
        AxialTask((1, 8, 8), 2.0, 0, 1)
    for step, spacing in ((0.5, 1.0), (2.0, 0.5), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="step, spacing"):
            AxialTask((4, 8, 8), step, 0, 1, spacing)
