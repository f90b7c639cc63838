"""Pixels for the screen: a part of one plane, every so many of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...image.image import Image
from ...image.lazy import LazyArray

_MOST = 2**23  # pixels that are sent at once
_BAND = 2**24  # pixels that are read at once
_SENT = ("uint8", "uint16", "float32")  # what a browser has an array for, and is not too long


def read_plane(
    image: Image, index: Mapping[str, int], rows: slice, columns: slice, step: int = 1
) -> np.ndarray:
    """Read a part of a plane in bounded memory.

    Parameters
    ----------
    image
        Its pixels may be lazy.
    index
        Which plane, by axis letter; the first where not given, the last beyond the last.
    rows, columns
        Of the plane, with start and stop.
    step
        Every so many pixels along both.

    Returns
    -------
    ndarray, (Y, X)
        uint8, uint16 or float32.

    Raises
    ------
    ValueError
        A part outside of the plane or too large, or pixels that cannot be read.
    """
    lengths = dict(zip(image.axes, image.array.shape, strict=True))
    rows, columns = _inside(rows, lengths["Y"], "Y"), _inside(columns, lengths["X"], "X")
    width = len(range(rows.start, rows.stop, step)), len(range(columns.start, columns.stop, step))
    if step < 1 or width[0] * width[1] > _MOST:
        raise ValueError(f"expected at most {_MOST} pixels at once, got {width[0]} × {width[1]}")
    height = max(1, _BAND // (columns.stop - columns.start) // step) * step
    bands = [
        _read(image, index, slice(start, min(start + height, rows.stop)), columns)[::step, ::step]
        for start in range(rows.start, rows.stop, height)
    ]
    plane = bands[0] if len(bands) == 1 else np.concatenate(bands)
    return np.ascontiguousarray(plane, plane.dtype if plane.dtype.name in _SENT else np.float32)


def _read(image: Image, index: Mapping[str, int], rows: slice, columns: slice) -> np.ndarray:
    parts: list[slice | int] = []
    for letter, length in zip(image.axes, image.array.shape, strict=True):
        if letter in "YX":
            parts.append(rows if letter == "Y" else columns)
        else:
            parts.append(max(0, min(index.get(letter, 0), length - 1)))
    array = image.array
    pixels = (array.unchecked() if isinstance(array, LazyArray) else array)[tuple(parts)]
    plane = np.asarray(pixels)
    return plane if image.axes.index("Y") < image.axes.index("X") else plane.T


def _inside(part: slice, length: int, letter: str) -> slice:
    start, stop = max(0, part.start), min(part.stop, length)
    if start >= stop:
        raise ValueError(f"expected a part of {letter} 0 to {length}, got {part.start}:{part.stop}")
    return slice(start, stop)
