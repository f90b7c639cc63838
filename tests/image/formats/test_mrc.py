"""MRC: planes and volumes both ways, and as `mrcfile`, the reference, reads and writes them."""

from pathlib import Path

import numpy as np
import pytest

from microscopygan.image.formats import Image, open_image, read, write

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (5, 20, 30), dtype=np.uint16)
SIZES = {"Z": 0.3, "Y": 0.1, "X": 0.2}


def header_of(path: Path, **changes: tuple[str, object]) -> bytearray:
    """Return a file's bytes with some words of its header changed: ``_88=("<i4", 0)``."""
    content = bytearray(path.read_bytes())
    for place, (kind, value) in changes.items():
        word = np.array(value, kind).tobytes()
        content[int(place[1:]) : int(place[1:]) + len(word)] = word
    return content


@pytest.mark.parametrize("axes", ["YX", "ZYX", "XZY"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
def test_all_that_it_holds_survives(tmp_path, axes, dtype):
    shape = [{"Z": 5, "Y": 20, "X": 30}[a] for a in axes]
    array = (100 * RNG.random(shape)).astype(dtype)
    about = {"description": "first line\nsecond"}
    places = {a: 1.5 for a in axes}
    sizes = {a: SIZES[a] for a in axes}
    write(tmp_path / "a.mrc", Image(array, axes, sizes, origin=places, details=about))
    for again in (read(tmp_path / "a.mrc"), open_image(tmp_path / "a.mrc")):
        assert again.axes == axes.replace("XZY", "ZYX")
        assert again.array.dtype == dtype
        expected = array.transpose([axes.index(a) for a in again.axes])
        assert np.array_equal(again.array[...], expected)
        assert again.pixel_size == pytest.approx(sizes)
        assert again.origin == pytest.approx(places)
        assert again.details == about
    assert [p.name for p in tmp_path.iterdir()] == ["a.mrc"]


def test_what_is_not_known_stays_so(tmp_path):
    write(tmp_path / "a.mrc", Image(STACK, "ZYX"))
    image = open_image(tmp_path / "a.mrc")
    assert (image.pixel_size, image.origin, image.details) == ({}, {}, {})


def test_unsigned_bytes_become_uint16(tmp_path):
    small = STACK.astype(np.uint8)
    write(tmp_path / "a.mrc", Image(small, "ZYX"))
    image = read(tmp_path / "a.mrc")
    assert image.array.dtype == np.uint16
    assert np.array_equal(image.array, small)


@pytest.mark.parametrize(
    "image", [Image(STACK, "TYX"), Image(STACK.astype(np.float64), "ZYX")], ids=["T", "float64"]
)
def test_what_it_cannot_hold(tmp_path, image):
    with pytest.raises(ValueError, match=r"expected a plane or a stack \(ZYX\) .* for MRC"):
        write(tmp_path / "a.mrc", image)
    assert list(tmp_path.iterdir()) == []


def test_the_planes_of_an_image_stack_are_a_question(tmp_path):
    path = write(tmp_path / "a.mrc", Image(STACK, "ZYX", SIZES))
    path.write_bytes(header_of(path, _88=("<i4", 0)))
    with pytest.raises(ValueError, match="give --axes ZYX, TYX or CYX"):
        open_image(path)
    assert open_image(path, axes="TYX").pixel_size == pytest.approx({"Y": 0.1, "X": 0.2})
    path.write_bytes(header_of(path, _8=("<i4", 4), _36=("<i4", 2), _88=("<i4", 401)))
    assert open_image(path, axes="TZYX").array.shape == (2, 2, 20, 30)


def test_axes_in_another_order(tmp_path):
    path = write(tmp_path / "a.mrc", Image(STACK, "ZYX", SIZES))
    path.write_bytes(header_of(path, _64=("<i4", [3, 1, 2])))
    image = open_image(path)
    assert (image.axes, image.array.shape) == ("YXZ", STACK.shape)


def test_bytes_of_imod_are_unsigned(tmp_path):
    path = write(tmp_path / "a.mrc", Image(np.full((9, 9), -1, np.int8), "YX"))
    assert read(path).array.min() == -1
    path.write_bytes(header_of(path, _152=("<i4", 1146047817)))
    assert read(path).array.min() == 255


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_0": ("<i4", 31)}, "200 bytes too short"),
        ({"_0": ("<i4", -30)}, r"a size of \[-30, 20, 5\] pixels"),
        ({"_12": ("<i4", 4)}, r"the kind \(mode\) 4"),
        ({"_12": ("<i4", -1)}, "no kind of pixels"),
        ({"_92": ("<i4", -5000)}, "a size of"),
    ],
)
def test_a_damaged_header_is_one_line(tmp_path, changes, said):
    path = write(tmp_path / "a.mrc", Image(STACK, "ZYX"))
    path.write_bytes(header_of(path, **changes))
    with pytest.raises(ValueError, match=said) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: expected an image (MRC)")


@pytest.mark.parametrize("kind", ["<i2", ">i2", ">i1", ">f4"])
def test_files_of_the_reference_are_read(tmp_path, kind):
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data((STACK // 40).astype(kind))
        file.set_volume()
        file.voxel_size = (2000.0, 1000.0, 3000.0)
    image = open_image(tmp_path / "a.mrc")
    assert np.array_equal(image.array[...], STACK // 40)
    assert (image.axes, image.pixel_size) == ("ZYX", pytest.approx(SIZES))


def test_the_reference_finds_no_fault(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    write(tmp_path / "a.mrc", Image(STACK, "ZYX", SIZES))
    assert mrcfile.validate(tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as file:
        assert np.array_equal(file.data, STACK)
        assert file.is_volume()
        assert file.voxel_size.tolist() == pytest.approx((2000.0, 1000.0, 3000.0))
        assert file.header.rms == pytest.approx(STACK.std())
