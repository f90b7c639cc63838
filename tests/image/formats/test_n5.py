"""N5 as BigDataViewer and n5-viewer lay it out, written here block by block as its page says."""

import bz2
import errno
import gzip
import json
import lzma
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from microscopygan.image.formats import (
    list_images,
    missing_chunks,
    n5,
    open_image,
    output_name,
    read,
)

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (5, 40, 50), dtype=np.uint16)
MOVIE = RNG.integers(0, 4000, (2, 3, 5, 40, 50), dtype=np.uint16)
GZIP = {"type": "gzip", "useZlib": False, "level": -1}


def lz4(content: bytes) -> bytes:
    """Write two parts, the second one as it is, and the empty one that Java's LZ4 ends with."""
    parts = [(0x20, imagecodecs.lz4_encode(content[:999]), content[:999])]
    parts += [(0x10, content[999:], content[999:]), (0x10, b"", b"")]
    return b"".join(
        struct.pack("<8sBIII", b"LZ4Block", kind | 6, len(stored), len(whole), 0) + stored
        for kind, stored, whole in parts
    )


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lz4": lz4,
    "lz4 of z5": imagecodecs.lz4_encode,
    "zstd": imagecodecs.zstd_encode,
    "blosc": imagecodecs.blosc_encode,
}


def write_group(folder: Path, **attributes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attributes.json").write_text(json.dumps(attributes))
    return folder


def write_dataset(
    folder: Path,
    array: np.ndarray,
    block: tuple[int, ...] = (2, 16, 32),
    compression: dict[str, Any] = GZIP,
    padded: bool = False,
    **more: Any,
) -> Path:
    """Write an array whose axis that runs fastest is the last one; N5 states that first."""
    block = block[-array.ndim :]
    kind = "zlib" if compression.get("useZlib") else compression["type"]
    name = kind.removesuffix(" of z5")
    if more.pop("version", 2) == 1:
        more["compressionType"] = name
    else:
        more["compression"] = compression | {"type": "gzip" if name == "zlib" else name}
    sizes = {"dimensions": array.shape[::-1], "blockSize": block[::-1]}
    write_group(folder, dataType=array.dtype.name, **sizes, **more)
    counts = [-(-n // size) for n, size in zip(array.shape, block, strict=True)]
    for place in np.ndindex(*counts):
        part = array[tuple(slice(k * n, k * n + n) for k, n in zip(place, block, strict=True))]
        if padded:
            part = np.pad(part, [(0, n - m) for n, m in zip(block, part.shape, strict=True)])
        file = folder.joinpath(*map(str, place[::-1]))
        file.parent.mkdir(parents=True, exist_ok=True)
        header = struct.pack(f">HH{array.ndim}I", 0, array.ndim, *part.shape[::-1])
        file.write_bytes(
            header + ENCODERS[kind](part.astype(part.dtype.newbyteorder(">")).tobytes())
        )
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.n5"


@pytest.mark.parametrize("compression", [*ENCODERS])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_pixels_however_they_are_compressed(path, compression, dtype):
    how = {"type": compression, "useZlib": compression == "zlib"}
    pixels = STACK.astype(dtype)
    write_dataset(write_group(path, n5="2.5.0") / "raw", pixels, compression=how)
    image = open_image(path, axes="ZYX")
    assert (image.axes, image.source, image.array.dtype) == ("ZYX", path, pixels.dtype)
    assert np.array_equal(image.array[1:4:2, 5:30, ::3], pixels[1:4:2, 5:30, ::3])
    assert np.array_equal(read(path).array, pixels)
    assert missing_chunks(image) == 0


def test_blocks_that_reach_beyond_the_end(path):
    write_dataset(path, STACK, padded=True, version=1)
    assert np.array_equal(read(path).array, STACK)
    assert open_image(path, axes="ZYX").array.chunks == (2, 16, 32)


def bigdataviewer(path: Path, movie: np.ndarray = MOVIE) -> Path:
    """Write two time points of three setups, each with a smaller copy, and the XML beside."""
    write_group(path, n5="2.5.0")
    for time, setup in np.ndindex(movie.shape[:2]):
        folder = path / f"setup{setup}" / f"timepoint{9 + time}"
        write_dataset(folder / "s0", movie[time, setup])
        write_dataset(folder / "s1", movie[time, setup, :, ::2, ::2])
        write_group(folder.parent, downsamplingFactors=[[1, 1, 1], [2, 2, 1]], dataType="uint16")
    path.with_suffix(".xml").write_text(
        "<SpimData><SequenceDescription><ViewSetups><ViewSetup><id>1</id><name>angle 1</name>"
        "<voxelSize><unit>nm</unit><size>100.0 200.0 500.0</size></voxelSize></ViewSetup>"
        "</ViewSetups></SequenceDescription></SpimData>"
    )
    return path


def test_big_data_viewer(path):
    bigdataviewer(path)
    assert list_images([path.parent]) == [Path(f"{path}#setup{k}") for k in range(3)]
    image = open_image(f"{path}#setup1")
    assert (image.axes, image.array.chunks, image.notes) == ("TZYX", (1, 2, 16, 32), ())
    assert np.array_equal(image.array[...], MOVIE[:, 1])
    assert image.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.2, "X": 0.1})
    assert image.details == {"name": "angle 1"}
    assert open_image(f"{path}#0").pixel_size == {}
    assert output_name(Path(f"{path}#setup1")) == "a_setup1.ome.zarr"
    with pytest.raises(ValueError, match=r"a\.n5: expected one image, got 3 \(setup0, setup1"):
        open_image(path)


def test_time_points_that_are_not_there_are_told(path):
    bigdataviewer(path, np.concatenate([MOVIE, MOVIE]))
    (path / "setup1/timepoint10").rename(path / "elsewhere")
    image = open_image(f"{path}#setup1")
    assert image.array.shape[0] == 3
    assert image.notes == (
        "Time points 10 of setup1 are not there: those around them follow each other.",
    )


def test_pyramids_of_n5_viewer_are_their_full_resolution(path):
    write_group(path, pixelResolution={"unit": "nm", "dimensions": [100, 200, 500]})
    for channel in range(2):
        for level in range(2):
            folder = path / f"c{channel}/s{level}"
            write_dataset(folder, STACK[:, :: level + 1] + channel)
    assert list_images([path]) == [Path(f"{path}#c0"), Path(f"{path}#c1")]
    image = open_image(f"{path}#c1")
    assert (image.axes, image.array.shape) == ("ZYX", STACK.shape)
    assert image.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.2, "X": 0.1})
    assert np.array_equal(image.array[2:4], STACK[2:4] + 1)


def test_one_dataset_in_the_root(path):
    write_dataset(path, STACK[0], pixelResolution=[0.1, 0.2])
    image = open_image(path)
    assert (image.axes, image.pixel_size) == ("YX", {"Y": 0.2, "X": 0.1})
    assert (list_images([path.parent]), output_name(path)) == ([path], "a.ome.zarr")


def test_axes_that_nobody_states_are_a_question(path):
    write_dataset(path / "a", STACK)
    with pytest.raises(ValueError, match="give --axes ZYX, TYX or CYX"):
        open_image(path)


def test_blocks_that_are_missing_are_counted(path):
    write_dataset(path / "a", STACK)
    (path / "a/0/0/0").unlink()
    (path / "a/1/2/2").unlink()
    (path / "a/0/0/7").write_bytes(b"beyond the end")
    image = open_image(path, axes="ZYX")
    assert missing_chunks(image) == 2
    assert not image.array[:2, :16, :32].any()
    assert np.array_equal(image.array[:, 16:32], STACK[:, 16:32])


@pytest.mark.parametrize("compression", ENCODERS)
def test_a_block_that_is_cut_or_damaged_is_one_line(path, compression):
    write_dataset(path, STACK, compression={"type": compression})
    block = path / "1/0/1"
    whole = block.read_bytes()
    image = open_image(path, axes="ZYX")
    for content in (b"", whole[:3], whole[:17], whole[:-5], b"\0\2" + whole[2:], whole[:9]):
        block.write_bytes(content)
        with pytest.raises(ValueError, match=r"^\S+a\.n5: expected whole pixels, got damaged ones"):
            image.array[...]
        assert np.array_equal(image.array[:2], STACK[:2])


def test_blocks_of_another_size_are_refused(path):
    write_dataset(path, STACK, compression={"type": "raw"})
    block = path / "1/0/1"
    header = struct.pack(">HH3I", 0, 3, 32, 16, 1)
    block.write_bytes(header + bytes(2 * 32 * 16))
    with pytest.raises(ValueError, match=r"block 1/0/1 states a size of \(1, 16, 32\) for one of"):
        read(path)


@pytest.mark.parametrize("compression", ["raw", "gzip", "bzip2", "xz", "zstd", "blosc", "lz4"])
def test_a_block_that_would_fill_the_memory_is_refused(path, compression):
    write_dataset(path, STACK[:2], compression={"type": compression})
    header = (path / "0/0/0").read_bytes()[:16]
    (path / "0/0/0").write_bytes(header + ENCODERS[compression](bytes(10**7)))
    with pytest.raises(ValueError, match=r"a\.n5: expected whole pixels, got damaged ones"):
        read(path)


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz"])
def test_a_stream_that_ends_just_beyond_its_block_is_the_last(path, compression):
    write_dataset(path, STACK[:2], compression={"type": compression})
    header, encode = (path / "0/0/0").read_bytes()[:16], ENCODERS[compression]
    too_long = encode(bytes(2 * 16 * 32 * 2 + 1))
    (path / "0/0/0").write_bytes(header + too_long + encode(bytes(10**8)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.n5: expected whole pixels, got damaged ones"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_pipes_in_the_place_of_blocks_are_refused(path):
    write_dataset(path, STACK)
    (path / "0/0/0").unlink()
    os.mkfifo(path / "0/0/0")
    with pytest.raises(ValueError, match=r"0: expected a file of .* got a pipe or a folder"):
        read(path)


def test_metadata_that_may_not_be_read_are_not_damaged(path, monkeypatch):
    write_dataset(path, STACK)

    def refuse(file: Path, most: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    monkeypatch.setattr(n5, "_content", refuse)
    with pytest.raises(PermissionError, match=r"^\S+a\.n5: cannot be read .*allow reading"):
        open_image(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dimensions": [0, 40, 5]}, r"it states sizes of \[0, 40, 5\]"),
        ({"blockSize": [32, -1, 2]}, r"it states sizes of \[32, -1, 2\]"),
        ({"blockSize": [32, 16]}, "in blocks of"),
        ({"dataType": "object"}, "it states pixels of object"),
        ({"compression": {"type": "jpeg"}}, "expected blocks compressed by raw, gzip"),
        ({"blockSize": [4096, 4096, 4096]}, r"expected blocks of at most 1\.1 GB"),
        ({"dimensions": 7}, "it states sizes of 7"),
    ],
)
def test_metadata_that_are_damaged_are_one_line(path, changes, said):
    write_dataset(path, STACK)
    about = json.loads((path / "attributes.json").read_text())
    write_group(path, **about | changes)
    with pytest.raises(ValueError, match=rf"^\S+a\.n5: .*{said}") as caught:
        open_image(path, axes="ZYX")
    assert "\n" not in str(caught.value)


def test_a_shape_that_is_not_on_the_disk_is_refused(path):
    write_dataset(path, STACK)
    about = json.loads((path / "attributes.json").read_text())
    write_group(path, **about | {"dimensions": [10**5, 10**5, 10**5]})
    image = open_image(path, axes="ZYX")
    assert np.array_equal(image.array[2:4, :16, :32], STACK[2:4, :16, :32])
    with pytest.raises(ValueError, match="got next to none on the disk"):
        read(path)


def test_an_empty_folder_and_a_file_are_one_line(path, tmp_path):
    path.mkdir()
    with pytest.raises(ValueError, match=r"a\.n5: expected a dataset of 2 to 5 dimensions"):
        open_image(path)
    (tmp_path / "b.n5").write_bytes(b"a file")
    with pytest.raises(ValueError, match=r"b\.n5: expected a folder .*got a file"):
        open_image(tmp_path / "b.n5")
    with pytest.raises(ValueError, match="expected a Zarr at a URL, got N5"):
        open_image("https://example.org/a.n5")


def test_links_and_very_many_folders_are_not_followed(path, monkeypatch, tmp_path):
    write_dataset(tmp_path / "b" / "inner", STACK[0])
    path.mkdir()
    (path / "linked").symlink_to(tmp_path / "b")
    assert n5.contents(path).parts == ()
    monkeypatch.setattr(n5, "_FOLDERS", 3)
    for name in "abcde":
        write_dataset(path / name, STACK[0])
    assert len(n5.contents(path).parts) == 2
