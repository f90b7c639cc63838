"""Pixels for the screen: a part of one plane, every so many of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...image.formats import open_image
from ...image.image import Image
from ...image.lazy import LazyArray

_MOST = 2**23  # pixels that are sent at once
_BAND = 2**24  # pixels that are read at once
_SENT = ("uint8", "uint16", "float32")  # what a browser has an array for, and is not too long


@dataclass(frozen=True)
class Pyramid:
    """An image, and the smaller copies of it that its file holds.

    Attributes
    ----------
    levels
        Each with the number of pixels, along Y and X, that one of it stands for; the image itself,
        of 1, is the first.
    """

    levels: tuple[tuple[int, Image], ...]

    @staticmethod
    def of(image: Image) -> Pyramid:
        """Return the pyramid of an image; of all but OME-Zarr it is the image alone."""
        return Pyramid(((1, image), *_smaller(image)))

    def read(
        self, index: Mapping[str, int], rows: slice, columns: slice, step: int
    ) -> tuple[np.ndarray, int]:
        """Read a part of a plane from the smallest copy that is fine enough.

        Parameters
        ----------
        index, rows, columns, step
            As for `read_plane`, of the image itself.

        Returns
        -------
        pixels : ndarray, (Y, X)
            See `read_plane`.
        step : int
            The one that they have: the next finer of a copy.
        """
        factor, level = max(
            (one for one in self.levels if one[0] <= max(step, 1)), key=lambda one: one[0]
        )
        rows, columns, inner = _coarser(rows, factor), _coarser(columns, factor), step // factor
        return read_plane(level, index, rows, columns, inner), inner * factor


def _smaller(image: Image) -> Iterator[tuple[int, Image]]:
    """Yield the copies that lie beside the full resolution of an OME-Zarr."""
    folder = image.source
    if not isinstance(folder, Path) or not (folder / "0").is_dir():
        return
    lengths = dict(zip(image.axes, image.array.shape, strict=True))
    for number in range(1, 16):
        if not (folder / str(number)).is_dir():
            return
        level = open_image(folder / str(number), axes=image.axes)
        smaller = dict(zip(level.axes, level.array.shape, strict=True))
        factor = round(lengths["X"] / smaller["X"])
        fits = all(
            -(-lengths[a] // (factor if a in "YX" else 1)) - n in (0, 1) for a, n in smaller.items()
        )
        if fits and factor > 1:
            yield factor, level


def _coarser(part: slice, factor: int) -> slice:
    """Return a part in pixels that stand for several; one is left of any that is not empty."""
    if factor == 1:
        return part
    return slice(part.start // factor, max(part.stop // factor, part.start // factor + 1))


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
