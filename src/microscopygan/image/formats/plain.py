"""NPY and PNG: formats that hold pixels only, without axes, pixel sizes or names."""

import math
import zlib
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import Target, begun, reserve
from ..axes import name_axes
from ..image import Header, Image
from ..lazy import LazyArray, MappedArray
from . import Request

_MOST = 2**30  # pixels of a PNG, which is decoded as a whole
DEFLATE = 1_100  # the most that the compression of PNG and ZIP can shrink


def open_npy(path: Path, request: Request) -> Image:
    """Open an NPY file; its pixels are mapped into memory as they are read.

    Parameters
    ----------
    path
        Pixels only: nothing but its shape tells of the axes. A last axis of length 1 is dropped,
        unless `axes` names it, and so are others of more than five.
    request
        Its axes.

    Raises
    ------
    ValueError
        Damaged, with Python objects (never loaded), a colour image, or axes not stated.
    """
    with path.open("rb") as file:
        header, offset = npy_header(file), file.tell()
    if header.dtype.hasobject:
        raise ValueError("Python objects are never loaded, allow_pickle=False")
    if offset + header.nbytes > path.stat().st_size:
        raise ValueError(f"it is {offset + header.nbytes - path.stat().st_size} bytes too short")
    shape, axes = npy_layout(str(path), header, request)
    source = bind(MappedArray, path.absolute(), header.dtype, shape, offset, header.order)
    return Image(LazyArray(str(path), source, shape, header.dtype), axes, source=path)


@dataclass(frozen=True)
class NpyHeader:
    """What stands before the pixels of an array.

    Attributes
    ----------
    shape, dtype
        Of the array.
    order
        ``C``, or ``F`` for the first dimension running fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str

    @property
    def nbytes(self) -> int:
        """Size of the pixels."""
        return math.prod(self.shape) * self.dtype.itemsize


def npy_header(file: Any) -> NpyHeader:
    """Read the header of an open NPY file.

    Raises
    ------
    ValueError
        Another version, or a shape that cannot be.
    """
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"NPY version {version} is not known")
    shape, fortran, dtype = read[version](file)
    if any(n < 0 for n in shape):
        raise ValueError(f"it states the shape {shape}")
    return NpyHeader(shape, dtype, "F" if fortran else "C")


def npy_layout(name: str, header: NpyHeader, request: Request) -> tuple[tuple[int, ...], str]:
    """Return shape and axes of an array of which nothing but its header tells.

    Raises
    ------
    ValueError
        A colour image, or axes not stated.
    """
    axes, fallback, shape = request.axes, request.fallback, header.shape
    while len(shape) > 5 and 1 in shape[:-2]:
        shape = shape[: shape.index(1)] + shape[shape.index(1) + 1 :]
    if len(shape) > 2 and shape[-1] == 1 and len(axes or "") != len(shape):
        shape, fallback = shape[:-1], True
    if axes is None and len(shape) > 2 and shape[-1] in (3, 4) and shape[-2] > 4:
        raise ValueError(
            f"{name}: expected grey values, got shape {shape}, a colour image (RGB); save each "
            "channel as a file of its own"
        )
    return shape, name_axes(name, shape, None, axes, fallback)


def create_npy(path: Path, header: Header) -> Target:
    """Create an NPY file whose pixels are all 0."""
    with begun(path) as (part, lock):
        mapped = np.lib.format.open_memmap(part, "w+", header.dtype, header.shape)
        offset = mapped.offset
        del mapped
        reserve(part)
        pixels = MappedArray(part, header.dtype, header.shape, offset, writable=True)
        return Target(path, part, lock, pixels, lambda: None)


def open_png(path: Path, request: Request) -> Image:
    """Read a PNG file of grey values, 8 or 16 bits; it is decoded at once.

    Raises
    ------
    ValueError
        A colour image, or a size that the file cannot hold.
    Exception
        Whatever the decoder raises on damaged files.
    """
    import imagecodecs

    content = path.read_bytes()
    _check_png_chunks(content)
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    if width * height > DEFLATE * len(content) * 8:
        raise ValueError(f"{width}×{height} pixels do not fit into {len(content)} bytes")
    if width * height > _MOST:
        raise ValueError(f"{width}×{height} pixels would be decoded at once, which takes too much")
    array = np.asarray(imagecodecs.png_decode(content))
    if array.ndim != 2:
        raise ValueError(
            f"{path}: expected grey values, got a colour image or one with transparency (shape "
            f"{array.shape}); save it as 8- or 16-bit grey"
        )
    return Image(array, name_axes(str(path), array.shape, None, request.axes, True), source=path)


def _check_png_chunks(content: bytes) -> None:
    """Raise unless every chunk is whole, since the decoder only warns of some that are not."""
    place, kind = 8, b""
    while kind != b"IEND":
        length = int.from_bytes(content[place : place + 4], "big")
        body = content[place + 4 : place + 8 + length]
        kind = body[:4]
        if len(body) < 4 + length or not kind:
            raise ValueError("it ends too early")
        place += 12 + length
        if zlib.crc32(body) != int.from_bytes(content[place - 4 : place], "big"):
            raise ValueError(f"the checksum of its part {kind.decode('latin1')} is wrong")


def create_png(path: Path, header: Header) -> Target:
    """Create a PNG file, which is encoded at the end.

    Raises
    ------
    ValueError
        Anything but one plane of 8 or 16 bits.
    """
    plane = header.axes[-2:] == "YX" and math.prod(header.shape[:-2]) == 1
    if not plane or header.dtype.name not in ("uint8", "uint16"):
        raise ValueError(
            f"{path}: expected one uint8 or uint16 plane (YX) for PNG, got "
            f"{header.dtype} {header.axes}; write .tif"
        )
    with begun(path) as (part, lock):
        pixels = np.zeros(header.shape, header.dtype)
        return Target(path, part, lock, pixels, lambda: _encode(part, pixels))


def _encode(part: Path, pixels: np.ndarray) -> None:
    import imagecodecs

    part.write_bytes(
        imagecodecs.png_encode(np.ascontiguousarray(pixels.reshape(pixels.shape[-2:])))
    )
