"""Read N5, a folder with a file for each block, as BigDataViewer and others write it."""

import bz2
import json
import lzma
import math
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..axes import AXES
from ..image import Image, micrometres
from ..lazy import Slices, region_shape
from . import Contents, Request, numbered
from .stored import Pixels, Stored, image_of, view_setup

_METADATA = "attributes.json"
_KINDS = ("raw", "gzip", "bzip2", "xz", "lz4", "zstd", "blosc")
_OTHER_NAMES = {"zlib": "gzip", "zstandard": "zstd"}
_TEXT = 2**24  # bytes of a group's metadata
_MOST = 2**30  # bytes of a block, which is decoded as a whole
_ROOM = 2**20  # bytes that a block may be larger than its pixels
_DICTIONARY = 2**28  # bytes that xz may take to decode
_FOLDERS = 100_000  # that are looked at
_SETUP = re.compile(r"setup\d+/timepoint(\d+)/s0")  # the full resolution in BigDataViewer
_STREAMS: dict[str, Callable[[], Any]] = {  # decoders that find the end of what they decode
    "gzip": partial(zlib.decompressobj, zlib.MAX_WBITS | 32),  # of either kind
    "bzip2": bz2.BZ2Decompressor,
    "xz": partial(lzma.LZMADecompressor, memlimit=_DICTIONARY),
}
_BLOSC = struct.Struct("<4sI4xI")  # before a block: flags, bytes decoded, bytes stored
_LZ4 = struct.Struct("<8sBIII")  # before a part: name, kind, bytes stored, bytes decoded, checksum
_LZ4_NAME = b"LZ4Block"
_LZ4_RAW = 0x10  # the kind that is not compressed


@dataclass(frozen=True)
class _Dataset:
    """An array of blocks.

    Attributes
    ----------
    folder
        Where its blocks lie.
    shape, block
        Of the array and of a block, the axis that runs fastest last: N5 states it first.
    dtype
        Of a pixel, big-endian as it is stored.
    kind
        How blocks are compressed.
    """

    folder: Path
    shape: tuple[int, ...]
    block: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.block, strict=True))

    @property
    def stored(self) -> int:
        """Bytes that the file of a block may have."""
        size = math.prod(self.block) * self.dtype.itemsize
        return size + size // 8 + _ROOM


def open_n5(path: Path, request: Request) -> Image:
    """Open an image of an N5 folder; its pixels are read by slicing.

    Parameters
    ----------
    path
        Of BigDataViewer: one of the setups (``setup0``), with all its time points, whose XML
        beside the folder states sizes. Of others, a dataset of two and more dimensions; of a
        pyramid (``s0``, ``s1``, ...) the full resolution.
    request
        The name or number of the image where there are several, and axes where none are named.

    Returns
    -------
    Image
        Axes of length 1 that the metadata name are dropped, except Y and X. Blocks that are not
        there are read as 0.

    Raises
    ------
    ValueError
        No or several images, metadata that are damaged or of another kind, axes not stated, or
        blocks that would fill the memory.
    """
    images = _images(path)
    if not images:
        raise ValueError(
            f"{path}: expected a dataset of 2 to 5 dimensions, got none; check the name, or copy "
            "it again"
        )
    part = None if request.part is None else request.part.strip("/")
    name = list(images)[numbered(str(path), tuple(images), part)]
    stored, blocks = _described(path, name, images[name])
    return image_of(stored, request, N5Pixels, notes=_notes(name, images[name]), chunks=blocks)


def contents(path: Path) -> Contents:
    """List the images of a folder."""
    return Contents(tuple(_images(path)), frozenset([path]))


def missing_blocks(image: Image) -> int:
    """Count the blocks that an image of an N5 folder lacks; they are read as 0."""
    stored: Stored = image.array.source.args[0]
    missing = 0
    for name in stored.names:
        dataset = _dataset(stored.path, name)
        missing += math.prod(dataset.counts) - sum(1 for _ in _block_files(dataset))
    return missing


def _block_files(dataset: _Dataset) -> Iterator[str]:
    """Yield the paths of the files that are blocks of a dataset."""
    counts = dataset.counts[::-1]
    for folder, folders, files in os.walk(dataset.folder):
        place = Path(folder).relative_to(dataset.folder).parts
        most = counts[len(place)] if len(place) < len(counts) else 0
        folders[:] = [name for name in folders if _is_number(name, most)]
        if len(place) == len(counts) - 1:
            yield from (f"{folder}/{name}" for name in files if _is_number(name, most))


def _is_number(name: str, most: int) -> bool:
    return name.isdecimal() and int(name) < most


def _images(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the names of the datasets of each image, by the image's name."""
    setups = {name: _times(path, name) for name in _numbered(path, "setup")}
    setups = {name: times for name, times in setups.items() if times}
    if setups:
        return setups
    if "dimensions" in _attributes(path):
        return {path.stem: ("",)}
    return {_pyramid(name): (name,) for name in _datasets(path) if not _is_copy(path, name)}


def _numbered(folder: Path, what: str) -> list[str]:
    """Names of the folders of a kind, by their number."""
    names = [name for name in _folders(folder) if re.fullmatch(rf"{what}\d+", name)]
    return sorted(names, key=lambda name: int(name[len(what) :]))


def _times(path: Path, setup: str) -> tuple[str, ...]:
    names = (f"{setup}/{time}/s0" for time in _numbered(path / setup, "timepoint"))
    return tuple(name for name in names if (path / name).is_dir())


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a folder; no link is followed."""
    with os.scandir(folder) as entries:
        return sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))


def _datasets(path: Path) -> list[str]:
    """Names of the datasets of numbers of two to five dimensions."""
    names, waiting = [], [""]
    for _ in range(_FOLDERS):
        if not waiting:
            break
        group = waiting.pop()
        about = _attributes(path / group)
        if "dimensions" not in about:
            waiting += [f"{group}/{name}".lstrip("/") for name in _folders(path / group)]
        elif isinstance(about["dimensions"], list) and 2 <= len(about["dimensions"]) <= len(AXES):
            names.append(group)
    return sorted(names)


def _pyramid(name: str) -> str:
    """Name an image: the full resolution of a pyramid stands for all of it."""
    return name.removesuffix("/s0")


def _is_copy(path: Path, name: str) -> bool:
    """Whether a dataset is a smaller copy of one beside it."""
    group, _, last = name.rpartition("/")
    return re.fullmatch(r"s[1-9]\d*", last) is not None and (path / group / "s0").is_dir()


def _attributes(folder: Path) -> dict[str, Any]:
    """Metadata of a group or dataset; none where it has no file of them."""
    try:
        content = _content(folder / _METADATA, _TEXT)
    except FileNotFoundError:
        return {}
    about = json.loads(content)
    if not isinstance(about, dict):
        raise ValueError(f"its {_METADATA} hold no attributes")
    return about


def _content(file: Path, most: int) -> bytes:
    """Read a file that lies in the folder itself and is no larger than it should be.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is something else, or too large.
    """
    about = os.stat(file)
    if not stat.S_ISREG(about.st_mode) or about.st_size > most:
        raise ValueError(
            f"{file.name}: expected a file of at most {most} bytes, got "
            + (f"{about.st_size}" if stat.S_ISREG(about.st_mode) else "a pipe or a folder")
        )
    return file.read_bytes()


def _dataset(path: Path, name: str) -> _Dataset:
    """Return a dataset as its metadata describe it.

    Raises
    ------
    ValueError
        Sizes, pixels or a compression that are not known, or blocks that would fill the memory.
    """
    about = _attributes(path / name)
    lengths = [about.get("dimensions"), about.get("blockSize")]
    for each in lengths:
        if not isinstance(each, list) or not all(type(n) is int and 0 < n < 2**63 for n in each):
            raise ValueError(f"{name}: it states sizes of {str(each)[:60]}")
    shape, block = (tuple(reversed(each)) for each in lengths if each)
    kind = str(about.get("dataType"))
    if not re.fullmatch(r"u?int(8|16|32|64)|float(32|64)", kind) or len(shape) != len(block):
        raise ValueError(f"{name}: it states pixels of {kind[:60]} in blocks of {block}")
    dtype = np.dtype(kind).newbyteorder(">")
    if math.prod(block) * dtype.itemsize > _MOST:
        raise ValueError(
            f"{path}: expected blocks of at most {_MOST / 1e9:.1f} GB, which are decoded at once, "
            f"got {math.prod(block) * dtype.itemsize / 1e9:.1f} GB; save it in smaller ones"
        )
    return _Dataset(path / name, shape, block, dtype, _kind(path, about))


def _kind(path: Path, about: dict[str, Any]) -> str:
    """Return how blocks are compressed; old files state it as a text."""
    stated = about.get("compression", about.get("compressionType"))
    name = str(stated.get("type") if isinstance(stated, dict) else stated).lower()
    name = _OTHER_NAMES.get(name, name)
    if name not in _KINDS:
        raise ValueError(
            f"{path}: expected blocks compressed by {', '.join(_KINDS)}, got {name[:60]}; save it "
            "with one of these"
        )
    return name


def _described(path: Path, name: str, names: tuple[str, ...]) -> tuple[Stored, tuple[int, ...]]:
    """Describe an image by what its metadata say; return the shape of its blocks, too."""
    first = _dataset(path, names[0])
    for other in names[1:]:
        if _dataset(path, other).shape != first.shape:
            raise ValueError(f"{other} has another shape than {names[0]}, {first.shape}")
    dtype = first.dtype.newbyteorder("=")
    if _SETUP.fullmatch(names[0]):
        title, sizes = view_setup(path, int(name.removeprefix("setup")))
        axes, shape = "TZYX"[: 1 + len(first.shape)], (len(names), *first.shape)
        stored = Stored(path, names, shape, 1, axes, dtype, sizes, details={"name": title})
        return stored, (1, *first.block)
    axes_stated, sizes = _stated(path, names[0], len(first.shape))
    return Stored(path, names, first.shape, 0, axes_stated, dtype, sizes), first.block


def _stated(path: Path, name: str, ndim: int) -> tuple[str | None, dict[str, float | None]]:
    """Axes and sizes in µm by the metadata of n5-viewer, of a dataset or the groups above it."""
    folder = path / name
    while True:
        about = _attributes(folder).get("pixelResolution")
        steps = about.get("dimensions") if isinstance(about, dict) else about
        if isinstance(steps, list) and len(steps) == ndim and ndim in (2, 3):
            unit = str(about.get("unit", "um")) if isinstance(about, dict) else "um"
            sizes = {a: micrometres(s, unit) for a, s in zip("XYZ", steps, strict=False)}
            return "ZYX"[-ndim:], sizes
        if folder == path:
            return ("YX" if ndim == 2 else None), {}
        folder = folder.parent


def _notes(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Say which time points of BigDataViewer lie between those of a setup and are not there."""
    times = [int(time[1]) for one in names if (time := _SETUP.fullmatch(one))]
    lost = sorted(set(range(min(times, default=0), max(times, default=0))) - set(times))
    if not lost:
        return ()
    some = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
    return (f"Time points {some} of {name} are not there: those around them follow each other.",)


class N5Pixels(Pixels):
    """Pixels of an image of an N5 folder."""

    def __init__(self, stored: Stored, kept: tuple[int, ...]) -> None:
        super().__init__(stored, kept)
        path = stored.path.absolute()
        self._datasets = {name: _dataset(path, name) for name in stored.names}

    def region(self, name: str, region: Slices) -> np.ndarray:
        """Read a region, block by block; where there is no block, it is 0."""
        dataset = self._datasets[name]
        bounds = tuple(slice(part.start, part.stop) for part in region)
        whole = np.zeros(region_shape(bounds), dataset.dtype)
        touched = (
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(bounds, dataset.block, strict=True)
        )
        for place in product(*touched):
            block = _read_block(dataset, place)
            if block is not None:
                inside, outside = _overlap(dataset, place, bounds)
                whole[outside] = block[inside]
        return whole[tuple(slice(None, None, part.step) for part in region)]


def _overlap(dataset: _Dataset, place: tuple[int, ...], bounds: Slices) -> tuple[Slices, Slices]:
    """Return where a block and a region meet: in the block, and in the region."""
    inside, outside = [], []
    for k, n, part in zip(place, dataset.block, bounds, strict=True):
        start, stop = max(k * n, part.start), min(k * n + n, part.stop)
        inside.append(slice(start - k * n, stop - k * n))
        outside.append(slice(start - part.start, stop - part.start))
    return tuple(inside), tuple(outside)


def _read_block(dataset: _Dataset, place: tuple[int, ...]) -> np.ndarray | None:
    """Read a block, which may reach beyond the end of the array; None where it is not there.

    Raises
    ------
    ValueError
        It is cut, damaged, or not of the size that it should have.
    """
    name = "/".join(map(str, reversed(place)))
    try:
        content = _content(dataset.folder / name, dataset.stored)
    except (FileNotFoundError, NotADirectoryError):
        return None
    layout = struct.Struct(f">HH{len(place)}I")
    if len(content) < layout.size:
        raise ValueError(f"block {name} ends in its header")
    mode, ndim, *lengths = layout.unpack_from(content)
    shape = tuple(reversed(lengths))
    inside = zip(shape, dataset.shape, dataset.block, place, strict=True)
    fits = all(min(n, length - k * n) <= size <= n for size, length, n, k in inside)
    if mode not in (0, 1) or ndim != len(place) or not fits:
        raise ValueError(f"block {name} states a size of {shape} for one of {dataset.block}")
    start = layout.size + 4 * mode  # the other mode states its length in pixels as well
    size = math.prod(shape) * dataset.dtype.itemsize
    decoded = _decoded(content[start:], dataset.kind, size)
    if len(decoded) != size:
        raise ValueError(f"block {name} holds {len(decoded)} bytes of {size}")
    return np.frombuffer(decoded, dataset.dtype).reshape(shape)


def _decoded(content: bytes, kind: str, most: int) -> bytes:
    """Decode what follows the header of a block; no more than it should hold."""
    if kind == "raw":
        return content
    if kind == "lz4":
        return _of_lz4(content, most)
    if kind in _STREAMS:
        return _of_streams(content, _STREAMS[kind], most)
    if kind == "blosc" and _BLOSC.unpack(content[: _BLOSC.size])[1:] != (most, len(content)):
        raise ValueError(f"a block is cut, or would be decoded to another size than {most} bytes")
    import imagecodecs

    decode = imagecodecs.zstd_decode if kind == "zstd" else imagecodecs.blosc_decode
    return bytes(decode(content, out=most))


def _of_streams(content: bytes, decoder_of: Callable[[], Any], most: int) -> bytes:
    """Decode one stream after the other."""
    decoded = b""
    while content:
        decoder = decoder_of()
        decoded += decoder.decompress(content, most + 1 - len(decoded))
        if not decoder.eof or len(decoded) > most:  # to go on with a limit of 0 is to have none
            raise ValueError(f"a block is cut, or would be decoded to more than its {most} bytes")
        content = decoder.unused_data
    return decoded


def _of_lz4(content: bytes, most: int) -> bytes:
    """Decode the parts that Java's LZ4 writes, or the one of z5; no checksum is looked at."""
    import imagecodecs

    if not content.startswith(_LZ4_NAME):
        return bytes(imagecodecs.lz4_decode(content, out=most))
    decoded, place = b"", 0
    while place < len(content):
        begin, kind, length, size, _ = _LZ4.unpack_from(content, place)
        part = content[place + _LZ4.size : place + _LZ4.size + length]
        if begin != _LZ4_NAME or len(part) < length or size > most - len(decoded):
            raise ValueError(f"a block is cut, or would be decoded to more than its {most} bytes")
        raw = kind & 0xF0 == _LZ4_RAW
        decoded += part if raw or not size else bytes(imagecodecs.lz4_decode(part, out=size))
        place += _LZ4.size + length
    return decoded
