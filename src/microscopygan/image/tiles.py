"""Tiles: cut a plane so that a network gives the same result as on the whole plane.

A convolutional network that down-samples by `multiple` and whose receptive field reaches `halo`
pixels to each side gives, for every tile, what it gives on the whole padded plane: each tile's
window starts on the network's down-sampling grid and shows every pixel the core depends on.
"""

from dataclasses import dataclass

import numpy as np

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Tile:
    """One tile of a plane, as (Y, X) slices.

    ::

        padded plane                      window (what the network sees)
        +-----------------------------+   +---------------+
        | mirrored margin             |   |  halo         |
        |   +---------------------+   |   |   +-------+   |
        |   | plane               |   |   |   | crop  |   |
        |   |     +-------+       |   |   |   +-------+   |
        |   |     | core  |       |   |   |               |
        |   |     +-------+       |   |   +---------------+
        |   +---------------------+   |   result[core] = network(padded[read])[crop]
        +-----------------------------+

    Attributes
    ----------
    core
        Where the tile's result goes, in coordinates of the plane.
    read
        The window the network sees, in coordinates of the padded plane (see `pad_plane`); its
        start and its lengths are multiples of `multiple`.
    crop
        The core, in coordinates of the window.
    """

    core: Window
    read: Window
    crop: Window


def plan_tiles(shape: tuple[int, int], tile: int, halo: int, multiple: int) -> list[Tile]:
    """Plan the tiles of a plane, row by row; their cores partition it.

    Parameters
    ----------
    shape
        Size (Y, X) of the plane, in pixels.
    tile
        Side of a core in pixels; the last ones are smaller. One at least as large as the plane
        gives a single tile that reads the whole padded plane.
    halo
        Reach of the receptive field to each side, in pixels.
    multiple
        The network's down-sampling factor: both sides of its input are multiples of it.

    Raises
    ------
    ValueError
        A size, `tile` or `multiple` below 1, or a negative `halo`.

    Examples
    --------
    >>> for t in plan_tiles((8, 100), tile=64, halo=5, multiple=4):
    ...     print(t.core[1], t.read[1], t.crop[1])
    slice(0, 64, None) slice(0, 80, None) slice(8, 72, None)
    slice(64, 100, None) slice(64, 116, None) slice(8, 44, None)
    """
    if min(shape) < 1 or tile < 1:
        raise ValueError(
            f"expected a plane and tiles of at least 1 pixel, got {shape} and {tile}; try tile 512"
        )
    rows, columns = (_spans(length, tile, halo, multiple) for length in shape)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def pad_plane(plane: np.ndarray, halo: int, multiple: int) -> np.ndarray:
    """Mirror a plane about its border pixels, as far as any tile reads.

    Parameters
    ----------
    plane
        (..., Y, X), any dtype, at least 1×1; one smaller than the margin is mirrored repeatedly.
    halo, multiple
        As for `plan_tiles`.

    Returns
    -------
    The padded plane: a margin of `margin(halo, multiple)` at the top and left, at least `halo`
    at the bottom and right, both sides multiples of `multiple`.

    Raises
    ------
    ValueError
        An empty plane, a negative `halo`, or `multiple` below 1.

    Examples
    --------
    >>> pad_plane(np.array([[1, 2, 3]]), halo=2, multiple=2)[0]
    array([3, 2, 1, 2, 3, 2, 1, 2])
    """
    if min(plane.shape[-2:]) < 1:
        raise ValueError(f"expected a plane with pixels, got shape {plane.shape}")
    rows, columns = (_mirror(length, halo, multiple) for length in plane.shape[-2:])
    return np.ascontiguousarray(plane[..., rows[:, None], columns])


def margin(halo: int, multiple: int) -> int:
    """Return the margin before a padded plane: `halo` rounded up to `multiple`, in pixels.

    Raises
    ------
    ValueError
        A negative `halo`, or `multiple` below 1.

    Examples
    --------
    >>> margin(halo=5, multiple=4)
    8
    """
    if halo < 0 or multiple < 1:
        raise ValueError(
            f"expected a halo of 0 or more and a multiple of 1 or more, got {halo} and {multiple}"
        )
    return _up(halo, multiple)


def _spans(length: int, tile: int, halo: int, multiple: int) -> list[tuple[slice, slice, slice]]:
    """(core, read, crop) along one axis."""
    before = margin(halo, multiple)
    spans = []
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        first = (start + before - halo) // multiple * multiple
        last = _up(stop + before + halo, multiple)
        inside = start + before - first
        crop = slice(inside, inside + stop - start)
        spans.append((slice(start, stop), slice(first, last), crop))
    return spans


def _mirror(length: int, halo: int, multiple: int) -> np.ndarray:
    """Indices of one axis that pad it by mirroring, the border pixel not repeated."""
    before = margin(halo, multiple)
    places = np.arange(-before, _up(length + halo, multiple))
    if length == 1:
        return np.zeros_like(places)
    period = 2 * (length - 1)
    folded = places % period
    return np.minimum(folded, period - folded)


def _up(number: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-number // multiple) * multiple
