"""Blocks: the regions of an output that are computed and written one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..image.lazy import region_shape
from ..image.tiles import cut

Region = tuple[slice, ...]

_SIDE = 512  # pixels; smaller blocks spend more on halos than stored chunks read twice would
_ENOUGH = 2**20  # pixels; more of them in a block do not make it more efficient


@dataclass(frozen=True)
class Blocks(Sequence[Region]):
    """An array cut into blocks of one shape (the last ones are smaller), in C order.

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

    def __getitem__(self, index: int) -> Region:  # type: ignore[override]
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


def region_size(region: Region) -> int:
    """Return the number of pixels of a region."""
    return math.prod(region_shape(region))


def relative(region: Region, origin: Region) -> Region:
    """Return a region in coordinates of another one that holds it.

    Examples
    --------
    >>> relative((slice(5, 8),), (slice(4, 10),))
    (slice(1, 4, None),)
    """
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(region, origin, strict=True)
    )


def pieces(region: Region, longest: Sequence[int]) -> Iterator[Region]:
    """Cut a region into parts whose sides are about equal and no longer than `longest`.

    Examples
    --------
    >>> list(pieces((slice(0, 2), slice(4, 10)), (2, 4)))
    [(slice(0, 2, None), slice(4, 7, None)), (slice(0, 2, None), slice(7, 10, None))]
    """
    if not region:
        yield ()
        return
    for part in cut(region[0], longest[0]):
        for rest in pieces(region[1:], longest[1:]):
            yield (part, *rest)


def plan_blocks(
    shape: tuple[int, ...],
    axes: str,
    tile: Mapping[str, int],
    limit: int,
    unit: tuple[int, ...] | None = None,
    chunks: tuple[int, ...] | None = None,
) -> Blocks:
    """Choose the shape of the blocks of an output.

    Parameters
    ----------
    shape
        Of the output.
    axes
        Its axes.
    tile
        Side of a tile, in pixels, for the axes along which the task needs a halo.
    limit
        Pixels that a block may hold; it holds more only where a single unit does.
    unit
        Smallest region that may be written by itself: blocks are made of whole ones. Any where
        not given.
    chunks
        Blocks in which the source is stored, in coordinates of the output. Reading a part of one
        costs as much as reading it whole, so that a block spans whole ones where it may.

    Examples
    --------
    >>> plan_blocks((60, 3000, 3000), "ZYX", {"Y": 1024, "X": 1024}, 2**24).block
    (1, 1000, 1000)
    >>> plan_blocks((60, 256, 256), "ZYX", {"Y": 1024, "X": 1024}, 2**24).block
    (16, 256, 256)
    >>> plan_blocks((60, 3000, 3000), "ZYX", {"Y": 1024, "X": 1024}, 2**24, (1, 512, 512)).block
    (1, 1024, 1024)
    """
    least = unit or (1,) * len(shape)
    block = [min(size, n) for size, n in zip(least, shape, strict=True)]
    stored = chunks or (1,) * len(shape)
    tiled = [i for i, letter in enumerate(axes) if letter in tile]
    others = [i for i in reversed(range(len(shape))) if i not in tiled]
    sides = [_balanced(n, tile.get(letter, 1)) for n, letter in zip(shape, axes, strict=True)]

    def grow(which: list[int], wanted: Sequence[int], most: int) -> None:
        for i in which:
            rest = math.prod(block) // block[i]
            whole = -(-min(wanted[i], shape[i]) // least[i]) * least[i]
            size = min(whole, most // rest // least[i] * least[i])
            block[i] = max(block[i], min(size, shape[i]))

    grow(tiled, [min(side, _SIDE) for side in sides], limit)
    grow(others, stored, limit)
    grow(tiled, sides, limit)
    grow(tiled, stored, limit)
    grow(others, shape, min(limit, _ENOUGH))
    return Blocks(tuple(shape), tuple(block))


def _balanced(length: int, tile: int) -> int:
    """Side of equal parts of a length, none longer than `tile`."""
    return -(-length // -(-length // tile))
