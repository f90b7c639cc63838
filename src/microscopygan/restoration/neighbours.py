"""Whether neighbouring planes show the same structures, and are restored together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..image.image import Image
from . import Neighbours

_PAIRS, _FIELD = 6, 512  # pairs of planes that are compared, and the side of what is read of them
_CELL = 32  # pixels; wider structures, such as uneven light, do not count
_CLEAR = 4  # standard errors by which structures exceed noise, where any are found
_SAME = 0.7  # correlation from which neighbouring planes lower the noise by more than they blur


class NeighbourAxis:
    """The axis along which planes are restored together with their neighbours.

    Parameters
    ----------
    image
        A few of its planes are read, and only when `axis` or `correlation` is first asked for.
    wanted
        ``z`` or ``t``: along this axis; ``none``: along none; ``auto``: along Z, or T where there
        is one plane along Z, if neighbouring planes show the same structures.
    channels
        Channels to restore, all where not given.

    Raises
    ------
    ValueError
        An axis that the image does not have.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> spots = Image(np.repeat(rng.random((1, 16, 16)), 9, 0).repeat(4, 1).repeat(4, 2), "TYX")
    >>> NeighbourAxis(spots, "auto").axis
    'T'
    """

    def __init__(
        self, image: Image, wanted: Neighbours, channels: tuple[int, ...] | None = None
    ) -> None:
        lengths = dict(zip(image.axes, image.array.shape, strict=True))
        several = [letter for letter in "ZT" if lengths.get(letter, 1) > 1]
        if wanted in ("z", "t") and wanted.upper() not in image.axes:
            raise ValueError(
                f"neighbours: expected an image with axis {wanted.upper()}, got {image.axes}; try "
                "auto, or name the axes anew with --axes"
            )
        self._image, self._channels, self._auto = image, channels, wanted == "auto"
        chosen = {"auto": "".join(several[:1]), "none": ""}.get(wanted, wanted.upper())
        self.candidate: str = chosen  # the only axis that it can be; empty where there is none

    @cached_property
    def axis(self) -> str:
        """Its letter, empty where each plane is restored by itself."""
        if not self._auto or not self.candidate:
            return self.candidate
        return self.candidate if self.correlation >= _SAME else ""

    @cached_property
    def correlation(self) -> float:
        """That of the structures of neighbouring planes along the candidate, 0 to 1."""
        return plane_correlation(self._image, self.candidate, self._channels)

    @property
    def note(self) -> str | None:
        """What was decided, in a line; None where there was nothing to decide."""
        if not self._auto or not self.candidate:
            return None
        letter, found = self.candidate, f"{self.correlation:.2f}"
        if self.axis:
            return (
                f"Neighbouring planes along {letter} correlate ({found}) and were restored "
                "together (--neighbours none: each by itself)."
            )
        return (
            f"Neighbouring planes along {letter} hardly correlate ({found}): each was restored by "
            f"itself (--neighbours {letter.lower()}: together)."
        )

    def stated(self) -> dict[str, object]:
        """Return what was decided, for a provenance."""
        measured = self._auto and bool(self.candidate)
        about: dict[str, object] = {"along": self.axis or None}
        return about | ({"correlation": round(self.correlation, 3)} if measured else {})


def plane_correlation(image: Image, letter: str, channels: tuple[int, ...] | None = None) -> float:
    """Measure how far neighbouring planes show the same structures, whatever their noise.

    Noise of a pixel (of its own in each plane, or the same in all) has no part in products of
    pixels one or two apart. The covariance at distance 0 is therefore extrapolated from those at
    1 and 2, as of a parabola, both between the planes and within each::

        correlation = c(a, b) / sqrt(c(a, a) c(b, b)),   c = (4 c₁ - c₂) / 3

    Parameters
    ----------
    image
        Up to six pairs of planes are read, a field of at most 512 × 512 pixels of each.
    letter
        The axis along which they are neighbours.
    channels
        Those that count, all where not given.

    Returns
    -------
    0 to 1; 0 where no structure is found.
    """
    between, within, variance = 0.0, np.zeros(2), 0.0
    for pair in _pairs(image, letter, channels):
        cells = _cells(pair)
        spread = cells.std((1, 2, 3)) if cells.size else np.zeros(2)
        if min(cells.shape[2:]) > 2 and spread.all():
            a, b = cells / spread[:, None, None, None]
            between += _covariance(a, b)
            within += [_covariance(a, a), _covariance(b, b)]
            variance += 1 / a.size  # of the covariance of noise
    if min(within) <= _CLEAR * math.sqrt(variance):
        return 0.0
    return float(np.clip(between / math.sqrt(within[0] * within[1]), 0, 1))


def _pairs(image: Image, letter: str, channels: tuple[int, ...] | None) -> Iterator[np.ndarray]:
    """Read fields (2, Y, X) of neighbouring planes all over an image, always the same ones."""
    rng = np.random.default_rng(0)
    lengths = dict(zip(image.axes, image.array.shape, strict=True))
    lead = {a: np.arange(n - (a == letter)) for a, n in lengths.items() if a not in "YX"}
    if channels is not None and "C" in lead:
        lead["C"] = np.unique(channels)
    counts = tuple(len(places) for places in lead.values())
    total = math.prod(counts)
    number = min(total, _PAIRS)
    for k in range(number):
        place = np.unravel_index(int((k + rng.random()) * total / number), counts)
        region = {}
        for (a, places), i in zip(lead.items(), place, strict=True):
            region[a] = slice(int(places[i]), int(places[i]) + 1 + (a == letter))
        for a in "YX":
            start = int(rng.integers(max(1, lengths[a] - _FIELD + 1)))
            region[a] = slice(start, min(start + _FIELD, lengths[a]))
        pixels = np.asarray(image.array[tuple(region[a] for a in image.axes)])
        order = [image.axes.index(a) for a in (letter, "Y", "X")]
        pair = np.moveaxis(pixels, order, (-3, -2, -1))
        yield pair.reshape(pair.shape[-3:])


def _cells(planes: np.ndarray) -> NDArray[np.float32]:
    """Cut planes (2, Y, X) into cells (2, N, Y, X) of mean 0; those with NaN are left out."""
    sides = [min(_CELL, n) for n in planes.shape[1:]]
    rows, columns = (n // side for n, side in zip(planes.shape[1:], sides, strict=True))
    whole = planes[:, : rows * sides[0], : columns * sides[1]].astype(np.float64)
    cells = whole.reshape(2, rows, sides[0], columns, sides[1]).swapaxes(2, 3)
    cells = cells.reshape(2, rows * columns, *sides)
    cells = cells[:, np.isfinite(cells).all((0, 2, 3))]
    return np.asarray(cells - cells.mean((2, 3), keepdims=True), np.float32)


def _covariance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Extrapolate the covariance of cells (N, Y, X) to distance 0 from those at 1 and 2 pixels."""
    near, far = (
        np.mean(
            [
                np.mean(one[:, k:] * other[:, :-k]) + np.mean(one[..., k:] * other[..., :-k])
                for one, other in ((a, b), (b, a))
            ]
        )
        for k in (1, 2)
    )
    return float(4 * near - far) / 6  # both are sums of two
