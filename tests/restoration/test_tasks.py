"""Tasks: any blocking gives the whole; axes, scopes, channels, dtypes, constant parts."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.image import Image
from microscopygan.image.intensity import percentile_map, to_dtype
from microscopygan.image.lazy import Blocks
from microscopygan.restoration.job import BlockRestorer
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.tasks import Options, choose_task, output_pixel_size

SIZES = {"Z": 0.9, "Y": 0.3, "X": 0.3}


class Guarded:
    """An array of which only the region that is asked for can be read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape
        self.dtype, self.ndim = array.dtype, array.ndim

    def __getitem__(self, region):
        for part, length in zip(region, self.shape, strict=True):
            assert 0 <= part.start < part.stop <= length
        return self.array[region].copy()


def restored(
    restorer: Restorer, image: Image, options: Options, block: tuple[int, ...], tile: int
) -> np.ndarray:
    """Restore block by block."""
    task = choose_task(image, restorer, options)
    work = BlockRestorer(restorer, task, Guarded(image.array), dict.fromkeys(task.tiled, tile))
    result = np.zeros(task.shape, task.dtype)
    for region in Blocks(task.shape, block):
        result[region] = work(region)
    return result


@given(
    shape=st.tuples(st.integers(1, 2), st.integers(2, 120), st.integers(1, 120)),
    block=st.tuples(st.integers(1, 3), st.integers(1, 150), st.integers(1, 150)),
    tile=st.integers(20, 150),
    axes=st.permutations("ZYX").map("".join),
)
@settings(deadline=None, max_examples=25)
def test_any_blocks_and_tiles_give_the_whole(restorer, shape, block, tile, axes) -> None:
    block = tuple(max(n, length // 4) for n, length in zip(block, shape, strict=True))
    order = ["ZYX".index(letter) for letter in axes]
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    image = Image(array.transpose(order), axes)
    whole = restored(restorer, image, Options(), image.array.shape, 1000)
    scale = percentile_map(array)
    expected = [scale.undo(restorer.restore_plane(scale.apply(plane))) for plane in array]
    np.testing.assert_array_equal(whole, np.stack(expected).transpose(order))
    blocks = tuple(block[k] for k in order)
    parts = restored(restorer, image, Options(), blocks, tile)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5 * max(np.ptp(whole), 1e-6))


@given(
    block=st.tuples(*(st.integers(1, n) for n in (1, 10, 2, 40, 40))).filter(
        lambda b: b[1] > 3 and min(b[3:]) > 10
    ),
    keep=st.booleans(),
)
@settings(deadline=None, max_examples=5)
def test_stacks_any_blocks_give_the_whole(restorer, stack, block, keep) -> None:
    image = Image(stack[:1, :, :2, :40, :40].astype(np.float32), "TZCYX", SIZES)
    options = Options(task="axial", keep_sampling=keep)
    depth = 4 if keep else 10
    whole = restored(restorer, image, options, (1, depth, 2, 40, 40), 1000)
    assert whole.shape == (1, depth, 2, 40, 40)
    parts = restored(restorer, image, options, block, 1000)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5 * np.ptp(whole))


def test_a_stack_becomes_isotropic(stack) -> None:
    image = Image(stack, "TZCYX", SIZES)
    assert output_pixel_size(image, Options(task="axial")) == {"Z": 0.3, "Y": 0.3, "X": 0.3}
    assert output_pixel_size(image, Options(task="axial", keep_sampling=True)) == SIZES
    assert output_pixel_size(image, Options()) == SIZES


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "f4", "f8", ">u2"])
def test_channels_that_are_not_chosen_are_copied(restorer, stack, dtype) -> None:
    image = Image((stack % 250).astype(dtype), "TZCYX")
    result = restored(restorer, image, Options(channels=(0, 2)), (1, 2, 3, 30, 70), 64)
    assert result.dtype == image.array.dtype
    assert np.array_equal(result[:, :, 1], image.array[:, :, 1])
    everything = restored(restorer, image, Options(), (1, 2, 3, 30, 70), 64)
    assert np.array_equal(result[:, :, [0, 2]], everything[:, :, [0, 2]])
    assert not np.array_equal(everything[:, :, 1], image.array[:, :, 1])


def test_channels_of_an_axial_job_are_interpolated(restorer) -> None:
    ramp = np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 12, 12), "f4")
    image = Image(ramp, "ZCYX", SIZES)
    task = Options(task="axial", channels=(0,))
    result = restored(restorer, image, task, (10, 2, 12, 12), 1000)
    np.testing.assert_allclose(result[:, 1, 4, 4], np.arange(10) / 3, atol=1e-6)


def test_integers_are_rounded_and_clipped(restorer, stack) -> None:
    small = Image((stack // 4).clip(0, 255).astype(np.uint8), "TZCYX")
    block = (2, 4, 3, 48, 70)
    exact = restored(restorer, small, Options(dtype="float32"), block, 1000)
    assert exact.dtype == np.float32
    assert exact.max() > 255.5
    rounded = restored(restorer, small, Options(), block, 1000)
    assert np.array_equal(rounded, to_dtype(exact, np.uint8))


@pytest.mark.parametrize("value", [0, 700, 65535])
def test_a_constant_volume_stays(restorer, stack, value) -> None:
    array = stack.copy()
    array[1, :, 2] = value
    image = Image(array, "TZCYX")
    result = restored(restorer, image, Options(), (1, 4, 3, 48, 70), 1000)
    assert (result[1, :, 2] == value).all()
    assert not np.array_equal(result[0], array[0])
    axial = Options(task="axial")
    one = Image(array[1, :, 2], "ZYX", SIZES)
    assert (restored(restorer, one, axial, (10, 48, 70), 1000) == value).all()


def test_the_result_follows_the_scale_of_the_input(restorer, stack) -> None:
    array = stack[0, 0, 0].astype(np.float32)
    plain = restored(restorer, Image(array, "YX"), Options(), (48, 70), 1000)
    scaled = restored(restorer, Image(array * 50 + 300, "YX"), Options(), (48, 70), 1000)
    np.testing.assert_allclose(scaled, plain * 50 + 300, rtol=0, atol=0.05)


def test_frames_and_volumes_have_maps_of_their_own(restorer, stack) -> None:
    image = Image(stack[0], "ZCYX")
    block = (4, 3, 48, 70)
    for scope, part in (("frame", stack[0, 3, 1]), ("volume", stack[0, :, 1])):
        result = restored(restorer, image, Options(intensity=scope, dtype="float32"), block, 1000)
        scale = percentile_map(part)
        expected = scale.undo(restorer.restore_plane(scale.apply(stack[0, 3, 1])))
        assert np.array_equal(result[3, 1], expected)


def test_refusals(restorer, stack) -> None:
    image = Image(stack, "TZCYX", SIZES)
    for options, message in (
        (Options(dtype="int3"), "dtype: expected 'auto' or 'same' or 'float32', got 'int3'"),
        (Options(task="lateral"), "task: expected 'plane' or 'axial', got 'lateral'"),
        (Options(channels=(3,)), r"expected some of 0 to 2 .*, got 3"),
        (Options(channels=()), "got none"),
        (Options(keep_sampling=True), "expected the axial task"),
        (Options(task="axial", intensity="frame"), "expected volume, image or none"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_task(image, restorer, options)
    with pytest.raises(ValueError, match="expected a stack with axis Z"):
        choose_task(Image(stack[0, 0], "CYX"), restorer, Options(task="axial"))
    with pytest.raises(ValueError, match="pixel sizes"):
        choose_task(replace(image, pixel_size={}), restorer, Options(task="axial"))
    noise_alone = SimpleNamespace(card=restorer.card.model_copy(update={"defects": ("noise",)}))
    with pytest.raises(ValueError, match="knows the defect axial, got one for noise"):
        choose_task(image, noise_alone, Options(task="axial"))
