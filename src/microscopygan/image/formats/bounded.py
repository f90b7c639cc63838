"""Chunks of a Zarr that would be decoded to far more than the array's metadata say are refused."""

import bz2
import lzma
import math
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.storage import LocalStore, WrapperStore

from . import ZARR_METADATA

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_ROOM = 2**20  # bytes that a chunk may be larger than it should be; others are no danger
_STEP = 2**20  # bytes that are decoded at once, only to count them
_ENTRY, _CHECKSUM = 16, 4  # bytes of a shard's index for each chunk, and after them
_NOT_THERE = 2**64 - 1  # in place of both numbers of an entry
_COMPRESSORS = ("zstd", "blosc", "gzip", "zlib", "bz2", "lzma", "lz4")


@dataclass(frozen=True)
class Limit:
    """What the chunks of an array may take.

    Attributes
    ----------
    chunk
        Bytes of a chunk, decoded.
    codec
        How chunks are compressed, None where they are not, or in a way that bounds itself.
    chunks
        Of a shard; 0 where there are no shards.
    index
        Bytes of a shard's index.
    index_first
        Whether it lies before the chunks.
    """

    chunk: int
    codec: str | None = None
    chunks: int = 0
    index: int = 0
    index_first: bool = False

    @property
    def stored(self) -> int:
        """Bytes that a chunk or shard may take on the disk."""
        whole = self.chunk * max(self.chunks, 1)
        return whole + whole // 8 + self.index + _ROOM


def limit_of(array: Any) -> Limit:
    """Return what the chunks of a Zarr array may take.

    Raises
    ------
    ValueError
        Chunks that are compressed twice, or shards that hold shards or are compressed as a whole,
        of which nobody can tell.
    """
    names = [name for codec in (*array.filters, *array.compressors) if (name := _name(codec))]
    if len(names) > 1:
        raise ValueError(f"expected chunks that are compressed once, got {' and '.join(names)}")
    chunk, codec = math.prod(array.chunks) * array.dtype.itemsize, next(iter(names), None)
    if array.shards is None:
        return Limit(chunk, codec)
    outer, number = array.metadata.codecs, math.prod(array.shards) // math.prod(array.chunks)
    inner = outer[0].to_dict()["configuration"]
    index = [one["name"] for one in inner["index_codecs"]]
    if len(outer) > 1 or set(index) - {"bytes", "crc32c"} or "sharding_indexed" in str(inner):
        raise ValueError("expected shards of chunks with a plain index, got others")
    size = _ENTRY * number + _CHECKSUM * ("crc32c" in index)
    return Limit(chunk, codec, number, size, str(inner["index_location"]).endswith("start"))


def _name(codec: Any) -> str | None:
    """Name what compresses, None for other codecs."""
    name = str(getattr(codec, "codec_id", None) or codec.to_dict()["name"])
    plain = name.rpartition(".")[2].lower()
    return plain if plain in _COMPRESSORS else None


class BoundedStore(WrapperStore[Any]):
    """A Zarr on this machine, for reading.

    Parameters
    ----------
    path
        Of the group or array.

    Attributes
    ----------
    limit
        Of the array; None where it is not known yet.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(self.opened(path))
        self.path = path
        self.limit: Limit | None = None

    @staticmethod
    def opened(path: Path | str) -> Any:
        """Return the store that is read."""
        return LocalStore(path, read_only=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    async def get(
        self, key: str, prototype: "BufferPrototype", byte_range: "ByteRequest | None" = None
    ) -> "Buffer | None":
        """Return what is stored under a key, None where nothing is."""
        self._check_file(key)
        if byte_range is None:
            await self._check_stored(key)
        found: Buffer | None = await self._store.get(key, prototype, byte_range)
        check_size(key, found, self.limit, whole=byte_range is None)
        return found

    def _check_file(self, key: str) -> None:
        """Refuse a pipe or a device, whose reading may never end."""
        try:
            mode = os.stat(os.path.join(self.path, key)).st_mode
        except (OSError, ValueError):  # not there, within a ZIP file, or no name of a file
            return
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ValueError(f"{key} is a pipe or a device, not a file")

    async def _check_stored(self, key: str) -> None:
        """Refuse a file that is far larger than a chunk may be."""
        if self.limit is None:
            return
        try:
            size = await self._store.getsize(key)
        except (FileNotFoundError, NotADirectoryError):
            return
        if size > self.limit.stored:
            raise _too_large(self.limit.stored, size)


def check_size(key: str, stored: "Buffer | None", limit: Limit | None, *, whole: bool) -> None:
    """Refuse what is far larger than it should be when it is decoded.

    Parameters
    ----------
    key, stored
        A chunk, a shard or a part of that.
    limit
        Of the array.
    whole
        It is no part.

    Raises
    ------
    ValueError
        It would be decoded to more.
    """
    if stored is None or limit is None or limit.codec is None or key.endswith(ZARR_METADATA):
        return
    content = stored.as_numpy_array()
    for chunk in _chunks(content, limit) if whole and limit.chunks else [content]:
        size = decoded_size(memoryview(chunk.data), limit.codec, limit.chunk + _ROOM)
        if size > limit.chunk + _ROOM:
            raise _too_large(limit.chunk, size)


def _too_large(limit: int, size: int) -> ValueError:
    return ValueError(
        f"a chunk of {limit} bytes would be decoded to {size} or more, which is an attack or damage"
    )


def _chunks(shard: np.ndarray, limit: Limit) -> Iterator[np.ndarray]:
    """Yield the chunks of a shard that its index names."""
    first = 0 if limit.index_first else len(shard) - limit.index
    if first < 0:
        return  # which nobody takes for a shard
    entries = shard[first : first + _ENTRY * limit.chunks].tobytes()
    for place, size in np.frombuffer(entries, "<u8").reshape(-1, 2).tolist():
        if place != _NOT_THERE:
            yield shard[place : place + size]


def decoded_size(content: Any, codec: str, most: int) -> int:
    """Return how many bytes a compressed chunk holds; 0 where it does not say so or is damaged.

    Parameters
    ----------
    content
        Its bytes; a checksum may follow.
    codec
        Zstandard, Blosc and LZ4 state the size. Of others, what is decoded is counted.
    most
        Counting ends above this number.

    Examples
    --------
    >>> decoded_size(zlib.compress(bytes(5000)), "zlib", 10_000)
    5000
    """
    if len(content) < 16:
        return 0
    start = bytes(content[:18])
    if codec == "zstd":
        return _of_zstd(start) or _of_zstd_without(content, most)
    if codec == "blosc":
        return int.from_bytes(start[4:8], "little")
    if codec == "lz4":
        return int.from_bytes(start[:4], "little")
    return _counted(content, codec, most)


def _of_zstd(start: bytes) -> int:
    """Read the content's size from the header of a frame (RFC 8878, 3.1.1.1)."""
    about = start[4]
    single, kind = bool(about & 0x20), about >> 6
    place = 5 + (0 if single else 1) + (0, 1, 2, 4)[about & 3]
    width = (1 if single else 0, 2, 4, 8)[kind]
    size = int.from_bytes(start[place : place + width], "little")
    return size + 256 if width == 2 else size


def _of_zstd_without(content: Any, most: int) -> int:
    """Decode a frame that does not state its size, as far as it should reach."""
    import imagecodecs

    for length in (len(content), len(content) - _CHECKSUM):
        try:
            return len(imagecodecs.zstd_decode(content[:length], out=most))
        except Exception as error:  # of damage; there may be a checksum after it, too
            if "too small" in str(error):
                return most + 1
    return 0


def _counted(content: Any, codec: str, most: int) -> int:
    """Count the bytes that come of a chunk of one or more streams."""
    total, rest = 0, content
    while total <= most and len(rest):
        decoder: Any = (
            bz2.BZ2Decompressor()
            if codec == "bz2"
            else lzma.LZMADecompressor()
            if codec == "lzma"
            else zlib.decompressobj(zlib.MAX_WBITS | 32)  # of either kind
        )
        try:
            total += _of_stream(decoder, rest, most - total, paused=codec in ("gzip", "zlib"))
        except (zlib.error, OSError, EOFError, lzma.LZMAError):
            break  # a checksum after the last, or damage, which reading finds
        rest = decoder.unused_data if decoder.eof else b""
    return total


def _of_stream(decoder: Any, content: Any, most: int, *, paused: bool) -> int:
    """Count the bytes of one stream; what is left of the input lies outside of zlib's decoder."""
    total = 0
    while True:
        block = decoder.decompress(content, _STEP)
        total += len(block)
        content = decoder.unconsumed_tail if paused else b""
        if decoder.eof or total > most or not (block or content):
            return total
