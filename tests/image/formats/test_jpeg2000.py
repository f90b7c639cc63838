"""JPEG 2000: grey values, the resolution of capture, and nothing but whole files."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.formats import jpeg2000, list_images, open_image, output_name, read

PLANE = np.random.default_rng(0).integers(0, 4000, (40, 50), dtype=np.uint16)


def encoded(array: np.ndarray = PLANE, form: str = "jp2") -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(array, level=0, codecformat=form, reversible=True))


def with_resolution(content: bytes, *numbers: int, kind: bytes = b"resc") -> bytes:
    """Put a box into the header that states pixels in a metre, down and to the right."""
    box = struct.pack(">I4s4H2b", 18, kind, *numbers)
    box = struct.pack(">I4s", 8 + len(box), b"res ") + box
    place = content.index(b"jp2h")
    length = int.from_bytes(content[place - 4 : place], "big")
    end = place - 4 + length
    return (
        content[: place - 4]
        + struct.pack(">I", length + len(box))
        + (content[place:end] + box + content[end:])
    )


@pytest.mark.parametrize(("suffix", "form"), [(".jp2", "jp2"), (".j2k", "j2k"), (".jpx", "jp2")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_pixels(tmp_path, suffix, form, dtype):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(PLANE.astype(dtype), form))
    image = read(path)
    assert (image.axes, image.array.dtype, image.pixel_size) == ("YX", dtype, {})
    assert np.array_equal(image.array, PLANE.astype(dtype))
    assert (list_images([tmp_path]), output_name(path)) == ([path], "a.ome.tif")


@pytest.mark.parametrize(
    ("numbers", "kind", "expected"),
    [
        ((1000, 2, 500, 1, 4, 4), b"resc", {"Y": 0.2, "X": 0.2}),
        ((1000, 1, 500, 1, 4, 4), b"resc", {"Y": 0.1, "X": 0.2}),
        ((118, 1, 118, 1, 2, 2), b"resc", {"Y": 84.7, "X": 84.7}),  # a print of 300 dpi
        ((28, 1, 28, 1, 2, 2), b"resc", {}),  # 72 dpi
        ((1000, 1, 500, 1, 4, 4), b"resd", {}),  # of the display
        ((0, 0, 0, 0, 0, 0), b"resc", {}),
    ],
)
def test_the_resolution_of_capture(tmp_path, numbers, kind, expected):
    (tmp_path / "a.jp2").write_bytes(with_resolution(encoded(), *numbers, kind=kind))
    image = read(tmp_path / "a.jp2")
    assert image.pixel_size == pytest.approx(expected, rel=1e-3)
    assert np.array_equal(image.array, PLANE)


@given(cut=st.integers(0, len(encoded()) - 1), form=st.sampled_from(["jp2", "j2k"]))
@settings(max_examples=40, deadline=None)
def test_a_file_cut_anywhere_is_one_line(tmp_path_factory, cut, form):
    path = tmp_path_factory.mktemp("cut") / "a.jp2"
    path.write_bytes(encoded(form=form)[:cut])
    if cut >= len(encoded(form=form)):
        return
    with pytest.raises(ValueError, match=r"^\S+a\.jp2: expected"):
        read(path)


def test_colours_are_refused(tmp_path):
    (tmp_path / "a.jp2").write_bytes(encoded(np.zeros((20, 30, 3), np.uint8)))
    with pytest.raises(ValueError, match="got a colour image"):
        open_image(tmp_path / "a.jp2")


def with_size(content: bytes, width: int, height: int) -> bytes:
    place = content.index(b"\xff\x4f\xff\x51") + 8
    return content[:place] + struct.pack(">II", width, height) + content[place + 8 :]


def test_what_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.jp2"
    path.write_bytes(with_size(encoded(), 2**31 - 1, 2**31 - 1))
    with pytest.raises(ValueError, match=r"2147483647×2147483647 pixels do not fit into \d+ bytes"):
        open_image(path)
    monkeypatch.setattr(jpeg2000, "_MOST", 1999)
    path.write_bytes(encoded())
    with pytest.raises(ValueError, match=r"50×40 pixels would be decoded at once"):
        open_image(path)
