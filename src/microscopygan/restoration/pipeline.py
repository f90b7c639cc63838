"""Restore blocks one after the other, while the next is read and the last is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ..image.lazy import region_shape
from ..image.pixels import Lazy, check_finite
from .blocks import Blocks, Region, pieces, relative
from .memory import SMALLEST
from .restorer import Restorer
from .tasks import Task

Write = Callable[[int, np.ndarray], None]


@dataclass
class BlockRestorer:
    """Restores any region of one output. It can be sent to other processes.

    Attributes
    ----------
    restorer
        The network.
    task
        What is done.
    source
        The input's pixels.
    tile
        Largest sides of a tile by axis, in pixels; halved where memory turns out not to suffice.
        The result does not depend on them.
    name
        The input's name, for messages.
    """

    restorer: Restorer
    task: Task
    source: Lazy
    tile: dict[str, int]
    name: str = "image"

    def read(self, region: Region) -> np.ndarray:
        """Read what a region of the output depends on.

        Raises
        ------
        ValueError
            NaN or infinite pixels.
        """
        pixels = np.asarray(self.source[self.task.source(region)])
        check_finite(pixels, self.name)
        return pixels

    def compute(self, pixels: np.ndarray, region: Region) -> np.ndarray:
        """Restore a region of the output from what `read` gave for it.

        Raises
        ------
        MemoryError
            There is too little memory for the smallest tiles, or for whole planes where the
            model needs them.
        """
        origin = self.task.source(region)
        result = np.empty(region_shape(region), self.task.dtype)
        for part in pieces(region, self._longest(region)):
            result[relative(part, region)] = self._compute_part(pixels, origin, part)
        return result

    def __call__(self, region: Region) -> np.ndarray:
        """Read and restore a region."""
        return self.compute(self.read(region), region)

    def _compute_part(self, pixels: np.ndarray, origin: Region, part: Region) -> np.ndarray:
        given = pixels[relative(self.task.source(part), origin)]
        try:
            return self.task.compute(given, part, self.restorer.run_windows)
        except MemoryError:
            self._halve(part)
        return self.compute(given, part)

    def _halve(self, part: Region) -> None:
        """Make tiles smaller than a part that was too large, along its longest side."""
        given = zip(self.task.axes, region_shape(part), strict=True)
        sides = {letter: length for letter, length in given if letter in self.task.tiled}
        longest = max(sides, key=lambda letter: sides[letter])
        half = sides[longest] // 2
        if half < SMALLEST or not self.restorer.card.tileable:
            raise MemoryError(
                f"{self.name}: expected enough memory for tiles of "
                f"{' × '.join(map(str, sides.values()))} pixels, and smaller ones cannot be; close "
                "other programs or crop the image"
            ) from None
        self.tile = self.tile | {longest: min(self.tile[longest], half)}

    def _longest(self, region: Region) -> list[int]:
        lengths = region_shape(region)
        return [self.tile.get(a, n) for a, n in zip(self.task.axes, lengths, strict=True)]


def run(
    indices: Iterable[int], blocks: Blocks, work: BlockRestorer, write: Write
) -> Generator[int]:
    """Restore blocks, yielding the index of each once it is written.

    Reading and writing go on meanwhile in a thread each, one block ahead and one behind. An
    exception, Ctrl-C or leaving the loop ends all once each thread is done with its block.

    Parameters
    ----------
    indices
        Which blocks, in this order.
    blocks
        Of the output.
    work
        Restores them.
    write
        Called with index and pixels, one block at a time.
    """
    ahead: deque[tuple[int, Future[np.ndarray]]] = deque()
    behind: deque[tuple[int, Future[None]]] = deque()
    with _thread() as reader, _thread() as writer:
        for next_index in chain(indices, [None]):
            if next_index is not None:
                ahead.append((next_index, reader.submit(work.read, blocks[next_index])))
            if len(ahead) == 2 or (ahead and next_index is None):
                index, pixels = ahead.popleft()
                restored = work.compute(pixels.result(), blocks[index])
                behind.append((index, writer.submit(write, index, restored)))
            while len(behind) == 2 or (behind and behind[0][1].done()):
                yield _written(behind)
        while behind:
            yield _written(behind)


def _written(behind: deque[tuple[int, Future[None]]]) -> int:
    """Wait for the oldest block to be written."""
    index, done = behind.popleft()
    done.result()
    return index


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(1)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
