"""What a process may take, and how an output is cut to fit: blocks to write, tiles to restore."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from ..image.lazy import Blocks
from ..image.tiles import margin
from ..model_card import ModelCard

if TYPE_CHECKING:
    from .tasks import Task

_SIDE = 512  # pixels; smaller blocks spend more on halos than stored chunks read twice would
_ENOUGH = 2**20  # pixels; more of them in a block do not make it more efficient

SMALLEST = 64  # pixels; smaller tiles consist of halo
_LARGEST = {"YX": 1472, "ZYX": 256}  # pixels; larger tiles gain less than 6 % by fewer halos
_WIDEST = 2048  # pixels; a plane's rows stay whole up to here, which saves halos
_LARGEST_BLOCK = 2**24  # pixels
_THICK = 8  # planes of a block with neighbours, of which ten are read

_PROGRAM = 150 * 10**6  # bytes of the program itself, with ONNX Runtime and Zarr
_WINDOW = 4  # bytes for a pixel of a window, for each plane of it besides its own
_VOLUME = 24  # bytes for a pixel on the grid of the axial task
_ROOT = Path("/")
_MEMORY_FILES = (  # of control groups: limit, usage, and what of it can be had back at once
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_BLOCK = 16  # bytes for a pixel of a block, and three times its source and its result


def processors(root: Path = _ROOT) -> int:
    """Return how many processors this process may use, at least 1.

    The least of those that the system lets it run on, the share of time that its control groups
    (a container's, of version 1 or 2) grant, rounded up, and those that SLURM gave the task.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` lie.
    """
    able = hasattr(os, "sched_getaffinity")
    limits = [len(os.sched_getaffinity(0)) if able else os.cpu_count() or 1]
    for folder in _control_groups("cpu", root):
        quota = _numbers(folder / "cpu.max") or [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and min(quota) > 0:
            limits.append(math.ceil(quota[0] / quota[1]))
    if task := _slurm("SLURM_CPUS_PER_TASK"):
        limits.append(task)
    return max(1, min(limits))


def free_memory(root: Path = _ROOT) -> int:
    """Return how much memory this process may still take, in bytes.

    The least of what is free on the machine, what its control groups (a container's, of version 1
    or 2) leave, not counting files that are kept in memory, and what SLURM gave the job less what
    this process has taken.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` lie.
    """
    limits = [int(psutil.virtual_memory().available)]
    for folder in _control_groups("memory", root):
        for limit, usage, kept in _MEMORY_FILES:
            most, taken = _numbers(folder / limit), _numbers(folder / usage)
            if most and taken:
                limits.append(most[0] - taken[0] + _stated(folder / "memory.stat", kept))
    cores = _slurm("SLURM_CPUS_PER_TASK") or _slurm("SLURM_CPUS_ON_NODE") or 1
    job = _slurm("SLURM_MEM_PER_NODE") or _slurm("SLURM_MEM_PER_CPU") * cores
    if job:
        limits.append(job * 2**20 - int(psutil.Process().memory_info().rss))
    return max(0, min(limits))


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, each with those above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        folder = top / path.strip("/")
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(top))


def _numbers(path: Path) -> list[int]:
    """Return the numbers in a file of a control group; none where it is missing or says "max"."""
    try:
        return [int(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return []


def _stated(path: Path, name: str) -> int:
    """Return the number that a line "NAME NUMBER" of a file states, 0 where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)


def _slurm(name: str) -> int:
    """Return a number that SLURM states in the environment, 0 where it does not."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def plan(
    task: Task,
    card: ModelCard,
    memory: int,
    *,
    source: np.dtype[np.generic],
    unit: tuple[int, ...] | None = None,
    chunks: tuple[int, ...] | None = None,
) -> tuple[Blocks, dict[str, int]]:
    """Choose blocks and tiles that fit into memory.

    Parameters
    ----------
    task
        What is done.
    card
        The network's.
    memory
        Bytes that the process may use.
    source
        Type of the input's pixels.
    unit
        Smallest region of the output that may be written by itself; any where not given.
    chunks
        Blocks in which the input is stored.

    Returns
    -------
    blocks : Blocks
        Of the output.
    tile : dict
        Largest sides of a tile by axis, in pixels.

    Raises
    ------
    MemoryError
        It takes more; the message says how much.
    """
    seen = 1 if task.neighbours is None else card.planes
    pixel = _BLOCK + 3 * (seen * source.itemsize + task.dtype.itemsize)
    tile = _tile_sides(task, card, memory) if card.tileable else _whole_sides(task, card, memory)
    limit = min(_LARGEST_BLOCK, int(0.4 * (memory - _PROGRAM) / pixel))
    if not card.tileable:
        limit = max(limit, math.prod(_lengths(task)))
    same = len(chunks or ()) == len(task.shape) and task.tiled == "YX"
    stored = chunks if same else None
    beside = "" if task.neighbours is None else task.neighbours.candidate
    blocks = plan_blocks(task.shape, task.axes, tile, limit, unit, stored, beside)
    needed = _PROGRAM + 2.5 * pixel * math.prod(blocks.block)
    if unit and math.prod(blocks.block) > limit and needed > memory:
        raise MemoryError(
            f"expected at least {_size(needed)} of memory for an output that is written in blocks "
            f"of {blocks.block} pixels, got {_size(memory)}; allow more, or smaller chunks"
        )
    if beside:  # not the windows of all its planes at once
        tile[beside] = max(1, _ENOUGH // math.prod(tile.values()))
    return blocks, tile


def _tile_sides(task: Task, card: ModelCard, memory: int) -> dict[str, int]:
    """Largest tile whose windows fit into 60 % of the memory."""
    around = 2 * margin(max(card.halo), card.multiple)
    sides = len(task.tiled)
    pixel = card.bytes_per_pixel + _WINDOW * (card.planes - 1) if sides == 2 else _VOLUME
    most = max(0.0, 0.6 * (memory - _PROGRAM) / pixel)
    side = min(int(most ** (1 / sides)) - around, _LARGEST[task.tiled])
    if side < SMALLEST:
        needed = _PROGRAM + pixel * (SMALLEST + around) ** sides / 0.6
        raise MemoryError(
            f"expected at least {_size(needed)} of memory, got {_size(memory)}; allow more"
        )
    width = min(_lengths(task)[-1], _WIDEST)
    height = (side + around) ** 2 // (width + around) - around
    if sides == 2 and height > width // 4:
        return {"Y": max(SMALLEST, height // 32 * 32), "X": max(SMALLEST, width)}
    return dict.fromkeys(task.tiled, side // 32 * 32)


def _whole_sides(task: Task, card: ModelCard, memory: int) -> dict[str, int]:
    """Sides of whole planes, where they fit into the memory."""
    plane = sorted(_lengths(task))[-2:]
    needed = _PROGRAM + card.bytes_per_pixel * math.prod(plane)
    if task.tiled == "ZYX":
        needed += _VOLUME * math.prod(_lengths(task))
    if needed > memory:
        raise MemoryError(
            f"expected at least {_size(needed)} of memory, since this model needs whole planes "
            f"({' × '.join(map(str, plane))} pixels): its result would differ between tiles; got "
            f"{_size(memory)}; use a model of the preset default, or crop the image"
        )
    return dict.fromkeys(task.tiled, plane[-1])


def _lengths(task: Task) -> list[int]:
    return [task.shape[task.axes.index(letter)] for letter in task.tiled]


def _size(count: float) -> str:
    """Write a number of bytes."""
    if count < 1e9:
        return f"{math.ceil(count / 1e6)} MB"
    return f"{math.ceil(count / 1e8) / 10:.1f} GB"


def plan_blocks(
    shape: tuple[int, ...],
    axes: str,
    tile: Mapping[str, int],
    limit: int,
    unit: tuple[int, ...] | None = None,
    chunks: tuple[int, ...] | None = None,
    beside: str = "",
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
    beside
        An axis along which a plane is restored together with its neighbours, which are read again
        for the next block: eight of them make a block, where so many fit.

    Examples
    --------
    >>> plan_blocks((60, 3000, 3000), "ZYX", {"Y": 1024, "X": 1024}, 2**24).block
    (1, 1000, 1000)
    >>> plan_blocks((60, 256, 256), "ZYX", {"Y": 1024, "X": 1024}, 2**24).block
    (16, 256, 256)
    >>> plan_blocks((60, 3000, 3000), "ZYX", {"Y": 1024, "X": 1024}, 2**24, (1, 512, 512)).block
    (1, 1024, 1024)
    >>> plan_blocks((60, 900, 900), "ZYX", {"Y": 1024, "X": 1024}, 2**24, beside="Z").block
    (8, 900, 900)
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
    grow([i for i, letter in enumerate(axes) if letter == beside], [_THICK] * len(shape), limit)
    grow(others, shape, min(limit, _ENOUGH))
    return Blocks(tuple(shape), tuple(block))


def _balanced(length: int, tile: int) -> int:
    """Side of equal parts of a length, none longer than `tile`."""
    return -(-length // -(-length // tile))
