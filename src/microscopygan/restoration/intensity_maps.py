"""What is measured of an image of any size before it is restored: intensity maps, hot pixels."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image.image import Image, Lazy
from ..image.intensity import (
    NEAR,
    AffineMap,
    HotPixelCount,
    alone,
    cut_off,
    find_hot_pixels,
    isolation,
    piled_up,
)
from ..image.lazy import plain_region, region_shape
from ..image.tiles import Region, region_size
from . import HotPixels, Scope

SCOPES: dict[Scope, str] = {"volume": "TC", "frame": "TCZ", "image": "C", "none": ""}
Key = tuple[int, ...]
EXACT = 2**26  # pixels that are sorted at most; where there are more, that many are sampled
STREAMED = 2**31  # pixels of 8- or 16-bit integers that are counted at most
_PIECE = 2**22  # pixels read at once
_STRIP = 2**20  # pixels read at once for a sample of an array without chunks
_PLANES, _PIXELS = 8, 2**22  # that are looked at to know what an image is like
_BOX = 8  # pixels; side of the boxes whose means stand for restored pixels
_ROWS = 128  # rows that are looked at together


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
    cut_off
        The part of the pixels (or of the sample) that is cut off at the highest value, 0 to 1.
    """

    map: AffineMap
    sampled: bool = False
    constant: bool = False
    masked: bool = False
    cut_off: float = 0.0


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
        scale = _scale(self._value, count, low, high, sampled, np.dtype(np.float32))
        return replace(scale, cut_off=0.0 if scale.constant else self._cut_off(count))

    def _cut_off(self, count: int) -> float:
        """Return what `intensity.cut_off` gives of the highest value, from the counts."""
        first, last = (int(self._value(rank) - self._lowest) for rank in (0, count - 1))
        below = int(self._below[last - 1])
        second = int(self._value(below - 1) - self._lowest)
        near = min(math.ceil(last - NEAR * (last - first)), second)
        farther = int(self._below[near - 1]) if near else 0
        return piled_up(count - below, below - farther, count)

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
        top = 0.0 if scale.constant else cut_off(self._values, "highest")
        return replace(scale, masked=self._masked, cut_off=top)


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
    """Choose stored chunks, or strips where there are none, spread evenly over a region.

    Each comes from another stretch of the region, at a place drawn in it (always the same one).
    """
    step = chunks or _step(region, None, _STRIP)
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


class Mended:
    """Pixels whose hot ones have the median of their neighbours; read by slicing.

    Parameters
    ----------
    array
        The pixels as they are.
    axes
        Of `array`.
    threshold
        How much brighter than the median of its neighbours a hot pixel is, in grey values.
    keep
        The output gets the hot pixels as they were.
    """

    def __init__(self, array: Any, axes: str, threshold: float, keep: bool) -> None:
        self.array, self._axes, self._threshold, self.keep = array, axes, threshold, keep
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.ndim, self.chunks = len(self.shape), getattr(array, "chunks", None)
        self.source = getattr(array, "source", None)

    def __getitem__(self, key: Any) -> np.ndarray:
        region, dropped = plain_region(key, self.shape)
        whole = tuple(slice(part.start, part.stop) for part in region)
        pixels, hot, medians = self._found(whole)
        pixels[hot] = np.rint(medians[hot]) if self.dtype.kind in "ui" else medians[hot]
        stepped = pixels[tuple(slice(None, None, part.step) for part in region)]
        return stepped.squeeze(dropped) if dropped else stepped

    def opened(self) -> Any:
        """Return what the pixels are read from."""
        return self.array.opened()

    def hot(self, region: tuple[slice, ...]) -> tuple[NDArray[np.bool_], np.ndarray]:
        """Return which pixels of a region are hot, and all its pixels as they are."""
        pixels, hot, _ = self._found(region)
        return hot, pixels

    def _found(
        self, region: tuple[slice, ...]
    ) -> tuple[np.ndarray, NDArray[np.bool_], NDArray[np.float32]]:
        """Pixels of a region, which are hot, and the medians of their neighbours."""
        y, x = self._axes.index("Y"), self._axes.index("X")
        grown, cut, padding = list(region), [slice(None)] * self.ndim, [(0, 0)] * self.ndim
        for k in (y, x):
            start, stop = max(region[k].start - 1, 0), min(region[k].stop + 1, self.shape[k])
            grown[k] = slice(start, stop)
            padding[k] = (start + 1 - region[k].start, region[k].stop + 1 - stop)
            cut[k] = slice(region[k].start - start, region[k].stop - start)
        read = np.asarray(self.array[tuple(grown)])
        pixels = read[tuple(cut)].copy()
        mode: Any = "reflect" if min(read.shape[y], read.shape[x]) > 1 else "edge"
        padded = np.moveaxis(np.pad(read, padding, mode=mode), (y, x), (-2, -1))
        hot, medians = np.empty(region_shape(region), bool), np.empty(pixels.shape, np.float32)
        hot_planes, median_planes = (np.moveaxis(a, (y, x), (-2, -1)) for a in (hot, medians))
        for place in np.ndindex(hot_planes.shape[:-2]):
            for first in range(0, hot_planes.shape[-2], _ROWS):
                rows = slice(first, min(first + _ROWS, hot_planes.shape[-2]))
                part = padded[place][rows.start : rows.stop + 2]
                difference, spread, median = isolation(part)
                hot_planes[place][rows] = alone(difference, spread, self._threshold)
                median_planes[place][rows] = median
        return pixels, hot, medians


def without_hot_pixels(image: Image, wanted: HotPixels) -> Image:
    """Return an image whose hot pixels are mended as they are read, where it has some.

    Parameters
    ----------
    image
        Its planes are looked at: up to eight, evenly spaced.
    wanted
        ``auto`` mends where the diagnosis is clear: a few single pixels stand out by more than
        noise does, and none of their neighbours does, which optics would not leave so; ``mend``
        and ``keep`` find them in any case, ``keep`` puts them back into the output.
    """
    found = _hot_pixels(image)
    if not (found.clear if wanted == "auto" else found.few):
        return image
    array = Mended(image.array, image.axes, found.threshold, wanted == "keep")
    share = 100 * found.number / found.size
    line = f"Hot pixels, {share:.2g} % of all, were taken out before the network and " + (
        "put back (--hot-pixels keep)." if array.keep else "mended (--hot-pixels keep: not)."
    )
    return replace(image, array=array, notes=(*image.notes, line))


def rounding_loss(image: Image) -> float:
    """Estimate which part of its light an image loses where what is restored is rounded.

    Returns
    -------
    float
        0 to 1, of up to eight planes, evenly spaced. A restored pixel is taken for the mean of
        8×8 ones around it: where that is 0.3, rounding leaves nothing, while errors of brighter
        pixels cancel out.
    """
    before = lost = 0.0
    for plane in _planes(image):
        means = _box_means(plane.astype(np.float64))
        lost += float((np.rint(means) - means).sum())
        before += float(np.abs(means).sum())
    return abs(lost) / before if before else 0.0


def _box_means(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of boxes of 8×8 pixels; what is left over at the edges is left out."""
    y, x = (min(_BOX, n) for n in plane.shape)
    rows, columns = (n // side for n, side in zip(plane.shape, (y, x), strict=True))
    means: NDArray[np.float64] = (
        plane[: rows * y, : columns * x].reshape(rows, y, columns, x).mean((1, 3))
    )
    return means


def _hot_pixels(image: Image) -> HotPixelCount:
    """Count the hot pixels of planes all over an image."""
    return find_hot_pixels(list(_planes(image)))


def _planes(image: Image) -> Iterator[np.ndarray]:
    """Yield planes all over an image, of large ones their middle."""
    y, x = image.axes.index("Y"), image.axes.index("X")
    shape = image.array.shape
    height = min(shape[y], max(_PIXELS // (_PLANES * shape[x]), 3))
    width = min(shape[x], max(_PIXELS // (_PLANES * height), 3))
    lead = [n for k, n in enumerate(shape) if k not in (y, x)]
    total = int(np.prod(lead, dtype=np.int64))
    places = np.unique(np.linspace(0, total - 1, min(total, _PLANES)).round().astype(np.int64))
    for place in places:
        index = iter(np.unravel_index(place, lead))
        middle = {y: (shape[y] - height) // 2, x: (shape[x] - width) // 2}
        key = tuple(
            slice(middle[k], middle[k] + (height if k == y else width))
            if k in middle
            else int(next(index))
            for k in range(len(shape))
        )
        plane = np.asarray(image.array[key])
        yield plane if y < x else plane.T
