"""NPY and PNG: pixels only, and axes by their shape."""

import numpy as np
import pytest

from microscopygan.image.formats import Image, open_image, read, write

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (40, 50), dtype=np.uint16)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_keeps_pixels(tmp_path, dtype):
    array = PLANE.astype(dtype)
    write(tmp_path / "a.png", Image(array, "YX"))
    again = read(tmp_path / "a.png")
    assert (again.axes, again.array.dtype) == ("YX", dtype)
    assert np.array_equal(again.array, array)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((40, 50), "YX"),
        ((40, 50, 1), "YX"),
        ((6, 40, 50), "ZYX"),
        ((6, 40, 50, 1), "ZYX"),
        ((2, 6, 40, 50), "TZYX"),
        ((2, 3, 6, 40, 50), "TCZYX"),
    ],
)
def test_npy_axes_by_dimensions(tmp_path, shape, axes):
    array = RNG.random(shape).astype(">f4")
    np.save(tmp_path / "a.npy", array)
    image = read(tmp_path / "a.npy")
    assert image.axes == axes
    assert image.array.dtype.isnative
    assert np.array_equal(image.array, array.reshape(image.array.shape))
    write(tmp_path / "b.npy", image)
    assert np.array_equal(np.load(tmp_path / "b.npy"), image.array)


def test_many_axes_of_length_1(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1, 1, 3, 1, 1, 40, 50, 1), np.uint8))
    assert open_image(tmp_path / "a.npy").array.shape == (3, 1, 40, 50)


def test_one_plane_of_a_stack_fits_a_png(tmp_path):
    write(tmp_path / "a.png", Image(PLANE[None, None], "TZYX"))
    assert np.array_equal(read(tmp_path / "a.png").array, PLANE)
