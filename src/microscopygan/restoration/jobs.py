"""A job: one image being restored into one output, block by block; resumable for Zarr."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..image.output import PROGRESS
from .blocks import Blocks, region_size
from .pipeline import BlockRestorer, run

Progress = Callable[[int, int], None]  # given the pixels done and all pixels
Report = Callable[[int], None]  # given the pixels of a block that is done


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
        """Restore all pending blocks in this process; `report` is called after each."""
        with closing(run(self.pending(), self.blocks, self.work, self.write)) as finished:
            for index in finished:
                report(self.pixels(index))


def counting(job: Job, progress: Progress | None) -> Report:
    """Add up the pixels of blocks for `progress`; those of an earlier run count as done."""
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


def check_resumed(output: Path, options: Mapping[str, object]) -> None:
    """Raise where an interrupted run that is to be resumed had other options.

    Parameters
    ----------
    output
        The final name of a Zarr output.
    options
        As for `marked_blocks`.

    Raises
    ------
    ValueError
        The first option that differs is named.
    """
    import zarr

    path = output.with_name(f"{output.name}.part") / PROGRESS
    if not path.exists():
        return
    before: Any = zarr.open_array(path, mode="r").attrs.get("options", {})
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
