"""Dask arrays in, Dask arrays out: pixels are restored when they are asked for."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from itertools import accumulate
from typing import Any

import numpy as np

from ..image.tiles import cut
from .job import BlockRestorer


def is_dask(array: object) -> bool:
    """Whether an array is a Dask array; Dask is not imported for it."""
    dask = sys.modules.get("dask.array")
    return dask is not None and isinstance(array, dask.Array)


class DaskSource:
    """A Dask array as pixels that are read by slicing.

    Reading computes in the thread that reads, so that it may be part of another computation. An
    array persisted on a cluster cannot be read this way.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim: int = array.ndim
        self.chunks: tuple[tuple[int, ...], ...] = array.chunks

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.asarray(self._array[key].compute(scheduler="synchronous"))


def lazily_restored(source: DaskSource, work: BlockRestorer, about: tuple[object, ...]) -> Any:
    """Return the restored image as a Dask array, nothing of it computed yet.

    Parameters
    ----------
    source
        The input.
    work
        Restores regions of it.
    about
        What the result depends on besides the input; the same names the same result.

    Returns
    -------
    dask.array.Array
        Chunks are those of the input, except along an axis that the task lengthens.

    Raises
    ------
    ValueError
        The model needs whole planes, and chunks hold parts of them.
    """
    da, base = import_module("dask.array"), import_module("dask.base")
    task = work.task
    chunks = tuple(
        before if sum(before) == length else _equal_parts(length, work.tile[letter])
        for letter, before, length in zip(task.axes, source.chunks, task.shape, strict=True)
    )
    parted = [a for a, c in zip(task.axes, chunks, strict=True) if a in task.tiled and len(c) > 1]
    if parted and not work.restorer.card.tileable:
        raise ValueError(
            "expected one chunk along each axis of a plane, since this model needs whole planes, "
            f"got several along {' and '.join(parted)}; rechunk the array"
        )
    return da.map_blocks(
        partial(_restored_chunk, work, chunks),
        chunks=chunks,
        dtype=task.dtype,
        meta=np.empty((0,) * len(chunks), task.dtype),
        name=f"restored-{base.tokenize(source._array.name, about)}",
    )


def _restored_chunk(
    work: BlockRestorer, chunks: tuple[tuple[int, ...], ...], *, block_id: tuple[int, ...]
) -> np.ndarray:
    ends = [list(accumulate(lengths, initial=0)) for lengths in chunks]
    return work(tuple(slice(end[k], end[k + 1]) for end, k in zip(ends, block_id, strict=True)))


def _equal_parts(length: int, longest: int) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in cut(slice(0, length), longest))
