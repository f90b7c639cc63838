import io
import logging
import math
import os
import re
import struct
import subprocess
import sys
import zlib
from importlib import import_module
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image import formats
from microscopygan.image.formats import (
    FORMATS,
    Format,
    Image,
    list_images,
    open_image,
    output_name,
    read,
    write,
)

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (40, 50), dtype=np.uint16)
STACK = RNG.integers(0, 4000, (6, 64, 64), dtype=np.uint16)
LEADING = ["", "Z", "T", "C", "TZ", "ZC", "CZ", "ZT", "TZC", "CTZ", "TCZ"]
SIZES = {"T": 2, "C": 3, "Z": 4, "Y": 33, "X": 35}


@given(
    axes=st.sampled_from(LEADING).map(lambda s: s + "YX"),
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int32", "uint32", "float32", "float64"]),
    suffix=st.sampled_from([".tif", ".ome.tif", ".tiff"]),
    known=st.sets(st.sampled_from("ZYX")),
)
@settings(max_examples=60, deadline=None)
def test_tiff_keeps_pixels_axes_and_pixel_size(tmp_path_factory, axes, dtype, suffix, known):
    path = tmp_path_factory.mktemp("tiff") / f"a{suffix}"
    array = (100 * RNG.random([SIZES[a] for a in axes])).astype(dtype)
    sizes = {a: {"Z": 0.29, "Y": 0.145, "X": 0.1}[a] for a in sorted(known) if a in axes}
    write(path, Image(array, axes, sizes))
    again = read(path)
    assert again.axes == axes
    assert again.array.dtype == dtype
    assert np.array_equal(again.array, array)
    assert again.pixel_size == pytest.approx(sizes)
    assert again.source == path
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_axes_behind_the_plane_move_to_the_front(tmp_path):
    array = RNG.random((20, 30, 4)).astype(np.float32)
    write(tmp_path / "a.tif", Image(array, "YXZ"))
    again = read(tmp_path / "a.tif")
    assert again.axes == "ZYX"
    assert np.array_equal(again.array, np.moveaxis(array, -1, 0))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"metadata": None, "resolution": (1e5, 5e4), "resolutionunit": 3}, {"X": 0.1, "Y": 0.2}),
        ({"metadata": None, "resolution": (72, 72), "resolutionunit": 2}, {}),
        ({"metadata": None}, {}),
        (
            {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "nm", "axes": "YX"}},
            {"X": 2.5e-4, "Y": 2.5e-4},
        ),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "pixel"}}, {}),
        (
            {"ome": True, "metadata": {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm"}},
            {"X": 0.25},
        ),
    ],
)
def test_pixel_size_in_the_units_of_other_programs(tmp_path, settings, expected):
    tifffile.imwrite(tmp_path / "a.tif", PLANE, photometric="minisblack", **settings)
    assert read(tmp_path / "a.tif").pixel_size == pytest.approx(expected)


def test_pages_without_names_are_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", metadata=None)
    assert read(tmp_path / "a.tif").axes == "ZYX"


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.png", Image(PLANE.astype(np.float32), "YX"), "for PNG, got float32"),
        ("a.png", Image(STACK, "ZYX"), "for PNG, got uint16 ZYX"),
        ("a.tif", Image(PLANE.astype(np.int64), "YX"), "try float32, or .npy"),
        ("a.tif", Image(PLANE / np.float32(0.5) * np.nan, "YX"), "NaN"),
        ("a.jpg", Image(PLANE, "YX"), "got suffix '.jpg'"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path, name, image, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / name, image)
    assert list(tmp_path.iterdir()) == []


def tiff_bytes(array: np.ndarray, **settings: object) -> bytes:
    settings = {"photometric": "minisblack"} | settings
    file = io.BytesIO()
    tifffile.imwrite(file, array, **settings)
    return file.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def two_series() -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(PLANE, metadata=None, photometric="minisblack")
        writer.write(PLANE[:20], metadata=None, photometric="minisblack")
    return file.getvalue()


RGB = np.zeros((40, 50, 3), np.uint8)
NAN = np.where(PLANE > 3900, np.nan, 1.0)
OME = {"ome": True, "metadata": {"axes": "ZYX"}}
BAD = {
    "empty.tif": (b"", "empty file"),
    "empty.png": (b"", "empty file"),
    "empty.npy": (b"", "empty file"),
    "noise.tif": (b"II*\0" + bytes(range(200)), "damaged"),
    "noise.png": (b"not a picture", "damaged"),
    "noise.npy": (b"not an array", "damaged"),
    "text.tif": (b"hello", "damaged"),
    "half.tif": (half(tiff_bytes(PLANE)), "damaged"),
    "half_ome.tif": (half(tiff_bytes(STACK, **OME)), "parts missing"),
    "half_ij.tif": (
        half(tiff_bytes(STACK, imagej=True, metadata={"axes": "ZYX"})),
        "parts missing",
    ),
    "half_pages.tif": (half(tiff_bytes(STACK, metadata=None)), "parts missing"),
    "half_zlib.tif": (half(tiff_bytes(STACK, compression="zlib")), "parts missing|damaged"),
    "half.png": (half(imagecodecs.png_encode(PLANE)), "damaged"),
    "half.npy": (half(npy_bytes(PLANE)), "damaged"),
    "rgb.tif": (tiff_bytes(RGB, photometric="rgb"), "colour"),
    "rgb.png": (imagecodecs.png_encode(RGB), "colour"),
    "rgb.npy": (npy_bytes(RGB), "colour"),
    "nan.tif": (tiff_bytes(NAN.astype(np.float32)), "NaN"),
    "nan.npy": (npy_bytes(NAN), "NaN"),
    "inf.npy": (npy_bytes(np.where(PLANE > 3900, np.inf, 1.0)), "NaN or infinite"),
    "bool.npy": (npy_bytes(PLANE > 9), "got bool"),
    "bool.tif": (tiff_bytes(PLANE > 9), "got bool"),
    "complex.npy": (npy_bytes(PLANE * 1j), "got complex128"),
    "complex.tif": (tiff_bytes((PLANE * 1j).astype(np.complex64)), "got complex64"),
    "object.npy": (npy_bytes(np.array([[{}]], object)), "allow_pickle"),
    "nothing.npy": (npy_bytes(np.zeros((0, 5))), "with pixels"),
    "line.npy": (npy_bytes(np.zeros(5)), "2 to 5 dimensions"),
    "six.npy": (npy_bytes(np.zeros((2, 2, 2, 2, 9, 9))), "2 to 5 dimensions"),
    "two.tif": (two_series(), "expected one image"),
    "photo.jpg": (b"x", "suffix '.jpg'"),
    "noname": (b"x", "suffix ''"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(tmp_path, name, caplog, capfd):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name)
    line = str(caught.value)
    assert name in line
    assert "expected" in line
    assert "\n" not in line
    assert len(line) < 400
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@given(st.sampled_from(["tif", "png", "npy"]), st.data())
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_never_gives_other_pixels(tmp_path_factory, suffix, data):
    content = {
        "tif": tiff_bytes(STACK[:, :9, :9], **OME),
        "png": imagecodecs.png_encode(PLANE),
        "npy": npy_bytes(PLANE),
    }[suffix]
    cut = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path_factory.mktemp("cut") / f"a.{suffix}"
    path.write_bytes(content[:cut])
    expected = STACK[:, :9, :9] if suffix == "tif" else PLANE
    try:
        image = read(path)
    except ValueError:
        return
    assert np.array_equal(image.array, expected)


def test_a_set_of_files_with_one_missing(tmp_path):
    content = tiff_bytes(STACK, **OME)
    xml = tifffile.TiffFile(io.BytesIO(content)).ome_metadata
    one = tiff_bytes(STACK[0], metadata=None, description=xml.encode("ascii", "ignore"))
    (tmp_path / "a.ome.tif").write_bytes(one)
    with pytest.raises(ValueError, match=r"a.ome.tif: expected a whole TIFF"):
        read(tmp_path / "a.ome.tif")


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read(tmp_path / "a.tif")
    (tmp_path / "b.tif").mkdir()
    with pytest.raises(ValueError, match="got the folder"):
        read(tmp_path / "b.tif")
    with pytest.raises(FileExistsError, match="got the folder"):
        write(tmp_path / "b.tif", Image(PLANE, "YX"), overwrite=True)


@pytest.mark.parametrize("suffix", ["tif", "ome.tif", "zarr"])
@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "YXZ", "CYX", "TYX", "YX"])
def test_all_that_is_known_of_an_image_survives(tmp_path, suffix, axes):
    array = RNG.integers(0, 99, [SIZES[a] for a in axes], dtype=np.uint16)
    image = Image(
        array,
        axes,
        {a: s for a, s in {"Z": 0.29, "Y": 0.145, "X": 0.1}.items() if a in axes},
        None,
        ("DNA", "β-actin", "dirt")[: SIZES["C"]] if "C" in axes else ("phase <1>",),
        12.5 if "T" in axes else None,
        {"program": "µ 1.0", "settings": {"tile": 64, "dtype": None}, "low": [0.5, 2]},
    )
    write(tmp_path / f"a.{suffix}", image)
    for again in (read(tmp_path / f"a.{suffix}"), open_image(tmp_path / f"a.{suffix}")):
        order = [axes.index(a) for a in again.axes]
        assert sorted(again.axes) == sorted(axes)
        assert again.axes[-2:] == "YX"
        assert np.array_equal(again.array[...], array.transpose(order))
        assert again.pixel_size == pytest.approx(image.pixel_size)
        assert (again.channels, again.interval) == (image.channels, image.interval)
        assert again.provenance == image.provenance


def test_importing_the_formats_loads_none_of_their_libraries():
    code = (
        "import sys, microscopygan.image.formats\n"
        "heavy = {'zarr', 'tifffile', 'imagecodecs', 'fsspec', 'bioio', 'dask', 'psutil'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    python = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=python)
    assert (done.returncode, done.stdout.strip()) == (0, "")


@pytest.mark.parametrize(
    ("name", "shape", "answers"),
    [
        ("a.npy", (3, 64, 64), "ZYX, TYX or CYX"),
        ("a.npy", (2, 3, 9, 8), "TZYX, CZYX or TCYX"),
        ("a.npy", (2, 2, 3, 9, 8), "TCZYX"),
        ("pages.tif", (3, 64, 64), "ZYX, TYX or CYX"),
    ],
)
def test_axes_that_nobody_states_are_a_question(tmp_path, name, shape, answers):
    path, array = tmp_path / name, np.ones(shape, np.uint8)
    if name == "a.npy":
        np.save(path, array)
    else:
        tifffile.imwrite(path, array, metadata=None, photometric="minisblack")
    with pytest.raises(ValueError, match=f"--axes {answers}") as caught:
        open_image(path)
    assert str(shape) in str(caught.value)
    given = answers.split(",")[0]
    assert open_image(path, axes=given.lower()).axes == given
    with pytest.raises(ValueError, match=r"one axis letter for each of \d dimensions \(.*'YX'"):
        open_image(path, axes="YX")


def test_axes_that_the_user_states_override_the_files(tmp_path):
    sizes = {"Z": 0.3, "Y": 0.2, "X": 0.1}
    write(tmp_path / "a.tif", Image(STACK, "ZYX", sizes))
    image = open_image(tmp_path / "a.tif", axes="TYX")
    assert (image.axes, image.pixel_size) == ("TYX", {"Y": 0.2, "X": 0.1})
    rgb = RNG.integers(0, 9, (20, 30, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb")
    assert np.array_equal(open_image(tmp_path / "rgb.tif", axes="YXC").array[:], rgb)


UNITS = [(1, 40, 50), (1, 1, 40, 50), (5, 1, 40, 50), (1, 5, 40, 50), (2, 1, 5, 40, 50)]


@pytest.mark.parametrize("shape", [*UNITS, (40, 50, 1), (5, 40, 50, 1)])
@pytest.mark.parametrize("kind", ["npy", "zarr", "tif"])
def test_stacks_with_axes_of_length_1_need_no_question(tmp_path, shape, kind):
    array, path = RNG.integers(0, 99, shape, dtype=np.uint16), tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, array)
    elif kind == "zarr":
        zarr.create_array(path, data=array)
    else:
        tifffile.imwrite(path, array, photometric="minisblack")
    image = open_image(path)
    assert image.array.shape == (shape[:-1] if kind == "npy" and shape[-1] == 1 else shape)
    assert np.array_equal(image.array[...].ravel(), array.ravel())
    assert image.axes.replace("C", "")[-2:] == "YX"
    write(tmp_path / f"b.{kind}", Image(image.array[...], image.axes))
    again = read(tmp_path / f"b.{kind}")
    assert math.prod(again.array.shape) == math.prod(shape)


@pytest.mark.parametrize(
    ("shape", "given", "axes"),
    [
        ((1, 5, 40, 50), "ZYX", "TZYX"),
        ((5, 1, 40, 50), "TYX", "TZYX"),
        ((1, 1, 40, 50), "YX", "ZTYX"),
        ((40, 50), "TZYX", "YX"),
    ],
)
def test_axes_of_length_1_may_be_left_out(tmp_path, shape, given, axes):
    np.save(tmp_path / "a.npy", np.ones(shape, np.uint8))
    assert open_image(tmp_path / "a.npy", axes=given).axes == axes


TABLE = re.compile(r"<!-- formats -->\n(.*?)<!-- /formats -->", re.DOTALL)


def table() -> str:
    """The table of formats in Markdown, made from the rows."""
    lines = ["| format | suffixes | read | written | metadata kept |", "|---|---|---|---|---|"]
    for form in FORMATS:
        more = f"with the package `{form.package}`" if form.package else "yes"
        ways = ["resumed after a stop"] * form.resumes + ["by several processes"] * form.blocks
        instead = f"as `{output_name(Path(f'NAME{form.suffixes[0]}'))}`"
        written = ", ".join(["yes", *ways]) if form.creates else instead
        suffixes = ", ".join(f"`{suffix}`" for suffix in form.suffixes)
        cells = (form.name, suffixes, more if form.opens else "no", written, form.keeps)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_documentation_has_the_table_of_the_rows():
    text = Path(__file__).parents[3].joinpath("docs/restoring.md").read_text(encoding="utf-8")
    found = TABLE.search(text)
    assert found
    assert found[1] == table()


def test_every_row_names_functions_that_are_there():
    for form in FORMATS:
        for name in filter(None, (form.opens, form.creates)):
            module, function = name.split(".")
            assert callable(
                getattr(import_module(f"microscopygan.image.formats.{module}"), function)
            )
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(set(suffixes)) == len(suffixes)


def test_a_format_is_a_row(tmp_path, monkeypatch):
    """One that is only written is neither listed nor read, one that is only read not written."""
    rows = (
        Format("numbers", (".num",), None, "plain.create_npy"),
        Format("raw", (".raw",), "plain.open_npy"),
    )
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, *rows))
    write(tmp_path / "a.num", Image(PLANE, "YX"))
    assert list_images([tmp_path]) == []
    with pytest.raises(ValueError, match="numbers is only written"):
        read(tmp_path / "a.num")
    (tmp_path / "a.num").rename(tmp_path / "a.raw")
    assert list_images([tmp_path]) == [tmp_path / "a.raw"]
    assert np.array_equal(read(tmp_path / "a.raw").array, PLANE)
    with pytest.raises(ValueError, match=r"of \.tif.*\.num, got \.raw, which is only read"):
        write(tmp_path / "b.raw", Image(PLANE, "YX"))
    with pytest.raises(ValueError, match=r"\(\.tif, .*\.raw\), got suffix '\.doc'"):
        list_images([write_nothing(tmp_path / "a.doc")])


def write_nothing(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


def test_no_other_module_names_a_suffix():
    """Messages and choices are made from the rows; examples in docstrings and defaults are not."""
    package = Path(formats.__file__).parents[2]
    compared = re.compile(r"suffix[^\n]*[=!]= *\"\.|suffix[^\n]* in \(\"\.")
    places = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if path.parent.name != "formats" and compared.search(path.read_text(encoding="utf-8"))
    ]
    assert places == ["datasets/folder.py"]  # the layout of 2019 is made of .npy files


def test_listing(tmp_path):
    for name in ("b.tif", "a.PNG", "c.txt", ".hidden.tif", "d.npy", "file.zarr"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "e.ome.zarr/0").mkdir(parents=True)
    (tmp_path / "e.ome.zarr/inner.tif").write_bytes(b"x")
    names = ["a.PNG", "b.tif", "d.npy", "e.ome.zarr"]
    assert [p.name for p in list_images([tmp_path])] == names
    assert [p.name for p in list_images([tmp_path / "b.tif", str(tmp_path)])] == names
    assert list_images([tmp_path / "folder.tif"]) == []
    with pytest.raises(ValueError, match=r"got suffix '\.txt'"):
        list_images([tmp_path / "c.txt"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list_images([tmp_path / "e.tif"])


def test_listing_patterns_and_urls(tmp_path):
    for name in ("p/b.tif", "p/q/c.tif", "p/a[1].tif", "p/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = list_images([f"{tmp_path}/p/*.tif", tmp_path / "p/b.tif"])
    assert [Path(p).name for p in found] == ["a[1].tif", "b.tif"]
    assert [Path(p).name for p in list_images([f"{tmp_path}/**/*"])] == [
        "a[1].tif",
        "b.tif",
        "c.tif",
    ]
    assert list_images([tmp_path / "p/a[1].tif"]) == [tmp_path / "p/a[1].tif"]
    urls = ["s3://bucket/a.zarr", "https://host/b.zarr"]
    assert list_images([*urls, tmp_path / "p/b.tif"]) == [tmp_path / "p/b.tif", *urls]
    with pytest.raises(FileNotFoundError, match=r"match .*\*\.txt, got none"):
        list_images([f"{tmp_path}/p/*.txt"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("suffix", [".tif", ".ome", ".npy", ".png", ".czi"])
def test_pipes_and_devices_are_refused(tmp_path, suffix):
    pipe, device = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device):
        assert list_images([path]) == [path]
        with pytest.raises(ValueError, match=r"expected an image file, got a pipe or a device"):
            open_image(path)


@pytest.mark.skipif(os.name == "nt", reason="sparse files of POSIX")
def test_a_size_that_is_not_on_the_disk_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": (1_000_000, 1_000_000)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2 * 10**12)
    with pytest.raises(ValueError, match=r"a\.npy: expected pixels of 2000000000128 bytes, got"):
        open_image(path)


def test_a_png_that_would_fill_the_memory_is_refused(tmp_path):
    size, body = struct.pack(">II", 40_000, 40_000), os.urandom(200_000)
    parts = {b"IHDR": size + bytes([8, 0, 0, 0, 0]), b"IDAT": body, b"IEND": b""}
    content = b"\x89PNG\r\n\x1a\n"
    for kind, part in parts.items():
        checksum = struct.pack(">I", zlib.crc32(kind + part))
        content += struct.pack(">I", len(part)) + kind + part + checksum
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="40000×40000 pixels would be decoded at once"):
        open_image(tmp_path / "a.png")
