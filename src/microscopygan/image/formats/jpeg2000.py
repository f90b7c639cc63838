"""JPEG 2000 (ISO 15444-1) of grey values: JP2 files and bare codestreams, decoded at once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..axes import name_axes
from ..image import Image, known_sizes, micrometres
from . import Request

_START, _TILE, _END = b"\xff\x4f\xff\x51", b"\xff\x90", b"\xff\xd9"  # markers of a codestream
_MOST = 2**28  # pixels, which take four bytes each while they are decoded
_SMALL, _PLAUSIBLE = 2**26, 20_000  # pixels, and pixels for each byte of larger images
_COARSEST = 100.0  # µm; larger pixels are of prints


def open_jpeg2000(path: Path, request: Request) -> Image:
    """Read a JPEG 2000 file of grey values; it is decoded at once.

    Returns
    -------
    Image
        Its pixel size is the resolution of capture, where the file states one.

    Raises
    ------
    ValueError
        A colour image, one that ends too early, or of more pixels than would fit into the memory.
    Exception
        Whatever the decoder raises on damaged files.
    """
    import imagecodecs

    content = path.read_bytes()
    boxes = dict(_boxes(content)) if content[4:8] == b"jP  " else {b"jp2c": content}
    stream = boxes.get(b"jp2c", b"")
    if stream[:4] != _START:
        raise ValueError("it holds no codestream")
    _check_size(stream)
    _check_whole(stream)
    array = np.asarray(imagecodecs.jpeg2k_decode(content))
    if array.ndim != 2:
        raise ValueError(
            f"{path}: expected grey values, got a colour image or one with transparency (shape "
            f"{array.shape}); save it as 8- or 16-bit grey"
        )
    axes = name_axes(str(path), array.shape, None, request.axes, True)
    return Image(array, axes, known_sizes(_sizes(boxes.get(b"jp2h", b"")), axes), path)


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes of a JP2 file, or of a box."""
    place = 0
    while place + 8 <= len(content):
        length, first = int.from_bytes(content[place : place + 4], "big"), 8
        if length == 1:
            length, first = int.from_bytes(content[place + 8 : place + 16], "big"), 16
        end = place + length if length else len(content)  # 0: to the end
        if end > len(content) or end < place + first:
            raise ValueError("it ends too early")
        yield content[place + 4 : place + 8], content[place + first : end]
        place = end


def _check_size(stream: bytes) -> None:
    """Refuse a size that would fill the memory."""
    right, below, left, above = (int.from_bytes(stream[i : i + 4], "big") for i in range(8, 24, 4))
    number, components = (right - left) * (below - above), int.from_bytes(stream[40:42], "big")
    size = f"{right - left}×{below - above} pixels"
    if number * components > _SMALL and number > _PLAUSIBLE * len(stream):
        raise ValueError(f"{size} do not fit into {len(stream)} bytes")
    if number * components > _MOST:
        raise ValueError(f"{size} would be decoded at once, which takes too much")


def _check_whole(stream: bytes) -> None:
    """Raise unless every part of the image is there, since the decoder takes what it finds."""
    place = 2
    while stream[place : place + 2] not in (_TILE, _END, b""):  # the header, marker by marker
        place += 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
    while stream[place : place + 2] == _TILE:
        length = int.from_bytes(stream[place + 6 : place + 10], "big")
        place = place + length if length else max(stream.rfind(_END), 0)  # 0: to the end
        if not length:
            break
    if stream[place : place + 2] != _END:
        raise ValueError("it ends too early")


def _sizes(header: bytes) -> dict[str, float | None]:
    """Return the size of a pixel by the resolution of capture, which counts pixels in a metre."""
    inner = dict(_boxes(header))
    stated = dict(_boxes(inner.get(b"res ", b""))).get(b"resc", b"")
    if len(stated) < 10:
        return {}
    numbers = np.frombuffer(stated, ">u2", 4).astype(float)
    powers = np.frombuffer(stated, np.int8, 2, 8).astype(float)
    sizes: dict[str, float | None] = {}
    for letter, above, below, power in zip("YX", numbers[::2], numbers[1::2], powers, strict=True):
        size = micrometres(below / max(above, 1) / 10.0**power, "m")
        sizes[letter] = size if size is not None and size <= _COARSEST else None
    return sizes
