"""DV of DeltaVision, written here as its header is laid out."""

import struct
from pathlib import Path

import numpy as np
import pytest

from microscopygan.image.formats import list_images, open_image, output_name, read

MOVIE = np.random.default_rng(0).integers(0, 999, (2, 3, 4, 20, 30), dtype=np.uint16)
ORDERS = {0: "CTZYX", 1: "TZCYX", 2: "TCZYX"}


def write_dv(
    path: Path, movie: np.ndarray = MOVIE, order: int = 2, byteorder: str = "<", mode: int = 6
) -> Path:
    """Write TCZYX pixels; each plane has one whole and two real numbers of its own."""
    times, channels, depth, height, width = movie.shape
    planes = times * channels * depth
    header = bytearray(1024)
    for offset, layout, values in [
        (0, "4i", (width, height, planes, mode)),
        (40, "3f", (0.1, 0.2, 0.5)),
        (92, "i", (planes * 12,)),
        (96, "H", (0xC0A0,)),
        (128, "2h", (1, 2)),
        (180, "2h", (times, order)),
        (196, "6h", (channels, 525, 632, 700, 0, 0)),
    ]:
        struct.pack_into(byteorder + layout, header, offset, *values)
    header[224:237] = b"live, 60x oil"
    stored = movie.transpose(["TCZYX".index(letter) for letter in ORDERS[order]])
    elapsed = np.broadcast_to(
        2.5 * np.arange(times).reshape([times if a == "T" else 1 for a in ORDERS[order][:3]]),
        stored.shape[:3],
    )
    numbers = b"".join(struct.pack(f"{byteorder}i2f", 7, 0.0, at) for at in elapsed.ravel())
    pixels = stored.astype(movie.dtype.newbyteorder(byteorder)).tobytes()
    path.write_bytes(bytes(header) + numbers + pixels)
    return path


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("order", ORDERS)
def test_pixels_and_metadata(tmp_path, order, byteorder):
    path = write_dv(tmp_path / "a.dv", order=order, byteorder=byteorder)
    image = open_image(path)
    expected = MOVIE.transpose(["TCZYX".index(letter) for letter in ORDERS[order]])
    assert (image.axes, image.array.dtype) == (ORDERS[order], np.uint16)
    assert np.array_equal(image.array[1, ::2, 1, 5:9], expected[1, ::2, 1, 5:9])
    assert np.array_equal(read(path).array, expected)
    assert image.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.2, "X": 0.1})
    assert image.interval == pytest.approx(2.5)
    assert [one["emission"] for one in image.details["channels"]] == [525, 632, 700]
    assert image.details["description"] == "live, 60x oil"
    assert (list_images([tmp_path]), output_name(path)) == ([path], "a.ome.tif")


@pytest.mark.parametrize(("dtype", "mode"), [("uint8", 0), ("int16", 1), ("float32", 2)])
def test_one_stack_of_other_pixels(tmp_path, dtype, mode):
    pixels = (MOVIE[:1, :1] // 4).astype(dtype)
    image = open_image(write_dv(tmp_path / "a.r3d", pixels, mode=mode))
    assert (image.axes, image.array.dtype, image.interval) == ("ZYX", dtype, None)
    assert np.array_equal(image.array[...], pixels[0, 0])


@pytest.mark.parametrize(
    ("offset", "layout", "value", "said"),
    [
        (96, "<H", 0, "lacks the mark of DeltaVision"),
        (12, "<i", 4, r"of the kind \(mode\) 4"),
        (182, "<h", 9, "in order 9"),
        (8, "<i", 25, "it states 25 planes"),
        (0, "<i", -5, "it states 24 planes"),
        (92, "<i", 10**6, "bytes too short"),
        (0, "<i", 10**6, "bytes too short"),
    ],
)
def test_damaged_headers_are_one_line(tmp_path, offset, layout, value, said):
    path = write_dv(tmp_path / "a.dv")
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, value)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^\S+a\.dv: expected an image .*{said}") as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [1, 700, 1024, 9000])
def test_a_file_that_is_cut_is_one_line(tmp_path, length):
    path = write_dv(tmp_path / "a.dv")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"^\S+a\.dv: expected an image .*damaged"):
        open_image(path)
