"""The planes of images that a diagnosis looks at, each channel by itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..image.axes import name_axes
from ..image.formats import open_image
from ..image.image import Image, check_kind
from ..image.lazy import LazyArray

PLANES = 24  # of a channel, over all images of a laboratory
DEEPEST = 8  # planes of one image
SIDE = 2048  # pixels; of larger planes the middle is looked at
LEAST = 32  # pixels a side
_BLOCK = 8  # pixels; NaN are looked for in blocks

Plane = NDArray[np.generic]


class Channel(NamedTuple):
    """What is looked at of a channel of an image, or of several images of a laboratory.

    Attributes
    ----------
    name
        As the file says; its number where there are several without a name; None for the only one.
    planes
        (Y, X), finite and not constant, in the file's units.
    notes
        What a user should know of how they were chosen, a sentence each.
    """

    name: str | None
    planes: tuple[Plane, ...]
    notes: tuple[str, ...] = ()


class Looked(NamedTuple):
    """What is looked at of one image: its name, and its channels."""

    name: str
    channels: tuple[Channel, ...]


def look(
    image: Any, *, axes: str | None = None, count: int = DEEPEST, this_file: bool = False
) -> Looked:
    """Choose and read planes of an image.

    Parameters
    ----------
    image
        A path or URL, an `Image`, or an array; read by slicing.
    axes
        One letter of ``TCZYX`` for each dimension; overrides the file's.
    count
        Planes of each channel, evenly spread over the other axes; at least 1.
    this_file
        Of an image that lies in several files, the planes of this one alone.

    Returns
    -------
    Looked
        Of planes beyond `SIDE` their middle; of planes with NaN or infinite pixels the largest
        part without.

    Raises
    ------
    ValueError
        A colour image, axes that are not known, damaged pixels, no part of 32 x 32 pixels without
        NaN, or the same intensity everywhere.
    FileNotFoundError, OSError
        The file cannot be read.
    """
    opened = _opened(image, axes, this_file)
    name = str(opened.source or "image")
    check_kind(opened.array.dtype, tuple(opened.array.shape), name)
    short = min(opened.array.shape[opened.axes.index(letter)] for letter in "YX")
    if short < LEAST:
        raise ValueError(
            f"{name}: expected planes of at least {LEAST} x {LEAST} pixels to diagnose, got a side "
            f"of {short}; give a larger field"
        )
    number = opened.array.shape[opened.axes.index("C")] if "C" in opened.axes else 1
    channels = tuple(_channel(opened, index, number, count, name) for index in range(number))
    if not any(channel.planes for channel in channels):
        raise ValueError(
            f"{name}: expected an image with structure, got the same intensity everywhere; leave "
            "it out"
        )
    return Looked(name, channels)


def together(images: Iterable[Looked]) -> tuple[Channel, ...]:
    """Bring the images of one laboratory together, channel by channel in their order.

    Examples
    --------
    >>> one = Looked("a", (Channel("DNA", (np.eye(64),)),))
    >>> len(together([one, one])[0].planes)
    2
    """
    several = list(images)
    most = max((len(looked.channels) for looked in several), default=0)
    result = []
    for index in range(most):
        own = [looked.channels[index] for looked in several if index < len(looked.channels)]
        planes = tuple(plane for channel in own for plane in channel.planes)
        notes = tuple(dict.fromkeys(note for channel in own for note in channel.notes))
        result.append(Channel(own[0].name, planes, notes))
    return tuple(result)


def planes_each(images: int) -> int:
    """Return how many planes of each of so many images are looked at, 1 to `DEEPEST`."""
    return max(1, min(DEEPEST, PLANES // max(images, 1)))


def _opened(image: Any, axes: str | None, this_file: bool) -> Image:
    if isinstance(image, str | os.PathLike):
        opened = open_image(os.fspath(image), axes=axes, this_file=this_file)
        array = opened.array
        unchecked = array.unchecked() if isinstance(array, LazyArray) else array
        name = Path(str(opened.source)).name
        return replace(opened, array=unchecked, source=name)
    if isinstance(image, Image):
        return image if axes is None else replace(image, axes=axes)
    array = image if hasattr(image, "shape") and hasattr(image, "dtype") else np.asarray(image)
    shape = tuple(array.shape)
    return Image(array, name_axes("image", shape, None, axes, fallback=False))


def _channel(image: Image, index: int, number: int, count: int, name: str) -> Channel:
    """Read some planes of one channel."""
    planes, notes = [], []
    for key in _keys(image, index, count):
        plane = np.asarray(image.array[key])
        plane = plane if image.axes.index("Y") < image.axes.index("X") else plane.T
        if plane.dtype.kind == "f" and not np.isfinite(plane).all():
            plane = finite_part(plane, name)
            notes.append("NaN and infinite pixels are left out: the largest part without is read.")
        if plane.min() < plane.max():
            planes.append(plane)
    own = image.channels[index] if image.channels else f"channel {index}"
    return Channel(own if number > 1 else None, tuple(planes), tuple(dict.fromkeys(notes)))


def _keys(image: Image, channel: int, count: int) -> Iterator[tuple[int | slice, ...]]:
    """Yield the places of planes of a channel, evenly spread, and of their middle."""
    shape = image.array.shape
    lead = [k for k, letter in enumerate(image.axes) if letter not in "CYX"]
    lengths = [shape[k] for k in lead]
    total = int(np.prod(lengths, dtype=np.int64))
    number = min(count, total)
    for place in ((np.arange(number) + 0.5) * total / number).astype(np.int64):
        at = dict(zip(lead, np.unravel_index(place, lengths), strict=True)) if lead else {}
        yield tuple(
            channel if letter == "C" else int(at[k]) if k in at else _middle(shape[k])
            for k, letter in enumerate(image.axes)
        )


def _middle(length: int) -> slice:
    start = max(0, (length - SIDE) // 2)
    return slice(start, start + min(length, SIDE))


def finite_part(plane: Plane, name: str) -> Plane:
    """Return the largest upright rectangle of a plane without NaN and infinite pixels.

    Parameters
    ----------
    plane
        (Y, X) of floats.
    name
        The image's name, for the message.

    Returns
    -------
    array
        In steps of 8 pixels, at least 32 x 32 pixels.

    Raises
    ------
    ValueError
        There is no such part.

    Examples
    --------
    >>> plane = np.ones((64, 96))
    >>> plane[:, :30] = np.nan
    >>> finite_part(plane, "a.tif").shape
    (64, 64)
    """
    height, width = (length // _BLOCK for length in plane.shape)
    whole = plane[: height * _BLOCK, : width * _BLOCK]
    good = np.isfinite(whole).reshape(height, _BLOCK, width, _BLOCK)
    top, left, bottom, right = _largest(np.asarray(good.all(axis=(1, 3))))
    if min(bottom - top, right - left) * _BLOCK < LEAST:
        raise ValueError(
            f"{name}: expected a part of {LEAST} x {LEAST} pixels without NaN or infinity, got "
            "none; replace these pixels"
        )
    rows, columns = slice(top * _BLOCK, bottom * _BLOCK), slice(left * _BLOCK, right * _BLOCK)
    return plane[rows, columns]


def _largest(good: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Find the largest rectangle of True: top, left, bottom, right (behind the last)."""
    best, found = 0, (0, 0, 0, 0)
    heights = np.zeros(good.shape[1], int)
    for bottom, row in enumerate(good, 1):
        heights = np.where(row, heights + 1, 0)
        for left in range(len(heights)):
            lowest = np.minimum.accumulate(heights[left:])
            areas = lowest * np.arange(1, len(lowest) + 1)
            wide = int(areas.argmax())
            if areas[wide] > best:
                best = int(areas[wide])
                found = (bottom - int(lowest[wide]), left, bottom, left + wide + 1)
    return found
