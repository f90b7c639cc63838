"""Chunks of a Zarr that would be decoded to far more than the array's metadata say are refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore, WrapperStore

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_ROOM = 2**20  # bytes that a chunk may be larger than it should be; others are no danger
_ZSTD = b"\x28\xb5\x2f\xfd"


class BoundedStore(WrapperStore[Any]):
    """A Zarr on this machine, for reading.

    Parameters
    ----------
    path
        Of the group or array.

    Attributes
    ----------
    limit
        Bytes of a chunk of the array, decoded; None where it is not known yet.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(LocalStore(path, read_only=True))
        self.path = path
        self.limit: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundedStore, (self.path,)

    async def get(
        self, key: str, prototype: "BufferPrototype", byte_range: "ByteRequest | None" = None
    ) -> "Buffer | None":
        """Return what is stored under a key, None where nothing is."""
        found: Buffer | None = await self._store.get(key, prototype, byte_range)
        check_size(found, self.limit)
        return found


def check_size(chunk: "Buffer | None", limit: int | None) -> None:
    """Raise `ValueError` where a chunk says that it is far larger than `limit` when decoded.

    Zstandard and Blosc tell; gzip shrinks by a factor of 1,000 at most.
    """
    if chunk is None or limit is None or len(chunk) < 16:
        return
    size = decoded_size(chunk.as_numpy_array()[:18].tobytes(), len(chunk))
    if size > limit + _ROOM:
        raise ValueError(
            f"a chunk of {limit} bytes would be decoded to {size}, which is an attack or damage"
        )


def decoded_size(start: bytes, length: int) -> int:
    """Return how many bytes a compressed chunk holds by its own account; 0 where it says nothing.

    Parameters
    ----------
    start
        Its first 18 bytes.
    length
        Of all of it.

    Examples
    --------
    >>> decoded_size(b"plain pixels, nothing", 100)
    0
    """
    if start[:4] == _ZSTD:
        return _of_zstd(start)
    blosc = start[0] in (1, 2) and start[1] == 1
    if blosc and abs(int.from_bytes(start[12:16], "little") - length) <= 4:  # a checksum follows
        return int.from_bytes(start[4:8], "little")
    return 0


def _of_zstd(start: bytes) -> int:
    """Read the content's size from the header of a frame (RFC 8878, 3.1.1.1)."""
    about = start[4]
    single, kind = bool(about & 0x20), about >> 6
    place = 5 + (0 if single else 1) + (0, 1, 2, 4)[about & 3]
    width = (1 if single else 0, 2, 4, 8)[kind]
    size = int.from_bytes(start[place : place + width], "little")
    return size + 256 if width == 2 else size
