"""Intensity maps of images that may be larger than memory: for each volume, frame or channel."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ..image.image import Image, Lazy
from ..image.intensity import AffineMap
from ..image.tiles import Region, region_size
from . import Scope

SCOPES: dict[Scope, str] = {"volume": "TC", "frame": "TCZ", "image": "C", "none": ""}
Key = tuple[int, ...]
EXACT = 2**26  # pixels that are sorted at most; where there are more, that many are sampled
STREAMED = 2**31  # pixels of 8- or 16-bit integers that are counted at most
_PIECE = 2**22  # pixels read at once
_STRIPE = 2**20  # pixels read at once for a sample of an array without chunks


@dataclass(frozen=True)
class Scale:
    """The intensity map of a part of an image.

    Attributes
    ----------
    map
        To about 0..1.
    sampled
        The part was too large: the percentiles are those of evenly spread blocks of it.
    constant
        All pixels (or all that were sampled) are the same, so that there is nothing to restore.
    masked
        Some are NaN or infinite, and left out.
    """

    map: AffineMap
    sampled: bool = False
    constant: bool = False
    masked: bool = False


class Scales(Mapping[Key, Scale]):
    """The intensity maps of an image, each measured when it is first asked for.

    One key stands for each index along the axes of `letters`; planes of channels that are not
    chosen have none. Maps that are measured go along to other processes.

    Parameters
    ----------
    image
        The pixels are read in parts.
    scope
        What a map covers: ``volume`` (Z, Y and X: one map for each time and channel, as in
        training), ``frame`` (Y and X), ``image`` (all but C) or ``none`` (intensities are on
        about 0..1 already).
    low, high
        Percentiles that map to 0 and 1.
    channels
        Channels to restore, all where not given.

    Raises
    ------
    ValueError
        Unknown scope.

    Examples
    --------
    >>> import numpy as np
    >>> stack = Image(np.arange(24.0).reshape(2, 3, 4), "CYX")
    >>> scales = Scales(stack, "volume", 0, 100)
    >>> scales.of({"C": 1}).map
    AffineMap(offset=12.0, scale=11.0)
    """

    def __init__(
        self,
        image: Image,
        scope: Scope,
        low: float,
        high: float,
        channels: tuple[int, ...] | None = None,
    ) -> None:
        if scope not in SCOPES:
            raise ValueError(
                f"intensity: expected one of {', '.join(SCOPES)}, got {scope!r}; try volume"
            )
        self.scope, self._image, self.percentiles = scope, image, (low, high)
        self.letters = "".join(letter for letter in SCOPES[scope] if letter in image.axes)
        self._channels = None if channels is None else sorted(set(channels))
        self._measured: dict[Key, Scale] = {}
        self._lock = threading.Lock()

    def of(self, index: Mapping[str, int]) -> Scale | None:
        """Return the map of a plane, None where it is to be copied.

        Parameters
        ----------
        index
            The plane's place by axis letter.
        """
        if self._channels is not None and index.get("C", 0) not in self._channels:
            return None
        scale = self[tuple(index[letter] for letter in self.letters)]
        return None if scale.constant else scale

    def measure(self) -> None:
        """Measure all maps now."""
        for key in self:
            self[key]

    def __getitem__(self, key: Key) -> Scale:
        with self._lock:
            if key not in self._measured:
                self._measured[key] = self._measure(key)
            return self._measured[key]

    def __iter__(self) -> Iterator[Key]:
        axes, shape = self._image.axes, self._image.array.shape
        lengths: list[Iterable[int]] = [range(shape[axes.index(letter)]) for letter in self.letters]
        if self._channels is not None and "C" in self.letters:
            lengths[self.letters.index("C")] = self._channels
        return iter(product(*lengths))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _measure(self, key: Key) -> Scale:
        if self.scope == "none":
            return Scale(AffineMap(0.0, 1.0))
        image = self._image
        place = dict(zip(self.letters, key, strict=True))
        region = tuple(
            slice(place[letter], place[letter] + 1) if letter in place else slice(0, length)
            for letter, length in zip(image.axes, image.array.shape, strict=True)
        )
        return measure(image.array, region, *self.percentiles, image.chunks)


def measure(
    array: Lazy,
    region: Region,
    low: float,
    high: float,
    chunks: tuple[int, ...] | None = None,
) -> Scale:
    """Measure the percentile map of a region, reading it in parts.

    Parameters
    ----------
    array
        Pixels, integers or floats.
    region
        One slice for each dimension.
    low, high
        Percentiles that map to 0 and 1.
    chunks
        Shape of the blocks in which `array` is stored.

    Returns
    -------
    Scale
        That of `percentile_map` over all finite pixels: counted for 8- and 16-bit integers, sorted
        for up to 2**26 pixels of other types. Where there are more, of a sample of as many.
        More than 2**31 pixels of any type are sampled.
    """
    size = region_size(region)
    counted = array.dtype.kind in "ui" and array.dtype.itemsize <= 2 and size <= STREAMED
    whole = counted or size <= EXACT
    parts = _parts(region, chunks, _PIECE) if whole else _sample(region, chunks)
    pieces = (np.asarray(array[part]) for part in parts)
    if counted:
        values: _Counted | _Sorted = _Counted(pieces, array.dtype)
    else:
        values = _Sorted(pieces, size if whole else EXACT, array.dtype)
    return values.scale(low, high, sampled=not whole)


class _Counted:
    """Order statistics of 8- and 16-bit integers, from their histogram."""

    def __init__(self, pieces: Iterator[np.ndarray], dtype: np.dtype[Any]) -> None:
        lowest = np.iinfo(dtype).min
        counts = np.zeros(np.iinfo(dtype).max - lowest + 1, np.int64)
        for piece in pieces:
            counts += np.bincount(piece.ravel().astype(np.intp) - lowest, minlength=counts.size)
        self._lowest, self._below = lowest, np.cumsum(counts)

    def scale(self, low: float, high: float, *, sampled: bool) -> Scale:
        count = int(self._below[-1])
        return _scale(self._value, count, low, high, sampled, np.dtype(np.float32))

    def _value(self, rank: int) -> float:
        return float(np.searchsorted(self._below, rank, side="right") + self._lowest)


class _Sorted:
    """Order statistics of pixels held in memory."""

    def __init__(self, pieces: Iterator[np.ndarray], limit: int, dtype: np.dtype[Any]) -> None:
        self._values, count, self._masked = np.empty(limit, dtype), 0, False
        for piece in pieces:
            taken = piece.ravel()[: limit - count]
            finite = np.isfinite(taken)
            if not finite.all():
                taken, self._masked = taken[finite], True
            self._values[count : count + taken.size] = taken
            count += taken.size
        self._values = self._values[:count]

    def scale(self, low: float, high: float, *, sampled: bool) -> Scale:
        count = self._values.size
        if not count:
            return Scale(AffineMap(0.0, 1.0), sampled, constant=True, masked=True)
        ranks = {0, count - 1}
        for percentile in (low, high):
            below = math.floor((count - 1) * (percentile / 100))
            ranks |= {below, min(below + 1, count - 1)}
        self._values.partition(sorted(ranks))
        small = self._values.dtype.itemsize <= 2
        exact = np.dtype(np.float32 if small else np.float64)
        scale = _scale(lambda rank: float(self._values[rank]), count, low, high, sampled, exact)
        return replace(scale, masked=self._masked)


def _scale(
    value: Any, count: int, low: float, high: float, sampled: bool, exact: np.dtype[Any]
) -> Scale:
    """Turn order statistics into the map that `percentile_map` gives of all the values."""
    first, last = value(0), value(count - 1)
    ends = []
    for percentile in (low, high):
        place = (count - 1) * (percentile / 100)
        below = math.floor(place)
        a, b = (exact.type(value(min(rank, count - 1))) for rank in (below, below + 1))
        ends.append(_between(a, b, np.float64(place - below)))
    bottom, top = ends
    if bottom == top:
        bottom, top = first, last
    constant = first == last
    return Scale(AffineMap(bottom, 1.0 if constant else top - bottom), sampled, constant)


def _between(a: Any, b: Any, weight: np.float64) -> float:
    """Interpolate as numpy.percentile does, to the last digit."""
    step = b - a
    return float(b - step * (1 - weight) if weight >= 0.5 else a + step * weight)


def _parts(region: Region, chunks: tuple[int, ...] | None, limit: int) -> Iterator[Region]:
    """Cut a region into parts of up to `limit` pixels, or of one stored chunk each."""
    step = _step(region, chunks, limit)
    for place in np.ndindex(*_counts(region, step)):
        yield _part(region, step, place)


def _sample(region: Region, chunks: tuple[int, ...] | None) -> Iterator[Region]:
    """Choose stored chunks, or stripes where there are none, spread evenly over a region.

    Each comes from another stretch of the region, at a place drawn in it (always the same one).
    """
    step = chunks or _step(region, None, _STRIPE)
    counts = _counts(region, step)
    total = math.prod(counts)
    number = min(total, max(1, EXACT // math.prod(step)))
    drawn = np.random.default_rng(0).random(number)
    for index in ((np.arange(number) + drawn) * (total / number)).astype(np.int64):
        yield _part(region, step, np.unravel_index(min(index, total - 1), counts))


def _step(region: Region, chunks: tuple[int, ...] | None, limit: int) -> tuple[int, ...]:
    """Lengthen chunks, or pixels where there are none, from the last axis on."""
    step = list(chunks or (1,) * len(region))
    for i in reversed(range(len(step))):
        most = limit // (math.prod(step) // step[i]) // step[i] * step[i]
        length = region[i].stop - region[i].start
        step[i] = max(step[i], min(most, -(-length // step[i]) * step[i]))
    return tuple(step)


def _counts(region: Region, step: tuple[int, ...]) -> tuple[int, ...]:
    """Number of parts of a region along each axis; they begin where whole steps from 0 do."""
    return tuple(-(-part.stop // n) - part.start // n for part, n in zip(region, step, strict=True))


def _part(region: Region, step: tuple[int, ...], place: Sequence[Any]) -> Region:
    starts = [(part.start // n + k) * n for part, n, k in zip(region, step, place, strict=True)]
    return tuple(
        slice(max(part.start, int(start)), min(part.stop, int(start) + n))
        for part, n, start in zip(region, step, starts, strict=True)
    )
