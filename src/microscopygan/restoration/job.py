"""A job: one image being restored into one output, block by block; resumable for Zarr."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..image.atomic import PROGRESS
from ..image.formats import TIMEOUT, unfinished
from ..image.image import Lazy, check_finite
from ..image.intensity import to_dtype
from ..image.lazy import Blocks, region_shape
from ..image.tiles import Region, pieces, region_size, relative
from .intensity_maps import Mended
from .model import Restorer
from .plan import SMALLEST
from .tasks import Task

Progress = Callable[[int, int], None]  # given the pixels done and all pixels
Report = Callable[[int], None]  # given the pixels that were done since the last call
Write = Callable[[int, np.ndarray], None]


@dataclass(frozen=True)
class Job:
    """All that a process needs in order to restore blocks of an output. It can be sent to one.

    Attributes
    ----------
    work
        Reads and restores.
    target
        The output's pixels, written by region.
    blocks
        What is restored and written at a time.
    marks
        Zarr array of a 1 for each finished block; None where the output cannot be resumed.
    """

    work: BlockRestorer
    target: Any
    blocks: Blocks
    marks: Any = None

    def pending(self) -> list[int]:
        """Return the blocks that are not finished."""
        if self.marks is None or self.marks.nchunks_initialized == 0:
            return list(range(len(self.blocks)))
        return [int(i) for i in np.flatnonzero(self.marks[:] == 0)]

    def pixels(self, index: int) -> int:
        """Return the number of pixels of a block."""
        return region_size(self.blocks[index])

    def restore(self, index: int) -> int:
        """Read, restore, write and mark one block; return its index."""
        self.write(index, self.work(self.blocks[index]))
        return index

    def write(self, index: int, pixels: np.ndarray) -> None:
        """Write a restored block, and mark it once all of it is there."""
        self.target[self.blocks[index]] = pixels
        if self.marks is not None:
            self.marks[index] = 1

    def run(self, report: Report) -> None:
        """Restore all pending blocks in this process; `report` is called for each window."""
        finished = run(self.pending(), self.blocks, self.work, self.write, report)
        with closing(finished):
            for _ in finished:
                pass


def counting(job: Job, progress: Progress | None) -> Report:
    """Add up pixels for `progress`; those of an earlier run count as done."""
    total = math.prod(job.blocks.shape)
    done = total - sum(job.pixels(index) for index in job.pending())

    def report(pixels: int) -> None:
        nonlocal done
        done += pixels
        if progress:
            progress(done, total)

    report(0)
    return report


def marked_blocks(group: Any, blocks: Blocks, options: Mapping[str, object]) -> tuple[Blocks, Any]:
    """Return the blocks and the marks of a job: those of an interrupted run, or new ones.

    Parameters
    ----------
    group
        The output's Zarr group.
    blocks
        Of a new job; a resumed one keeps its own.
    options
        All that the result depends on, as JSON holds it.
    """
    if PROGRESS in group and "block" in group[PROGRESS].attrs:
        marks = group[PROGRESS]
        return Blocks(blocks.shape, tuple(marks.attrs["block"])), marks
    marks = group.create_array(
        PROGRESS, shape=(len(blocks),), chunks=(1,), dtype="uint8", fill_value=0, overwrite=True
    )
    marks.attrs.update({"options": _plain(options), "block": list(blocks.block)})
    return blocks, marks


def check_resumed(
    output: Path | str, options: Mapping[str, object], timeout: float = TIMEOUT
) -> None:
    """Raise where an interrupted run that is to be resumed had other options.

    Parameters
    ----------
    output
        The final name of a Zarr output, or its URL.
    options
        As for `marked_blocks`.
    timeout
        As for `formats.create`.

    Raises
    ------
    ValueError
        The first option that differs is named.
    """
    import zarr

    marks = unfinished(output, PROGRESS, timeout=timeout)
    if marks is None:
        return
    before: Any = zarr.open_array(marks, mode="r").attrs.get("options", {})
    now = _plain(options)
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            raise ValueError(
                f"resume: expected the options of the interrupted run, got {name} "
                f"{_short(now[name])} instead of {_short(before[name])}; give the same, or start "
                "again with --overwrite"
            )


def _plain(options: Mapping[str, object]) -> dict[str, object]:
    """Return options as they come back from JSON."""
    plain: dict[str, object] = json.loads(json.dumps(options))
    return plain


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
            NaN or infinite pixels, of a task that does not leave them out.
        """
        pixels = np.asarray(self.source[self.task.source(region)])
        if not self.task.masks:
            check_finite(pixels, self.name)
        return pixels

    def compute(
        self, pixels: np.ndarray, region: Region, report: Report | None = None
    ) -> np.ndarray:
        """Restore a region of the output from what `read` gave for it.

        Parameters
        ----------
        pixels
            Those of the input.
        region
            Of the output.
        report
            Called with the number of the output's pixels for each window of the network; what it
            raises ends the work.

        Raises
        ------
        MemoryError
            There is too little memory for the smallest tiles, or for whole planes where the
            model needs them.
        """
        origin = self.task.source(region)
        result = np.empty(region_shape(region), self.task.dtype)
        for part in pieces(region, self._longest(region)):
            source = pixels[relative(self.task.source(part), origin)]
            share = _Share(region_size(part), self.task.network_pixels(part), report)
            network = partial(self.restorer.run_windows, report=share.passed)
            try:
                restored = self.task.compute(source, part, network)
            except MemoryError:
                self._halve(part)
                restored = self.compute(source, part)
            share.finish()
            result[relative(part, region)] = restored
        if isinstance(self.source, Mended) and self.source.keep:
            hot, stored = self.source.hot(region)
            result[hot] = to_dtype(stored, self.task.dtype)[hot]
        return result

    def __call__(self, region: Region) -> np.ndarray:
        """Read and restore a region."""
        return self.compute(self.read(region), region)

    def _halve(self, part: Region) -> None:
        """Make tiles smaller than a part that was too large, along its longest side."""
        lengths = zip(self.task.axes, region_shape(part), strict=True)
        sides = {letter: length for letter, length in lengths if letter in self.task.tiled}
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


class _Share:
    """Turns pixels that have gone through the network into those of a part of the output."""

    def __init__(self, pixels: int, windows: int, report: Report | None) -> None:
        self._pixels, self._windows, self._report = pixels, windows, report
        self._seen = self._reported = 0

    def passed(self, pixels: int) -> None:
        """Report what so many more pixels of windows amount to."""
        self._seen += pixels
        self._reach(self._pixels * self._seen // max(self._windows, self._seen))

    def finish(self) -> None:
        """Report the rest: pixels that were copied, or restored without a report."""
        self._reach(self._pixels)

    def _reach(self, pixels: int) -> None:
        more, self._reported = pixels - self._reported, pixels
        if more and self._report is not None:
            self._report(more)


def run(
    indices: Iterable[int],
    blocks: Blocks,
    work: BlockRestorer,
    write: Write,
    report: Report | None = None,
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
    report
        Called in this thread, for each window; see `BlockRestorer.compute`.
    """
    ahead: deque[tuple[int, Future[np.ndarray]]] = deque()
    behind: deque[tuple[int, Future[None]]] = deque()
    with _thread() as reader, _thread() as writer:
        for next_index in chain(indices, [None]):
            if next_index is not None:
                ahead.append((next_index, reader.submit(work.read, blocks[next_index])))
            if len(ahead) == 2 or (ahead and next_index is None):
                index, pixels = ahead.popleft()
                restored = work.compute(pixels.result(), blocks[index], report)
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
