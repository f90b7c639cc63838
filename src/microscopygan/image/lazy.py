"""Pixels on disk, read and written region by region."""

import math
import operator
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .image import check_finite

Slices = tuple[slice, ...]
_NO_ANSWER = (ConnectionError, TimeoutError)  # of a server


def plain_region(key: Any, shape: tuple[int, ...]) -> tuple[Slices, tuple[int, ...]]:
    """Write an index as one slice for each dimension.

    Parameters
    ----------
    key
        Integers, slices of positive step and at most one ellipsis, or a tuple of them.
    shape
        Of the array that is indexed.

    Returns
    -------
    slices : tuple of slice
        With all bounds stated, inside of the array.
    dropped : tuple of int
        The dimensions that were indexed by an integer.

    Raises
    ------
    IndexError
        Too many indices, an integer outside of the array, a step below 1, or another index.

    Examples
    --------
    >>> plain_region((-1, ..., slice(2, None)), (3, 4, 5))
    ((slice(2, 3, 1), slice(0, 4, 1), slice(2, 5, 1)), (0,))
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    stars = [i for i, part in enumerate(keys) if part is Ellipsis]
    if len(keys) - len(stars) > len(shape) or len(stars) > 1:
        raise IndexError(f"expected at most {len(shape)} indices, got {len(keys)}")
    place = stars[0] if stars else len(keys)
    rest = [slice(None)] * (len(shape) - len(keys) + len(stars))
    keys = [*keys[:place], *rest, *keys[place + 1 :]]
    dropped = tuple(i for i, part in enumerate(keys) if not isinstance(part, slice))
    return tuple(_plain(part, n) for part, n in zip(keys, shape, strict=True)), dropped


def region_shape(slices: Slices) -> tuple[int, ...]:
    """Return the shape of a region given by slices with start and stop."""
    return tuple(len(range(part.start, part.stop, part.step or 1)) for part in slices)


class MappedArray:
    """Pixels that lie in one piece in a file, mapped into memory only while they are read.

    Nothing stays mapped or open: the memory in use does not grow with the part of the file that
    was read or written.

    Parameters
    ----------
    path
        The file, long enough to hold the pixels.
    dtype
        Of a pixel, with its byte order.
    shape
        Length of each dimension.
    offset
        Where the pixels begin, in bytes.
    order
        ``C``, or ``F`` for the first dimension running fastest.
    writable
        Allow writing.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        offset: int = 0,
        order: str = "C",
        writable: bool = False,
    ) -> None:
        self.path, self.dtype, self.shape = path, dtype, shape
        self._offset, self._order, self._mode = offset, order, "r+" if writable else "r"
        self.ndim = len(shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(self._mapped()[key])

    def __setitem__(self, key: Any, block: Any) -> None:
        mapped = self._mapped()
        mapped[key] = block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

    def _mapped(self) -> np.memmap:
        mode: Any = self._mode
        order: Any = self._order
        return np.memmap(self.path, self.dtype, mode, self._offset, self.shape, order)


class LazyArray:
    """Pixels of a file, read by slicing; it can be sent to another process.

    Parameters
    ----------
    name
        The file's name, for messages.
    source
        Opens the file and gives what is indexed there: the same shape, any byte order, with a
        method ``close`` where it has something to close. It is called at the first reading, in
        each process anew.
    shape, dtype
        Of the pixels.
    chunks
        Shape of the blocks in which the file stores them, None where it has none.

    Raises
    ------
    ValueError, OSError
        On reading: a damaged file, NaN or infinite pixels, or a file that is not there any more;
        one line that names it.

    Examples
    --------
    >>> stack = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    >>> lazy = LazyArray("a.tif", lambda: stack, stack.shape, stack.dtype)
    >>> lazy[1, :2, ::2]
    array([[12, 14], [16, 18]], dtype=uint16)
    """

    def __init__(
        self,
        name: str,
        source: Callable[[], Any],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...] | None = None,
    ) -> None:
        self.checked = True
        self.name, self.shape, self.chunks = name, tuple(shape), chunks
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.source = source
        self._reset()

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of all pixels in memory, in bytes."""
        return self.size * self.dtype.itemsize

    def unchecked(self) -> "LazyArray":
        """Return the same pixels, read as they are where they are NaN or infinite."""
        array = LazyArray(self.name, self.source, self.shape, self.dtype, self.chunks)
        array.checked = False
        return array

    def __getitem__(self, key: Any) -> np.ndarray:
        region, dropped = plain_region(key, self.shape)
        block = self._read(region)
        if self.checked:
            check_finite(block, self.name)
        return block.squeeze(dropped) if dropped else block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("name", "shape", "chunks", "dtype", "source", "checked")
        return {key: self.__dict__[key] for key in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._opened: Any = None
        self._process = -1
        self._lock = threading.Lock()

    def opened(self) -> Any:
        """Return what `source` gave in this process."""
        with self._lock:
            if self._process != os.getpid():
                opened = self.source()
                if hasattr(opened, "close"):
                    weakref.finalize(self, opened.close)
                self._opened, self._process = opened, os.getpid()
            return self._opened

    def _read(self, region: Slices) -> np.ndarray:
        expected = region_shape(region)
        try:
            block = np.asarray(self.opened()[region])
            if block.shape != expected:
                raise ValueError(f"expected a block of shape {expected}, got {block.shape}")
            return block.astype(self.dtype, copy=False)
        except MemoryError:
            raise ValueError(
                f"{self.name}: expected a region that fits into memory, got one of "
                f"{math.prod(expected) * self.dtype.itemsize / 1e9:.1f} GB; read it in parts"
            ) from None
        except OSError as error:
            kind = ConnectionError if isinstance(error, _NO_ANSWER) else OSError
            raise kind(f"{self.name}: cannot be read ({one_line(error)}); try again") from None
        except Exception as error:  # decoders raise anything on damaged files
            if str(error).startswith(f"{self.name}:"):
                raise
            raise ValueError(
                f"{self.name}: expected whole pixels, got damaged ones ({one_line(error)}); copy "
                "or export the image again"
            ) from None


class Reordered:
    """An array seen with its dimensions in another order; regions may be read and written.

    Parameters
    ----------
    array
        Numpy, Zarr or mapped array.
    order
        Dimension k of the view is dimension ``order[k]`` of `array`.

    Examples
    --------
    >>> view = Reordered(np.arange(6).reshape(2, 3), (1, 0))
    >>> view[2, :] = 9
    >>> view[:]
    array([[0, 3], [1, 4], [9, 9]])
    """

    def __init__(self, array: Any, order: tuple[int, ...]) -> None:
        self.array, self._order = array, order
        self._back = tuple(order.index(i) for i in range(len(order)))
        self.shape = tuple(array.shape[i] for i in order)
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim = len(order)

    def __getitem__(self, key: Any) -> np.ndarray:
        region, dropped = plain_region(key, self.shape)
        block = np.asarray(self.array[tuple(region[i] for i in self._back)])
        return block.transpose(self._order).squeeze(dropped)

    def __setitem__(self, key: Any, block: Any) -> None:
        region, dropped = plain_region(key, self.shape)
        shape = region_shape(region)
        kept = tuple(n for i, n in enumerate(shape) if i not in dropped)
        whole = np.broadcast_to(block, kept).reshape(shape)
        self.array[tuple(region[i] for i in self._back)] = whole.transpose(self._back)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)


class Recoded:
    """An array of integers that are stored in another way; regions may be read and written.

    Parameters
    ----------
    array
        Holds ``sign * (value - offset)``.
    sign, offset
        1 or -1, and what is added.
    dtype
        Of the values.

    Examples
    --------
    >>> negative = Recoded(np.array([0, 255], np.uint8), -1, 255, np.dtype(np.uint8))
    >>> negative[:]
    array([255, 0], dtype=uint8)
    """

    def __init__(self, array: Any, sign: int, offset: int, dtype: np.dtype[Any]) -> None:
        self.array, self._sign, self._offset, self.dtype = array, sign, offset, dtype
        self.shape, self.ndim = tuple(array.shape), len(array.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        stored = np.asarray(self.array[key]).astype(np.int64)
        return (self._sign * stored + self._offset).astype(self.dtype)

    def __setitem__(self, key: Any, block: Any) -> None:
        stored = self._sign * (np.asarray(block).astype(np.int64) - self._offset)
        self.array[key] = stored.astype(self.array.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

    def close(self) -> None:
        """Close what the values are read from."""
        if hasattr(self.array, "close"):
            self.array.close()


def reordered(array: Any, axes: str, wanted: str) -> Any:
    """Return an array of the axes `axes` with its dimensions in the order `wanted`."""
    if axes == wanted:
        return array
    return Reordered(array, tuple(axes.index(letter) for letter in wanted))


@dataclass(frozen=True)
class Blocks(Sequence[Slices]):
    """An array cut into blocks of one shape, the last ones smaller, the last axis running fastest.

    Attributes
    ----------
    shape
        Of the array.
    block
        Of one block.

    Examples
    --------
    >>> blocks = Blocks(shape=(2, 50), block=(1, 32))
    >>> len(blocks), blocks[1]
    (4, (slice(0, 1, None), slice(32, 50, None)))
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, index: int) -> Slices:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = []
        for count in reversed(self.counts):
            index, remainder = divmod(index, count)
            place.append(remainder)
        return tuple(
            slice(k * size, min((k + 1) * size, n))
            for k, size, n in zip(reversed(place), self.block, self.shape, strict=True)
        )


def one_line(error: Exception, length: int = 120) -> str:
    """Shorten an exception's text to one line; its type where it has none."""
    return " ".join(str(error).split())[:length] or type(error).__name__


def _plain(part: Any, length: int) -> slice:
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        if step < 1:
            raise IndexError(f"expected steps of 1 or more, got {step}")
        return slice(start, max(start, stop), step)
    index = operator.index(part)
    if not -length <= index < length:
        raise IndexError(f"index {index} is out of bounds for {length} places")
    return slice(index % length, index % length + 1, 1)
