import io
import logging
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.formats import (
    Header,
    Image,
    create,
    list_images,
    open_image,
    output_name,
    read,
    tiff,
    write,
)
from microscopygan.image.lazy import MappedArray
from microscopygan.image.pyramid import mean

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (5, 70, 90), dtype=np.uint16)
ZYX = {"metadata": {"axes": "ZYX"}}
KINDS = {
    "contiguous": {"ome": True, **ZYX},
    "big-endian": {"ome": True, "byteorder": ">", **ZYX},
    "BigTIFF": {"ome": True, "bigtiff": True, **ZYX},
    "ImageJ": {"imagej": True, **ZYX},
    "tiled": {"ome": True, "tile": (32, 48), **ZYX},
    "compressed": {"ome": True, "compression": "zlib", "rowsperstrip": 16, **ZYX},
    "tiled, compressed": {"ome": True, "tile": (32, 32), "compression": "lzw", **ZYX},
    "predicted, big-endian": {
        **{"ome": True, "tile": (64, 64), "compression": "zlib", "predictor": True},
        **{"byteorder": ">", **ZYX},
    },
}
MAPPED = ("contiguous", "big-endian", "BigTIFF", "ImageJ")


@pytest.fixture(params=[2**26, 0], ids=["at once", "by tile"])
def decoding(request, monkeypatch):
    """Decode compressed images as a whole, or tile by tile as large ones."""
    monkeypatch.setattr(tiff, "_AT_ONCE", request.param)
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_regions_are_those_of_the_whole_image(tmp_path, kind, decoding):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **KINDS[kind])
    image = open_image(path)
    assert (image.axes, image.array.dtype) == ("ZYX", np.uint16)
    assert (image.array.source.func is MappedArray) == (kind in MAPPED)
    for key in [0, -1, (slice(1, 4), slice(10, 50), slice(33, 35)), (..., 7), np.s_[:, ::9, ::8]]:
        block = image.array[key]
        assert block.dtype == np.uint16
        assert np.array_equal(block, STACK[key])
    if kind == "tiled" and not decoding:
        assert image.chunks == (1, 32, 48)


def test_the_full_resolution_of_a_pyramid(tmp_path, decoding):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        settings = {"tile": (32, 32), "photometric": "minisblack"}
        writer.write(STACK, subifds=2, metadata={"axes": "ZYX", "PhysicalSizeX": 0.2}, **settings)
        writer.write(STACK[:, ::2, ::2], subfiletype=1, **settings)
        writer.write(STACK[:, ::4, ::4], subfiletype=1, **settings)
    image = open_image(path)
    assert (image.axes, image.pixel_size) == ("ZYX", {"X": 0.2})
    assert np.array_equal(image.array[1:3, 20:60, 5:], STACK[1:3, 20:60, 5:])


def file_set(folder: Path, planes: int = 3) -> list[Path]:
    """Write an OME-TIFF of one file for each plane."""
    paths = [folder / f"p{k}.ome.tif" for k in range(planes)]
    data = "".join(
        f'<TiffData FirstZ="{k}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{path.name}">urn:uuid:{k}</UUID></TiffData>'
        for k, path in enumerate(paths)
    )
    for k, path in enumerate(paths):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/'
            f'Schemas/OME/2016-06" UUID="urn:uuid:{k}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            f'DimensionOrder="XYZCT" Type="uint16" SizeX="90" SizeY="70" SizeZ="{planes}" '
            f'SizeC="1" SizeT="1"><Channel ID="Channel:0"/>{data}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            path, STACK[k], photometric="minisblack", description=xml.encode(), metadata=None
        )
    return paths


def test_an_image_of_several_files(tmp_path, decoding):
    paths = file_set(tmp_path)
    assert np.array_equal(open_image(paths[0]).array[:, 3], STACK[:3, 3])
    paths[1].unlink()
    with pytest.raises(ValueError, match=r"p0\.ome\.tif: expected a whole TIFF file, .* missing"):
        open_image(paths[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ImageJ"])
def test_planes_that_are_missing_are_seen_at_once(tmp_path, kind):
    file = io.BytesIO()
    tifffile.imwrite(file, STACK, photometric="minisblack", **KINDS[kind])
    content = file.getvalue().replace(b'SizeZ="5"', b'SizeZ="8"')
    (tmp_path / "a.ome.tif").write_bytes(content)
    image = open_image(tmp_path / "a.ome.tif")
    assert "counts 8 planes, it holds 5 planes" in image.notes[0]
    assert np.array_equal(image.array[2:], STACK[2:])
    (tmp_path / "a.ome.tif").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ValueError, match="parts missing"):
        open_image(tmp_path / "a.ome.tif")


def test_damaged_tiles_are_one_line_when_they_are_read(tmp_path, decoding, caplog):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **KINDS["tiled, compressed"])
    with tifffile.TiffFile(path) as file:
        start = file.pages[2].dataoffsets[4]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(range(200, 250)))
    image = open_image(path)
    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError, match="damaged") as caught:
        image.array[2]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caplog.records
    if not decoding:
        assert np.array_equal(image.array[1], STACK[1])


@pytest.mark.parametrize(
    ("metadata", "sizes", "interval"),
    [
        ({"PhysicalSizeX": 0.0, "PhysicalSizeY": -1.0}, {}, None),
        ({"PhysicalSizeX": float("nan"), "PhysicalSizeZ": 1}, {"Z": 1.0}, None),
        ({"PhysicalSizeZ": 200, "PhysicalSizeZUnit": "nm"}, {"Z": 0.2}, None),
        ({"TimeIncrement": 1.5, "TimeIncrementUnit": "min"}, {}, 90.0),
        ({"TimeIncrement": 250, "TimeIncrementUnit": "ms"}, {}, 0.25),
        ({"TimeIncrement": -1.0}, {}, None),
    ],
)
def test_sizes_and_times_that_ome_states(tmp_path, metadata, sizes, interval):
    axes = "TYX" if "TimeIncrement" in metadata else "ZYX"
    metadata = metadata | {"axes": axes}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, photometric="minisblack", metadata=metadata)
    image = open_image(tmp_path / "a.ome.tif")
    assert image.pixel_size == pytest.approx(sizes)
    assert image.interval == pytest.approx(interval)


def test_frames_and_labels_of_imagej(tmp_path):
    array = STACK[:4].reshape(2, 2, 70, 90)
    metadata = {"axes": "TCYX", "finterval": 0.5, "Labels": ["DNA", "actin"] * 2, "Info": "x: 1"}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata=metadata)
    image = open_image(tmp_path / "a.tif")
    assert (image.axes, image.interval, image.channels) == ("TCYX", 0.5, ("DNA", "actin"))
    assert image.provenance == {}
    metadata["Labels"] = ["a", "b", "c", "d"]  # of planes, not of channels
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata=metadata)
    assert open_image(tmp_path / "a.tif").channels == ()


def test_provenance_that_somebody_edited_is_left_out(tmp_path):
    info = "microscopygan: {not json}"
    metadata = {"axes": "ZYX", "Info": info}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata=metadata)
    assert open_image(tmp_path / "a.tif").provenance == {}


@given(st.sampled_from(["uint8", "uint16", "float32", "float64", "int32"]), st.data())
@settings(max_examples=20, deadline=None)
def test_which_tiff_is_written(tmp_path_factory, dtype, data):
    axes = data.draw(st.sampled_from(["YX", "ZYX", "TZCYX", "CZYX", "ZCYX"]))
    path = tmp_path_factory.mktemp("kind") / "a.tif"
    write(path, Image(np.ones([2] * len(axes), dtype), axes))
    with tifffile.TiffFile(path) as file:
        imagej = dtype in ("uint8", "uint16", "float32") and axes != "CZYX"
        assert (file.is_imagej, file.is_ome) == (imagej, not imagej)


def test_outputs_above_4_gb_are_ome_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("microscopygan.image.formats.tiff.reserve", lambda path: None)  # sparse
    header = Header((3, 40_000, 40_000), "uint16", "ZYX", {"Y": 0.1, "X": 0.1})
    with create(tmp_path / "a.tif", header) as target:
        target.array[2, 39_990:, 39_990:] = 7
    image = open_image(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
    assert (image.array.shape, image.pixel_size) == (header.shape, header.pixel_size)
    assert image.array[2, 39_985:, 39_985:].sum() == 700


def test_the_metadata_are_valid_ome_xml(tmp_path):
    sizes = {"Z": 0.3, "Y": 0.1, "X": 0.1}
    image = Image(STACK[None], "CZYX", sizes, None, ("a & <b>",), None, {"é": ["µ", None]})
    write(tmp_path / "a.ome.tif", image)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        xml = file.ome_metadata
    assert xml.index("<Pixels") < xml.index("<AnnotationRef") < xml.index("<StructuredAnnotations")
    again = read(tmp_path / "a.ome.tif")
    assert (again.channels, again.provenance) == (image.channels, image.provenance)
    assert again.pixel_size == sizes


@pytest.mark.parametrize("suffix", [".btf", ".tf8", ".tf2", ".ome.btf", ".ome.tf8"])
def test_big_tiffs_of_ome(tmp_path, suffix):
    image = Image(STACK, "ZYX", {"Z": 0.3, "Y": 0.1, "X": 0.1})
    tifffile.imwrite(
        tmp_path / f"a{suffix}",
        STACK,
        **{"ome": True, "bigtiff": True, "photometric": "minisblack"},
        metadata={"axes": "ZYX", "PhysicalSizeX": 0.1},
    )
    again = open_image(tmp_path / f"a{suffix}")
    assert (again.axes, again.pixel_size) == ("ZYX", {"X": 0.1})
    assert np.array_equal(again.array[1:3, 5], STACK[1:3, 5])
    write(tmp_path / f"b{suffix}", image)
    with tifffile.TiffFile(tmp_path / f"b{suffix}") as file:
        assert (file.is_bigtiff, file.is_ome) == (True, True)
    assert read(tmp_path / f"b{suffix}").pixel_size == image.pixel_size
    assert [p.name for p in list_images([tmp_path])] == [f"a{suffix}", f"b{suffix}"]


def moved_tag(path: Path, code: int, content: bytes) -> None:
    """Move the value of a tag of the first page to the end of a classic, little-endian TIFF."""
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[code].offset
    raw = bytearray(path.read_bytes())
    raw[place + 8 : place + 12] = struct.pack("<I", len(raw))
    path.write_bytes(bytes(raw) + content)


def write_stk(path: Path) -> None:
    """Write a MetaMorph stack: one page of all planes, with distances and a calibration."""
    number = len(STACK)
    tags = [(33629, 5, number, (1, 1) * number, True), (33628, 4, 4, (0,) * 4, True)]
    tifffile.imwrite(
        path, STACK[0], photometric="minisblack", metadata=None, byteorder="<", extratags=tags
    )
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    raw = path.read_bytes()
    assert start + STACK[0].nbytes == len(raw)
    path.write_bytes(raw + STACK[1:].astype("<u2").tobytes())
    moved_tag(path, 33629, struct.pack("<6I", 3, 10, 2459000, 0, 2459000, 0) * number)
    offset = path.stat().st_size
    values = struct.pack("<2I2I", 1, 10, 1, 5) + struct.pack("<I3s", 3, b"um\0")
    path.write_bytes(path.read_bytes() + values)
    pairs = [(3, 1), (4, offset), (5, offset + 8), (6, offset + 16)]
    moved_tag(path, 33628, b"".join(struct.pack("<2I", *pair) for pair in pairs))


def write_lsm(path: Path) -> None:
    """Write a Zeiss LSM stack: a thumbnail behind each plane."""
    info = np.zeros(1, [(name or "rest", kind) for name, kind in tifffile.TIFF.CZ_LSMINFO])
    sizes = {"X": STACK.shape[2], "Y": STACK.shape[1], "Z": len(STACK), "Channels": 1, "Time": 1}
    about = {f"Dimension{name}": size for name, size in sizes.items()}
    about |= {"VoxelSizeX": 1e-7, "VoxelSizeY": 1e-7, "VoxelSizeZ": 3e-7, "TimeIntervall": 0}
    about |= {"MagicNumber": 67127628, "StructureSize": info.itemsize}
    for name, value in about.items():
        info[name] = value
    with tifffile.TiffWriter(path, byteorder="<") as writer:
        for k, plane in enumerate(STACK):
            tag = [] if k else [(34412, 1, info.nbytes, info.tobytes(), True)]
            settings = {"photometric": "minisblack", "metadata": None, "contiguous": False}
            writer.write(plane, extratags=tag, **settings)
            writer.write(plane[::8, ::8], subfiletype=1, **settings)


@pytest.mark.parametrize(
    ("name", "make", "sizes"),
    [
        ("a.stk", write_stk, {"Z": 0.3, "Y": 0.2, "X": 0.1}),
        ("a.lsm", write_lsm, {"Z": 0.3, "Y": 0.1, "X": 0.1}),
    ],
)
def test_stacks_of_metamorph_and_zeiss(tmp_path, name, make, sizes):
    make(tmp_path / name)
    image = open_image(tmp_path / name)
    assert image.axes == "ZYX"
    assert image.pixel_size == pytest.approx(sizes)
    assert np.array_equal(image.array[1:3, 5:9], STACK[1:3, 5:9])
    assert np.array_equal(read(tmp_path / name).array, STACK)


@pytest.mark.parametrize("suffix", [".lsm", ".stk", ".flex"])
def test_tiffs_with_the_suffixes_of_microscopes_are_read_only(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    tifffile.imwrite(path, STACK, photometric="minisblack", metadata=None)
    assert np.array_equal(open_image(path, axes="ZYX").array[2], STACK[2])
    assert list_images([tmp_path]) == [path]
    assert output_name(path) == "a.ome.tif"
    with pytest.raises(ValueError, match=rf"got \{suffix}, which is only read"):
        write(path, Image(STACK, "ZYX"), overwrite=True)


def imagej(path: Path, array: np.ndarray, text: str, **settings: object) -> None:
    settings = {"photometric": "minisblack", "metadata": None, "resolutionunit": 1} | settings
    tifffile.imwrite(path, array, description=f"ImageJ=1.54f\n{text}", **settings)


def shown(path: Path) -> np.ndarray:
    """Grey values as a viewer shows them."""
    with tifffile.TiffFile(path) as file:
        pixels = file.asarray()
        inverted = file.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
    return np.iinfo(pixels.dtype).max - pixels if inverted else pixels


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.npy", "a.png", "a.zarr"])
def test_white_as_zero_looks_the_same_afterwards(tmp_path, dtype, name):
    pixels = STACK[0].astype(dtype)
    stored = np.iinfo(dtype).max - pixels
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric="miniswhite", metadata=None)
    image = read(tmp_path / "in.tif")
    assert np.array_equal(image.array, pixels)
    write(tmp_path / name, image)
    assert np.array_equal(read(tmp_path / name).array, pixels)
    if name.endswith(".tif"):
        assert np.array_equal(shown(tmp_path / name), pixels)
        assert np.array_equal(tifffile.imread(tmp_path / name), stored)


def test_signed_integers_of_imagej(tmp_path):
    signed = STACK.astype(np.int16) - 2000
    text = (
        f"images={len(STACK)}\nslices={len(STACK)}\ncf=0\nc0=-32768.0\nc1=1.0\nvunit=Gray Value\n"
    )
    imagej(tmp_path / "a.tif", (signed.astype(np.int32) + 32768).astype(np.uint16), text)
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.array, signed)
    for name in ("b.tif", "b.ome.tif", "b.zarr"):
        write(tmp_path / name, image)
        assert np.array_equal(read(tmp_path / name).array, signed)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        about = file.imagej_metadata
        assert (about["cf"], about["c0"], about["c1"]) == (0, -32768.0, 1.0)
        assert np.array_equal(file.asarray(), tifffile.imread(tmp_path / "a.tif"))


def test_other_calibrations_of_imagej_are_kept(tmp_path):
    text = "unit=micron\ncf=3\nc0=1.0\nc1=2.0\nvunit=OD\n"
    imagej(tmp_path / "a.tif", STACK[0], text, resolution=(4, 4))
    write(tmp_path / "b.tif", read(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        about = file.imagej_metadata
    assert (about["cf"], about["c0"], about["c1"], about["vunit"]) == (3, 1.0, 2.0, "OD")


@pytest.mark.parametrize(
    ("text", "sizes", "kept"),
    [
        (
            "slices=5\nunit=micron\nzunit=nm\nspacing=500.0\n",
            {"Z": 0.5, "Y": 0.25, "X": 0.25},
            {"unit": "um", "spacing": 0.5},
        ),
        ("slices=5\nunit=micron\nyunit=sec\n", {"X": 0.25}, {"unit": "um", "yunit": "sec"}),
        (
            "slices=5\nunit=nm\nyunit=sec\nspacing=7.0\nzunit=rad\n",
            {"X": 0.00025},
            {"yunit": "sec", "zunit": "rad", "spacing": 7.0},
        ),
        (
            "slices=5\nunit=micron\nspacing=-0.5\n",
            {"Z": 0.5, "Y": 0.25, "X": 0.25},
            {"spacing": -0.5},
        ),
        ("slices=5\nunit=pixel\nspacing=2.0\n", {}, {}),
    ],
)
def test_units_of_each_axis(tmp_path, text, sizes, kept):
    imagej(tmp_path / "a.tif", STACK, f"images=5\n{text}", resolution=(4, 4))
    image = read(tmp_path / "a.tif")
    assert image.pixel_size == pytest.approx(sizes)
    write(tmp_path / "b.tif", image)
    again = read(tmp_path / "b.tif")
    assert again.pixel_size == pytest.approx(sizes)
    assert again.details.get("scales") == image.details.get("scales")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert {key: file.imagej_metadata[key] for key in kept} == kept


@pytest.mark.parametrize(("dpi", "size"), [(254_000, 0.1), (4800, 25400 / 4800), (300, None)])
def test_sizes_in_inches_where_they_are_plausible(tmp_path, dpi, size):
    settings = {"resolution": (dpi, dpi), "resolutionunit": 2, "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="minisblack", **settings)
    expected = {} if size is None else {"Y": size, "X": size}
    assert read(tmp_path / "a.tif").pixel_size == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "pages", "axes", "lengths"),
    [
        ("slices=5\n", 4, "ZYX", (4,)),  # one that is there less
        ("slices=3\n", 5, "ZYX", (5,)),  # and more
        ("slices=2\nframes=4\nhyperstack=true\n", 5, "TZYX", (2, 2)),  # stopped early
        ("slices=2\nframes=1\nchannels=1\n", 5, "ZYX", (5,)),
    ],
)
def test_counts_of_imagej_that_do_not_fit(tmp_path, text, pages, axes, lengths):
    imagej(tmp_path / "a.tif", STACK[:pages], f"images={pages}\n{text}")
    image = open_image(tmp_path / "a.tif")
    assert (image.axes, image.array.shape[:-2]) == (axes, lengths)
    number = int(np.prod(lengths))
    assert np.array_equal(image.array[...].reshape(-1, 70, 90), STACK[:number])
    assert f"it holds {pages} planes" in image.notes[0]


def test_spare_planes_of_imagej_are_a_question_whose_answer_is_taken(tmp_path):
    imagej(tmp_path / "a.tif", STACK, "images=5\nslices=2\nframes=2\nhyperstack=true\n")
    with pytest.raises(ValueError, match=r"\(2 frames × 2 slices\), got 5; give --axes ZYX or TYX"):
        open_image(tmp_path / "a.tif")
    for axes in ("ZYX", "TYX"):
        image = open_image(tmp_path / "a.tif", axes=axes)
        assert (image.axes, image.array.shape) == (axes, STACK.shape)
        assert np.array_equal(image.array[...], STACK)


@pytest.mark.parametrize(("planar", "axes"), [("separate", "ZYX"), ("contig", "YXC")])
def test_colours_that_may_be_grey_planes_name_the_answer(tmp_path, planar, axes):
    array = STACK[:3] if planar == "separate" else np.moveaxis(STACK[:3], 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", planarconfig=planar)
    with pytest.raises(ValueError, match=f"give --axes {axes}"):
        open_image(tmp_path / "a.tif")
    assert np.array_equal(open_image(tmp_path / "a.tif", axes=axes).array[...], array)


PLACED = {
    "name": "tile_7",
    "acquired": "2024-01-01T00:00:00",
    "channels": [{"color": "0000FF", "emission": 461.0}, {"color": "FF0000", "emission": 520.0}],
}
PLACE = {"Y": 5754.4, "X": -8250.5}


@pytest.mark.parametrize("first", ["ome.tif", "zarr"])
@pytest.mark.parametrize("second", ["ome.tif", "tif", "zarr"])
def test_place_and_description_are_carried_over(tmp_path, first, second):
    array = STACK[:4].reshape(2, 2, 70, 90)
    sizes = {"Z": 1.0, "Y": 0.2, "X": 0.2}
    image = Image(array, "CZYX", sizes, None, ("a", "b"), None, {}, PLACE | {"Z": 2.5}, PLACED)
    write(tmp_path / f"a.{first}", image)
    write(tmp_path / f"b.{second}", read(tmp_path / f"a.{first}"))
    again = read(tmp_path / f"b.{second}")
    assert again.origin == pytest.approx(image.origin)
    assert again.pixel_size == pytest.approx(sizes)
    assert again.details["name"] == "tile_7"
    assert [c["color"] for c in again.details["channels"]] == ["0000FF", "FF0000"]
    assert [c["emission"] for c in again.details["channels"]] == [461, 520]
    if (first, second) == ("ome.tif", "ome.tif"):
        assert again.details["acquired"] == PLACED["acquired"]
        assert again.details["planes"]["PositionZ"] == [2.5, 3.5, 2.5, 3.5]


def test_values_of_planes_are_carried_over(tmp_path):
    number = len(STACK)
    plane = {
        **{"ExposureTime": [0.1 * k for k in range(number)], "PositionX": [7.5] * number},
        **{"ExposureTimeUnit": ["s"] * number, "PositionXUnit": ["mm"] * number},
    }
    about = {"axes": "TYX", "Plane": plane}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, photometric="minisblack", metadata=about)
    write(tmp_path / "b.ome.tif", read(tmp_path / "a.ome.tif"))
    for name in "ab":
        image = read(tmp_path / f"{name}.ome.tif")
        assert image.details["planes"]["ExposureTime"] == pytest.approx(plane["ExposureTime"])
        assert image.origin == {"X": 7500.0}


@pytest.mark.parametrize("name", ["b.tif", "b.ome.tif"])
@pytest.mark.parametrize("tile", [None, (32, 48)])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_compression_is_carried_over(tmp_path, name, tile, compression):
    stack = STACK // 100
    how = {"compression": compression, "predictor": True, "tile": tile}
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **ZYX, **how, ome=True)
    image = replace(read(tmp_path / "a.tif"), array=stack)
    write(tmp_path / name, image)
    assert np.array_equal(read(tmp_path / name).array, stack)
    with tifffile.TiffFile(tmp_path / name) as file:
        page = file.pages[1]
        assert page.compression.name in (compression.upper(), "ADOBE_DEFLATE")
        assert (page.predictor, page.is_tiled) == (2, tile is not None)
    assert (tmp_path / name).stat().st_size < stack.nbytes
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.tif", name])


LARGE = np.add.outer(RNG.integers(0, 400, (2, 3)), np.add.outer(np.arange(603), np.arange(1100)))
LARGE = LARGE.astype(np.uint16)


def pyramid(path: Path) -> list[np.ndarray]:
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert len(file.series) == 1
        return [level.asarray() for level in file.series[0].levels]


@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.btf"])
def test_a_pyramid_as_others_read_it(tmp_path, name, compression):
    path, image = tmp_path / name, Image(LARGE, "CZYX", {"Y": 0.1, "X": 0.1}, None, ("a", "b"))
    with create(path, image.header, compression=compression, pyramid=True) as target:
        target.array[...] = LARGE
    assert [one.name for one in tmp_path.iterdir()] == [name]
    levels = pyramid(path)
    assert [level.shape[2:] for level in levels] == [(603, 1100), (302, 550), (151, 275)]
    for level, above in zip(levels[1:], levels, strict=False):
        assert np.array_equal(level, mean(above, (1, 1, 2, 2)))
    again = open_image(path)
    assert np.array_equal(again.array[...], LARGE)
    assert (again.axes, again.pixel_size, again.channels) == ("CZYX", image.pixel_size, ("a", "b"))
    assert again.details["pyramid"]
    with tifffile.TiffFile(path) as file:
        page = file.pages[4]
        assert (len(page.subifds), page.tile) == (2, (256, 256))
        stated = {"none": "NONE", "zlib": "ADOBE_DEFLATE", "zstd": "ZSTD"}[compression]
        assert page.compression.name == stated


def test_a_pyramid_is_carried_over(tmp_path):
    with create(tmp_path / "a.ome.tif", Header(LARGE.shape, "uint16", "CZYX"), pyramid=True) as one:
        one.array[...] = LARGE
    write(tmp_path / "b.ome.tif", read(tmp_path / "a.ome.tif"))
    first, second = (pyramid(tmp_path / name) for name in ("a.ome.tif", "b.ome.tif"))
    assert len(first) == len(second) == 3
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int16"])
def test_compression_that_is_wanted(tmp_path, dtype):
    stack = (STACK // 100).astype(dtype)
    header = Image(stack, "ZYX", {"Y": 0.1, "X": 0.1}).header
    for name, compression in (("a.tif", "zlib"), ("b.tif", "none")):
        with create(tmp_path / name, header, compression=compression) as target:
            target.array[...] = stack
        again = read(tmp_path / name)
        assert np.array_equal(again.array, stack)
        assert again.pixel_size == pytest.approx(header.pixel_size)
        assert ("compression" in again.details) == (compression == "zlib")
    assert (tmp_path / "a.tif").stat().st_size < (tmp_path / "b.tif").stat().st_size
    packed = read(tmp_path / "a.tif")
    with create(tmp_path / "c.tif", packed.header, compression="none") as target:
        target.array[...] = stack
    assert read(tmp_path / "c.tif").details.get("compression") is None


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_a_strip_that_would_fill_the_memory_is_refused(tmp_path, compression):
    path, encode = tmp_path / "a.tif", getattr(imagecodecs, f"{compression}_encode")
    tifffile.imwrite(path, STACK[0], compression=compression, metadata=None)
    with tifffile.TiffFile(path) as file:
        places = [file.pages[0].tags[tag].valueoffset for tag in (273, 279)]
    content, bomb = bytearray(path.read_bytes()), encode(bytes(10**8))
    for place, value in zip(places, (len(content), len(bomb)), strict=True):
        content[place : place + 4] = struct.pack("<I", value)
    path.write_bytes(content + bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.tif: expected whole pixels, got damaged ones"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
