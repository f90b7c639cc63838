"""What is shown is what is in the file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.apps.web import planes
from microscopygan.apps.web.planes import Pyramid, read_plane
from microscopygan.image.formats import Image, open_image, write

STACK = np.random.default_rng(0).integers(0, 60_000, (2, 3, 40, 50), np.uint16)


@given(step=st.integers(1, 9), top=st.integers(0, 39), left=st.integers(0, 49), order=st.booleans())
@settings(max_examples=30, deadline=None)
def test_any_part_and_step(step, top, left, order):
    image = Image(STACK if order else STACK.transpose(3, 0, 2, 1), "CZYX" if order else "XCYZ")
    shown = read_plane(image, {"C": 1, "Z": 2}, slice(top, 40), slice(left, 90), step)
    assert np.array_equal(shown, STACK[1, 2, top::step, left::step])
    assert shown.flags.c_contiguous


def test_bands_make_the_whole(monkeypatch):
    monkeypatch.setattr(planes, "_BAND", 300)
    shown = read_plane(Image(STACK, "CZYX"), {}, slice(0, 40), slice(0, 50), 4)
    assert np.array_equal(shown, STACK[0, 0, ::4, ::4])


def test_places_beyond_the_last_are_the_last():
    shown = read_plane(Image(STACK, "CZYX"), {"C": 9, "Z": -3}, slice(0, 40), slice(0, 50))
    assert np.array_equal(shown, STACK[1, 0])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float64", "float32"])
def test_types_that_a_browser_has(dtype):
    image = Image(np.ones((8, 8), dtype), "YX")
    assert read_plane(image, {}, slice(0, 8), slice(0, 8)).dtype.name in ("uint8", "float32")


@pytest.mark.parametrize("part", [slice(40, 50), slice(-9, 0), slice(7, 7)])
def test_parts_outside_are_refused(part):
    with pytest.raises(ValueError, match="expected a part of Y 0 to 40"):
        read_plane(Image(STACK, "CZYX"), {}, part, slice(0, 50))


def test_too_many_pixels_are_refused():
    large = Image(np.broadcast_to(np.uint8(0), (9000, 9000)), "YX")
    with pytest.raises(ValueError, match="at once"):
        read_plane(large, {}, slice(0, 9000), slice(0, 9000))
    assert read_plane(large, {}, slice(0, 9000), slice(0, 9000), 9).shape == (1000, 1000)


def test_missing_values_are_shown():
    image = Image(np.array([[np.nan, 1.0]]), "YX")
    assert np.isnan(read_plane(image, {}, slice(0, 1), slice(0, 2))[0, 0])


def test_a_pyramid_gives_the_copy_that_is_fine_enough(tmp_path):
    plane = np.add.outer(np.arange(2000), np.arange(1500)).astype(np.uint16)
    write(tmp_path / "a.ome.zarr", Image(plane[None], "ZYX"))
    pyramid = Pyramid.of(open_image(tmp_path / "a.ome.zarr"))
    assert [factor for factor, _ in pyramid.levels][:2] == [1, 2]
    largest = pyramid.levels[-1][0]
    for step in (1, 2, 3, 5, largest, 4 * largest):
        shown, taken = pyramid.read({}, slice(0, 2000), slice(300, 1500), step)
        assert step / 2 < taken <= step
        assert shown.shape == (-(-2000 // taken), -(-1200 // taken))
        assert abs(shown[3, 5].astype(int) - (3 + 5) * taken - 300) <= 2 * taken
    assert Pyramid.of(Image(STACK, "CZYX")).levels[0][0] == 1
