"""MRC (MRC2014, IMOD): one plane or stack of electron microscopy, in one piece."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import Target, begun, reserve
from ..axes import name_axes
from ..image import Header, Image, known_sizes, micrometres
from ..lazy import LazyArray, MappedArray, reordered
from . import Request

_HEADER = np.dtype(
    {
        "names": ("n", "mode", "start", "m", "cell", "angles", "map", "statistics", "group"),
        "formats": ("3i4", "i4", "3i4", "3i4", "3f4", "3f4", "3i4", "3f4", "i4"),
        "offsets": (0, 12, 16, 28, 40, 52, 64, 76, 88),
        "itemsize": 1024,
    }
)
_MORE = np.dtype(
    {
        "names": ("extended", "version", "imod", "flags", "origin", "rms", "labels", "texts"),
        "formats": ("i4", "i4", "i4", "i4", "3f4", "f4", "i4", "10S80"),
        "offsets": (92, 108, 152, 156, 196, 216, 220, 224),
        "itemsize": 1024,
    }
)
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_STORED = {"int8": 0, "uint8": 6, "int16": 1, "uint16": 6, "float16": 12, "float32": 2}
_MARK, _LITTLE, _BIG = b"MAP ", b"\x44\x44\0\0", b"\x11\x11\0\0"  # of words 53 and 54
_IMOD, _SIGNED = 1146047817, 1  # what IMOD signs with, and its flag for signed bytes
_STACKS = 401  # space group of several volumes in one file, and those above
_ANGSTROM = 1e-4  # µm
_STEP = 2**22  # pixels of which the statistics are computed at once


def open_mrc(path: Path, request: Request) -> Image:
    """Open an MRC file; its pixels are mapped into memory as they are read.

    Parameters
    ----------
    path
        A plane, or a volume (space group 1). What the planes of an image stack (space group 0)
        are, the file does not state.
    request
        Its axes.

    Returns
    -------
    Image
        Its labels as the description. IMOD's unsigned bytes are unsigned.

    Raises
    ------
    ValueError
        Damaged, complex or 4-bit pixels, or axes not stated.
    """
    with path.open("rb") as file:
        content = file.read(_HEADER.itemsize)
    about, more = _header(content)
    dtype = _dtype(about, more)
    lengths = [int(n) for n in about["n"]]
    offset = _HEADER.itemsize + int(more["extended"])
    if min(lengths) < 1 or offset < _HEADER.itemsize:
        raise ValueError(f"it states a size of {lengths} pixels")
    missing = offset + math.prod(lengths) * dtype.itemsize - path.stat().st_size
    if missing > 0:
        raise ValueError(f"it is {missing} bytes too short")
    shape, stated = _layout(about, lengths)
    axes = name_axes(str(path), shape, stated, request.axes, request.fallback)
    cells = zip("XYZ", about["cell"].tolist(), about["m"].tolist(), strict=True)
    sizes = {a: micrometres(size / max(n, 1), "angstrom") for a, size, n in cells}
    places = zip("XYZ", more["origin"].tolist(), strict=True)
    source = partial(MappedArray, path.absolute(), dtype, shape, offset)
    text = "\n".join(_labels(more))
    return Image(
        LazyArray(str(path), source, shape, dtype),
        axes,
        known_sizes(sizes, axes),
        path,
        origin={a: v * _ANGSTROM for a, v in places if a in axes and v and math.isfinite(v)},
        details={"description": text} if text else {},
    )


def _header(content: bytes) -> tuple[Any, Any]:
    """Return both parts of the header, in the file's byte order."""
    if len(content) < _HEADER.itemsize:
        raise ValueError("it ends within its header")
    first: tuple[Any, Any] = (">", "<") if content[212:214] == _BIG[:2] else ("<", ">")
    for order in first:
        about = np.frombuffer(content, _HEADER.newbyteorder(order), 1)[0]
        if 0 <= about["mode"] < 2**16:
            return about, np.frombuffer(content, _MORE.newbyteorder(order), 1)[0]
    raise ValueError("its header states no kind of pixels")


def _dtype(about: Any, more: Any) -> np.dtype[Any]:
    mode = int(about["mode"])
    if mode not in _MODES:
        raise ValueError(f"its pixels are of the kind (mode) {mode}, which is no image of numbers")
    if mode == 0 and more["imod"] == _IMOD and not more["flags"] & _SIGNED:
        return np.dtype(np.uint8)
    return np.dtype(_MODES[mode]).newbyteorder(about.dtype["mode"].byteorder)


def _layout(about: Any, lengths: list[int]) -> tuple[tuple[int, ...], str | None]:
    """Return the shape of the pixels, and the axes as far as the file states them."""
    places = about["map"].tolist()
    letters = "".join("XYZ"[k - 1] for k in places) if sorted(places) == [1, 2, 3] else "XYZ"
    if about["group"] >= _STACKS and 0 < about["m"][2] < lengths[2]:
        depth = int(about["m"][2])
        return (lengths[2] // depth, depth, lengths[1], lengths[0]), None
    shape, axes = tuple(reversed(lengths)), letters[::-1]
    if shape[axes.index("Z")] == 1:
        flat = axes.replace("Z", "")
        return tuple(n for n, a in zip(shape, axes, strict=True) if a != "Z"), flat
    return shape, axes if about["group"] else None


def _labels(more: Any) -> list[str]:
    texts = [bytes(text).decode("latin1").strip() for text in more["texts"]]
    return [text for text in texts[: max(int(more["labels"]), 0)] if text and text.isprintable()]


def create_mrc(path: Path, header: Header) -> Target:
    """Create an MRC file whose pixels are all 0.

    Parameters
    ----------
    path
        The file.
    header
        Unsigned bytes are stored as uint16, since MRC knows none. Written are pixel size, origin,
        and ten lines of the description.

    Raises
    ------
    ValueError
        Anything but a plane or a stack along Z, of a dtype that MRC holds.
    """
    mode = _STORED.get(header.dtype.name)
    if mode is None or not set(header.axes) <= set("ZYX"):
        raise ValueError(
            f"{path}: expected a plane or a stack (ZYX) of at most 16 bits or float32 for MRC, got "
            f"{header.dtype} {header.axes}; write .ome.tif, or give --dtype float32"
        )
    axes = "ZYX" if "Z" in header.axes else "YX"
    shape = tuple(header.shape[header.axes.index(letter)] for letter in axes)
    dtype = np.dtype(_MODES[mode])
    with begun(path) as (part, lock):
        with part.open("r+b") as file:
            file.write(_written(header, shape, mode))
            file.truncate(_HEADER.itemsize + math.prod(shape) * dtype.itemsize)
        reserve(part)
        pixels = MappedArray(part, dtype, shape, _HEADER.itemsize, writable=True)
        complete = partial(_state_range, part, pixels)
        return Target(path, part, lock, reordered(pixels, axes, header.axes), complete)


def _written(header: Header, shape: tuple[int, ...], mode: int) -> bytes:
    """Return the bytes of a header, little-endian."""
    content = np.zeros(1, np.dtype((bytes, _HEADER.itemsize)))
    about, more = content.view(_HEADER)[0], content.view(_MORE)[0]
    lengths = [*reversed(shape), 1][:3]
    about["n"] = about["m"] = lengths
    about["mode"], about["map"], about["group"] = mode, (1, 2, 3), int(len(shape) == 3)
    about["angles"] = 90
    sizes = [header.pixel_size.get(letter, 0.0) / _ANGSTROM for letter in "XYZ"]
    about["cell"] = np.multiply(sizes, lengths)
    more["version"] = 20140
    more["origin"] = [header.origin.get(letter, 0.0) / _ANGSTROM for letter in "XYZ"]
    lines = [line for line in str(header.details.get("description", "")).splitlines() if line]
    texts = [line.encode("ascii", "replace")[:80] for line in lines[:10]]
    more["labels"] = len(texts)
    more["texts"][: len(texts)] = texts
    written = bytearray(content.tobytes())
    written[208:216] = _MARK + _LITTLE
    return bytes(written)


def _state_range(part: Path, pixels: MappedArray) -> None:
    """Write least, greatest and mean value and deviation of the pixels into the header."""
    flat = MappedArray(part, pixels.dtype, (math.prod(pixels.shape),), _HEADER.itemsize)
    low, high, total, squares = math.inf, -math.inf, 0.0, 0.0
    for first in range(0, flat.shape[0], _STEP):
        block = flat[first : first + _STEP].astype(np.float64)
        block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, block.min()), max(high, block.max())
            total, squares = total + block.sum(), squares + np.square(block).sum()
    mean = total / flat.shape[0]
    deviation = math.sqrt(max(squares / flat.shape[0] - mean**2, 0.0))
    with part.open("r+b") as file:
        file.seek(76)
        file.write(np.array([low, high, mean], "<f4").tobytes())
        file.seek(216)
        file.write(np.array([deviation], "<f4").tobytes())
