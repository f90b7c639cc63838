"""No damaged file gives a traceback, a hang or more than a line: it is an image, or an error.

The files in `tests/broken_files` are made by its ``make.py``; the others are damaged at random.
"""

import io
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.formats import Image, create, missing_chunks, open_image, read, tiff, write

BROKEN = Path(__file__).parents[1] / "broken_files"
SAID = {
    "axes.zarr": "expected axes of t, c, z, y, x, got y, y, x",
    "billion_planes.ome.tif": "more than ten million planes",
    "bits.tif": "parts missing|data type not supported",
    "checksum.png": "checksum of its part IDAT",
    "chunk.zarr": "damaged ones",
    "chunk_v2.zarr": "damaged ones",
    "codec.zarr": "zzzz",
    "cut.npy": "1 bytes too short",
    "cut.ome.tif": "parts missing",
    "cut.png": "ends too early",
    "cut.tif": "pixels end after the file",
    "file_missing.ome.tif": "1 of 2 planes are missing",
    "huge.npy": "too short",
    "huge.png": "pixels do not fit into 564 bytes",
    "huge.zarr": "expected chunks of a few thousand pixels",
    "huge_rows.tif": "GB of pixels in 0.0 MB",
    "huge_tile.tif": "damaged ones",
    "json.zarr": "expected Zarr metadata",
    "negative.npy": r"the shape \(-24, -20\)",
    "no_array.zarr": "no array metadata",
    "no_level.zarr": "the level '7'",
    "objects.npy": "never loaded",
    "shape.zarr": "next to none on the disk",
    "shard.zarr": "damaged ones",
    "tile.ome.tif": "damaged ones",
    "zero_size.ome.tif": None,  # an image, of unknown pixel size
}
COUNTED = {"frames.tif": "9 slices", "planes_missing.ome.tif": "6 planes"}
MEGABYTES = 500  # that reading a file of a few kB may take


def peak() -> float:
    """Peak of the memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def outcome(path: Path) -> Image | str:
    """Read all pixels; return the image or the one line of the error."""
    before, start = peak(), time.monotonic()
    try:
        return read(path)
    except (ValueError, OSError) as error:
        line = str(error)
        assert str(path) in line
        assert "\n" not in line
        assert len(line) < 500
        return line
    finally:
        assert peak() - before < MEGABYTES
        assert time.monotonic() - start < 20


def test_all_broken_files_are_listed():
    assert {p.name for p in BROKEN.iterdir() if p.suffix not in (".py", "")} == (
        SAID.keys() | COUNTED.keys()
    )
    assert sum(p.stat().st_size for p in BROKEN.rglob("*") if p.is_file()) < 300_000


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("decoding", [2**26, 0], ids=["at once", "by tile"])
def test_what_is_said_of_a_broken_file(name, decoding, monkeypatch, capfd):
    monkeypatch.setattr(tiff, "_AT_ONCE", decoding)
    found = outcome(BROKEN / name)
    if SAID[name] is None:
        assert found.pixel_size == {}
    else:
        assert isinstance(found, str), "read as if it were whole"
        assert re.search(SAID[name], found)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", COUNTED)
def test_a_file_that_holds_fewer_planes_than_it_states_is_read_with_a_line(name):
    image = read(BROKEN / name)
    assert image.array.shape[0] == 4
    assert f"Its header counts {COUNTED[name]}, it holds 4 planes" in image.notes[0]


def test_chunks_that_a_damaged_shape_lacks_are_counted():
    assert missing_chunks(open_image(BROKEN / "shape.zarr")) == 2 * 62_500 - 4


STACK = np.random.default_rng(0).integers(0, 999, (3, 34, 37), dtype=np.uint16)
ZYX = {"metadata": {"axes": "ZYX"}}


def tiff_bytes(**settings: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, STACK, photometric="minisblack", **settings)
    return file.getvalue()


def pyramid() -> bytes:
    file = io.BytesIO()
    tile = {"tile": (16, 16), "photometric": "minisblack"}
    with tifffile.TiffWriter(file, ome=True) as writer:
        writer.write(STACK, subifds=1, **ZYX, **tile)
        writer.write(STACK[:, ::2, ::2], subfiletype=1, **tile)
    return file.getvalue()


def npy_bytes(save: Callable[[io.BytesIO, np.ndarray], None] = np.save) -> bytes:
    file = io.BytesIO()
    save(file, STACK)
    return file.getvalue()


def mrc_bytes() -> bytes:
    with TemporaryDirectory() as folder:
        return write(Path(folder) / "a.mrc", Image(STACK, "ZYX", {"X": 0.1})).read_bytes()


NOTES = {"PhysicalSizeX": 0.1, "MapAnnotation": {"Namespace": "microscopygan", "Value": {"a": "1"}}}
LABELS = {"Info": "microscopygan: {}", "Labels": list("abc"), "finterval": 2.0, "unit": "um"}
FILES = {
    "a.npy": npy_bytes(),
    "a.npz": npy_bytes(np.savez),
    "compressed.npz": npy_bytes(np.savez_compressed),
    "a.mrc": mrc_bytes(),
    "a.jp2": bytes(imagecodecs.jpeg2k_encode(STACK[0], level=0, reversible=True)),
    "a.png": bytes(imagecodecs.png_encode(STACK[0])),
    "pages.tif": tiff_bytes(metadata=None),
    "imagej.tif": tiff_bytes(imagej=True, metadata={"axes": "TYX", **LABELS}),
    "bigtiff.tif": tiff_bytes(bigtiff=True, compression="zstd", rowsperstrip=8),
    "a.ome.tif": tiff_bytes(ome=True, metadata={"axes": "ZYX", **NOTES}),
    "tiled.ome.tif": tiff_bytes(ome=True, tile=(16, 16), compression="lzw", **ZYX),
    "predicted.tif": tiff_bytes(compression="zlib", predictor=True, byteorder=">"),
    "pyramid.ome.tif": pyramid(),
}
ZARRS = {
    "0.4": {"ngff": "0.4"},
    "0.5": {},
    "sharded": {"chunks": (1, 16, 16), "shards": (3, 32, 32)},
}


@st.composite
def damages(draw):
    """Ways to damage bytes: cut, change single ones or a run of them, or lengthen a number."""
    kind = draw(st.sampled_from(["cut", "change", "change", "run", "number"]))
    places = st.floats(0, 1, exclude_max=True)
    at = draw(places)
    value = draw(st.sampled_from([0, 255, 0x39]) | st.integers(0, 255))
    others = draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4))
    length = draw(st.integers(1, 12))

    def damage(content: bytes) -> bytes:
        place = int(at * len(content))
        if kind == "cut":
            return content[:place]
        if kind == "number":
            digits = [i for i, b in enumerate(content[:5000]) if 48 <= b < 58] or [0]
            place = digits[int(at * len(digits))]
            return content[:place] + b"9" * length + content[place + 1 :]
        changed = bytearray(content)
        for where, what in [(at, value), *others] if kind == "change" else []:
            changed[int(where * len(content))] = what
        if kind == "run":
            changed[place : place + length] = bytes([value]) * length
        return bytes(changed)

    return damage


@pytest.mark.parametrize("name", FILES)
def test_files_damaged_at_random(tmp_path_factory, monkeypatch, name, capfd):
    path = tmp_path_factory.mktemp("damaged") / name

    @settings(max_examples=40, deadline=None)
    @given(damage=damages(), decoding=st.sampled_from([0, 2**26]))
    def check(damage, decoding):
        monkeypatch.setattr(tiff, "_AT_ONCE", decoding)
        path.write_bytes(damage(FILES[name]))
        outcome(path)

    check()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ZARRS)
def test_zarrs_damaged_at_random(tmp_path, kind):
    header = Image(STACK, "ZYX", {"X": 0.1}, None, ("a",), None, {"b": 1}).header
    with create(tmp_path / "a.zarr", header, **({"chunks": (2, 16, 16)} | ZARRS[kind])) as target:
        target.array[...] = STACK
    files = sorted(p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file())
    metadata = [p for p in files if p.suffix == ".json" or p.name.startswith(".z")]

    @settings(max_examples=40, deadline=None)
    @given(damage=damages(), path=st.sampled_from(metadata) | st.sampled_from(files))
    def check(damage, path):
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        outcome(tmp_path / "a.zarr")
        path.write_bytes(whole)

    check()
    assert np.array_equal(read(tmp_path / "a.zarr").array, STACK)
