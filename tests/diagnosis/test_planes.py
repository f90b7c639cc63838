"""Which planes of an image are looked at: of all formats and axes, each channel by itself."""

from pathlib import Path

import numpy as np
import pytest

from microscopygan.diagnosis.planes import (
    DEEPEST,
    PLANES,
    SIDE,
    Channel,
    finite_part,
    look,
    planes_each,
    together,
)
from microscopygan.image.formats import Image, write


def stack(*shape: int) -> np.ndarray:
    """Integers that tell where each plane lies."""
    lead = np.arange(int(np.prod(shape[:-2], dtype=int))).reshape(*shape[:-2], 1, 1)
    return (100 * lead + np.random.default_rng(0).integers(0, 99, shape[-2:])).astype(np.uint16)


def test_a_plane_is_looked_at_whole_as_it_is() -> None:
    plane = stack(40, 50)
    ((name, (channel,)),) = [look(plane)]
    assert name == "image"
    assert channel.name is None
    assert np.array_equal(channel.planes[0], plane)
    assert channel.planes[0].dtype == np.uint16


@pytest.mark.parametrize(
    ("axes", "shape"), [("TCZYX", (3, 2, 5, 40, 50)), ("YXCZT", (40, 50, 2, 5, 3))]
)
def test_each_channel_by_itself_planes_evenly_spread(axes: str, shape: tuple[int, ...]) -> None:
    pixels = stack(3, 2, 5, 40, 50)
    array = pixels.transpose(["TCZYX".index(letter) for letter in axes])
    looked = look(Image(array, axes, channels=("DNA", "actin")), count=4)
    assert array.shape == shape
    assert [channel.name for channel in looked.channels] == ["DNA", "actin"]
    for number, channel in enumerate(looked.channels):
        assert {plane.shape for plane in channel.planes} == {(40, 50)}
        places = sorted(int(plane[0, 0]) // 100 for plane in channel.planes)
        assert len(set(places)) == 4
        own = pixels[:, number].reshape(15, 40, 50)
        assert all(any(np.array_equal(p, one) for one in own) for p in channel.planes)


def test_planes_have_y_before_x() -> None:
    plane = stack(40, 50)
    assert np.array_equal(look(plane.T, axes="XY").channels[0].planes[0], plane)


def test_of_a_large_plane_the_middle_is_read() -> None:
    plane = np.zeros((SIDE + 100, 64), np.uint8)
    plane[50 + SIDE - 1, 3] = 9
    (looked,) = look(plane).channels[0].planes
    assert looked.shape == (SIDE, 64)
    assert looked[-1, 3] == 9


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr", ".npy", ".png"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"image{suffix}", Image(stack(40, 50), "YX"))
    assert np.array_equal(look(path).channels[0].planes[0], stack(40, 50))
    assert look(str(path)).name == path.name


def test_images_of_a_laboratory_come_together_by_channel() -> None:
    two = look(stack(2, 40, 50), axes="CYX")
    one = look(stack(40, 50))
    first, second = together([two, one])
    assert (len(first.planes), len(second.planes)) == (2, 1)
    assert first.name == "channel 0"
    noted = two._replace(channels=(Channel(None, two.channels[0].planes, ("so",)),))
    assert together([noted, noted])[0].notes == ("so",)


def test_many_images_get_fewer_planes_each() -> None:
    assert planes_each(1) == DEEPEST
    assert planes_each(1000) == 1
    assert all(number * planes_each(number) <= PLANES for number in range(4, PLANES))


def test_nan_borders_are_left_out_and_told() -> None:
    plane = np.random.default_rng(0).random((100, 120)).astype(np.float32)
    plane[:, :21] = np.nan
    plane[90:] = np.inf
    (channel,) = look(plane).channels
    (part,) = channel.planes
    assert np.isfinite(part).all()
    assert part.size > 0.9 * 90 * 99
    assert "left out" in channel.notes[0]


def test_the_largest_part_without_nan_is_the_largest() -> None:
    """Compared with all rectangles of blocks of 8 x 8."""
    rng = np.random.default_rng(3)
    for _ in range(3):
        good = rng.random((9, 8)) < 0.9
        plane = np.where(np.kron(good, np.ones((8, 8))), 1.0, np.nan)
        areas = [
            (bottom - top) * (right - left)
            for top, left in np.ndindex(good.shape)
            for bottom in range(top + 4, 10)
            for right in range(left + 4, 9)
            if good[top:bottom, left:right].all()
        ]
        assert finite_part(plane, "a.tif").size == 64 * max(areas)


@pytest.mark.parametrize(
    ("image", "line"),
    [
        (np.full((64, 64), 7), "the same intensity everywhere"),
        (np.full((64, 64), np.nan), "without NaN or infinity"),
        (np.zeros((16, 64)), "at least 32 x 32"),
        (np.zeros((3, 64, 64)), "give --axes ZYX"),
        (np.zeros((64, 64), bool), "integer or float pixels"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused_in_a_line(image: np.ndarray, line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        look(image)
    assert "\n" not in str(caught.value)


def test_colours_are_refused_as_in_restoring(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "colour.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    with pytest.raises(ValueError, match="colour"):
        look(path)


def test_planes_without_structure_are_left_out() -> None:
    volume = stack(4, 40, 50)
    volume[0] = 5
    assert len(look(volume, axes="ZYX").channels[0].planes) == 3
