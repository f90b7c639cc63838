"""NPZ: one array or several, mapped or decoded, and never more than its bytes can hold."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from microscopygan.image.formats import list_images, npz, open_image, output_name, read
from microscopygan.image.lazy import MappedArray

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (40, 50), dtype=np.uint16)
SAVE = {"stored": np.savez, "compressed": np.savez_compressed}


def a_file(tmp_path: Path, how: str, **arrays: np.ndarray) -> Path:
    SAVE[how](tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("how", SAVE)
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_one_image_beside_other_arrays(tmp_path, how, order):
    stack = np.array(RNG.random((3, 40, 50)), ">f4", order=order)
    about = {"axes": np.array("ZYX"), "scale": np.ones(3), "more": np.array([{}], object)}
    path = a_file(tmp_path, how, volume=stack, **about)
    image = open_image(path, axes="ZYX")
    assert (image.axes, image.source, image.array.dtype) == ("ZYX", path, np.float32)
    assert np.array_equal(image.array[1:, 5:9, ::2], stack[1:, 5:9, ::2])
    assert np.array_equal(read(path).array, stack)
    assert isinstance(image.array.opened(), MappedArray) == (how == "stored")
    assert (list_images([tmp_path]), output_name(path)) == ([path], "a.ome.tif")


@pytest.mark.parametrize("how", SAVE)
def test_one_of_several_by_name_or_number(tmp_path, how):
    path = a_file(tmp_path, how, first=PLANE, second=PLANE * 2)
    with pytest.raises(ValueError, match=r"got 2 \(first, second\); name one, such as .*a\.npz#0"):
        open_image(path)
    for part in ("1", "second"):
        image = open_image(f"{path}#{part}")
        assert np.array_equal(image.array[...], PLANE * 2)
        assert image.source == Path(f"{path}#{part}")
    assert list_images([path]) == [Path(f"{path}#0"), Path(f"{path}#1")]
    assert output_name(Path(f"{path}#second")) == "a_second.ome.tif"
    with pytest.raises(ValueError, match="one of the images 0 to 1, got third"):
        open_image(f"{path}#third")


def test_axes_that_nobody_states_are_a_question(tmp_path):
    path = a_file(tmp_path, "stored", a=np.ones((3, 40, 50)))
    with pytest.raises(ValueError, match="--axes ZYX, TYX or CYX"):
        open_image(path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": np.ones(5)}, "an array of 2 to 5 dimensions, got none"),
        ({"a": np.array([[{}]], object)}, "an array of 2 to 5 dimensions, got none"),
        ({"a": np.ones((9, 8, 3), np.uint8)}, "a colour image"),
        ({"a": np.full((9, 8), np.nan)}, "NaN"),
    ],
)
def test_what_is_no_image(tmp_path, arrays, said):
    with pytest.raises(ValueError, match=said):
        read(a_file(tmp_path, "compressed", **arrays))


def with_member(tmp_path: Path, shape: str, content: bytes, **settings: object) -> Path:
    """Write an array whose header says another shape than its pixels have."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", header + content, **settings)
    return tmp_path / "a.npz"


def test_a_size_that_is_not_there_is_refused(tmp_path):
    path = with_member(tmp_path, "(1000000, 1000000)", bytes(99))
    with pytest.raises(ValueError, match=r"it states 1000000000128 bytes, 227 are there"):
        open_image(path)


def test_more_than_fits_into_the_bytes_is_refused(tmp_path):
    path = with_member(tmp_path, "(2000, 2000)", bytes(4 * 10**6), compress_type=zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match="in a way that NumPy never does"):
        open_image(path)


def test_what_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = a_file(tmp_path, "compressed", a=PLANE)
    monkeypatch.setattr(npz, "_MOST", 1000)
    with pytest.raises(ValueError, match=r"at most 0\.0 GB.*save it with numpy\.savez$"):
        open_image(path)
    assert np.array_equal(read(a_file(tmp_path, "stored", a=PLANE)).array, PLANE)


def test_a_changed_pixel_is_noticed_where_it_is_compressed(tmp_path):
    path = a_file(tmp_path, "compressed", a=PLANE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: .*damaged.*Bad CRC-32"):
        read(path)
