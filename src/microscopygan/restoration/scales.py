"""Intensity maps of an image: one for each volume, frame, channel, or none."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from ..image.intensity import AffineMap
from ..image.pixels import Image
from .percentiles import Scale, measure

SCOPES = {"image": "C", "volume": "TC", "frame": "TCZ", "none": ""}
Key = tuple[int, ...]


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
        Unknown scope, or, when measured, NaN or infinite pixels.

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
        scope: str,
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
        name = str(image.source or "image")
        return measure(image.array, region, *self.percentiles, image.chunks, name)
