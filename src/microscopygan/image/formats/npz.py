"""NPZ: arrays without axes, each with a name; those that are not compressed are mapped."""

import io
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..image import Image
from ..lazy import LazyArray, MappedArray
from . import Contents, Request, numbered
from .plain import DEFLATE, NpyHeader, npy_header, npy_layout

_MOST = 2**32  # bytes of an array that is decoded as a whole
_STEP = 2**24  # bytes that are decoded at once
_LONGEST = 20_000  # bytes of an array's header
_LOCAL = 30  # bytes in front of the name of a member of a ZIP file, which end with two lengths


def open_npz(path: Path, request: Request) -> Image:
    """Open an array of an NPZ file.

    Parameters
    ----------
    path
        As ``numpy.savez`` writes it, whose pixels are mapped into memory as they are read, or
        ``numpy.savez_compressed``, whose array is decoded as a whole when it is first read.
    request
        The name or number of the array where there are several; axes as of NPY files.

    Raises
    ------
    ValueError
        None or several arrays of two and more dimensions, an array that takes more than 4 GB
        decoded or more than its bytes can hold, a colour image, or axes not stated.
    """
    images = _images(path)
    if not images:
        raise ValueError(f"{path}: expected an array of 2 to 5 dimensions, got none; save it again")
    array = list(images.values())[numbered(str(path), tuple(images), request.part)]
    shown = str(path) if request.part is None else f"{path}#{request.part}"
    array.check()
    shape, axes = npy_layout(shown, array.header, request)
    source = partial(array.opened, shape)
    return Image(LazyArray(shown, source, shape, array.header.dtype), axes, source=Path(shown))


def contents(path: Path) -> Contents:
    """List the arrays of a file that may be images."""
    return Contents(tuple(_images(path)), frozenset([path]))


@dataclass(frozen=True)
class NpzArray:
    """An array of an NPZ file.

    Attributes
    ----------
    path
        The file.
    entry
        What the ZIP's directory says of it.
    header
        Its shape and dtype.
    start
        Where its pixels begin in its part of the file, in bytes.
    """

    path: Path
    entry: zipfile.ZipInfo
    header: NpyHeader
    start: int

    def check(self) -> None:
        """Raise `ValueError` where its bytes cannot hold it, or it would fill the memory."""
        size, entry = self.start + self.header.nbytes, self.entry
        if self.header.dtype.hasobject:
            raise ValueError("Python objects are never loaded, allow_pickle=False")
        if size != entry.file_size:
            raise ValueError(f"it states {size} bytes, {entry.file_size} are there")
        if entry.compress_type == zipfile.ZIP_STORED:
            missing = self._offset() + self.header.nbytes - self.path.stat().st_size
            if missing > 0:
                raise ValueError(f"it is {missing} bytes too short")
        elif entry.compress_type != zipfile.ZIP_DEFLATED:
            raise ValueError("it is compressed in a way that NumPy never does")
        elif size > DEFLATE * entry.compress_size:
            raise ValueError(f"{size} bytes do not fit into {entry.compress_size}")
        elif size > _MOST:
            raise ValueError(
                f"{self.path}: expected compressed arrays of at most {_MOST / 1e9:.1f} GB, which "
                f"are decoded at once, got {size / 1e9:.1f} GB; save it with numpy.savez"
            )

    def opened(self, shape: tuple[int, ...]) -> Any:
        """Return the pixels in a shape of as many: mapped, or decoded where compressed.

        Raises
        ------
        ValueError
            As `check`, or damaged pixels.
        """
        self.check()
        if self.entry.compress_type == zipfile.ZIP_STORED:
            path, header = self.path.absolute(), self.header
            return MappedArray(path, header.dtype, shape, self._offset(), header.order)
        order: Any = self.header.order
        return self._decoded().view(self.header.dtype).reshape(shape, order=order)

    def _offset(self) -> int:
        """Return where the pixels begin in the file."""
        with self.path.open("rb") as file:
            file.seek(self.entry.header_offset)
            local = file.read(_LOCAL)
        lengths = (int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
        return self.entry.header_offset + _LOCAL + sum(lengths) + self.start

    def _decoded(self) -> np.ndarray:
        """Decode all bytes of the pixels; their checksum is compared at the end."""
        pixels = np.empty(self.header.nbytes, np.uint8)
        with zipfile.ZipFile(self.path) as file, file.open(self.entry) as opened:
            opened.read(self.start)
            for first in range(0, len(pixels), _STEP):
                block = pixels[first : first + _STEP]
                block[:] = np.frombuffer(opened.read(len(block)), np.uint8)
            opened.read(1)  # the end, where the checksum is compared
        return pixels


def arrays_in(path: Path) -> dict[str, NpzArray]:
    """Return the arrays of an NPZ file by their names; of each, only its header is read.

    Raises
    ------
    Exception
        Whatever `zipfile` raises on damaged files.
    """
    arrays = {}
    with zipfile.ZipFile(path) as file:
        for entry in file.infolist():
            if entry.filename.endswith(".npy"):
                with file.open(entry) as opened:
                    beginning = io.BytesIO(opened.read(_LONGEST))
                header = npy_header(beginning)
                name = entry.filename.removesuffix(".npy")
                arrays[name] = NpzArray(path, entry, header, beginning.tell())
    return arrays


def _images(path: Path) -> dict[str, NpzArray]:
    """Return the arrays of numbers that have two and more dimensions."""
    return {
        name: one
        for name, one in arrays_in(path).items()
        if one.header.dtype.kind in "uif" and len(one.header.shape) > 1
    }
