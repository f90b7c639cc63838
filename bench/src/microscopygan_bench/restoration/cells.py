"""Cells: what is computed, one process after the other, and never twice.

A cell is one training: a method, a setting, a number of pairs, a draw, and a task or all of
them. Its folder in OUT holds what its process got and left; ``about.json``, written last,
is what makes it count. A killed run goes on with the first cell that has none.

A method with one network for each task restores an image of two defects by two networks, one
after the other. Noise, the last defect to arise, is the first to be undone: the cell of the task
``noise`` gets the images as they are, and the cell of the other task what the first made of them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from microscopygan.training.fine_tuning import DEFECTS, RESTORER
from microscopygan_bench import machine, reference_seconds
from microscopygan_bench.peers.job import Arrays, read_arrays, write_arrays, write_json
from microscopygan_bench.processes import last_words, run_process, threaded
from microscopygan_bench.restoration import samples
from microscopygan_bench.restoration.fingerprint import digest_of_weights, uses_cin_gan
from microscopygan_bench.restoration.methods import METHODS, ORACLE_TIMES, Method, settings_of
from microscopygan_bench.restoration.protocol import (
    NOISE,
    BenchmarkData,
    inputs_to_restore,
    normalised,
    training_images,
)

ALL = "all"
_PATIENCE = 900.0  # seconds that a process may take beyond three times its budget


class Cell(NamedTuple):
    """One training; `pairs` is None for all of them, 0 in setting B and without training."""

    method: str
    setting: str
    pairs: int | None
    draw: int
    task: str

    @property
    def label(self) -> str:
        """What progress calls it."""
        count = count_text("all" if self.pairs is None else str(self.pairs))
        what = "no pairs" if self.setting == "B" else count
        return f"{self.method}, {what}, draw {self.draw}, {self.task}"


def count_of(text: str) -> int | None:
    """Return the number of pairs that tables and folders call `text`: None for ``all``."""
    return None if text == "all" else int(text)


def count_text(pairs: str) -> str:
    """Name a number of pairs.

    >>> [count_text(pairs) for pairs in ("1", "10", "all")]
    ['1 pair', '10 pairs', 'all pairs']
    """
    return "1 pair" if pairs == "1" else f"{pairs} pairs"


@dataclass(frozen=True)
class Bench:
    """All that cells have in common.

    Attributes
    ----------
    data, composed
        Images: `read_data` and `two_defects`.
    out
        Folder of results.
    seconds
        Budget of a training.
    threads
        Of every process.
    pythons
        Interpreters of the peers' virtual environments, by name; a text says why there is none.
    """

    data: BenchmarkData
    composed: Arrays
    out: Path
    seconds: float
    threads: int
    pythons: dict[str, Path | str]

    def folder(self, cell: Cell) -> Path:
        """Return the folder of a cell."""
        pairs = "all" if cell.pairs is None else cell.pairs
        place = f"{cell.setting}-{pairs}-{cell.draw}-{cell.task}-{self.budget(cell):g}s"
        return self.out / "cells" / cell.method / place

    def budget(self, cell: Cell) -> float:
        """Return the seconds that a cell may train."""
        method = METHODS[cell.method]
        return 0.0 if not method.trained else self.seconds * _times(method)

    def finished(self, cell: Cell) -> bool:
        """Tell whether a cell counts."""
        return (self.folder(cell) / "about.json").exists()


def _times(method: Method) -> int:
    return ORACLE_TIMES if method.group == "oracle" else 1


def plan(
    names: list[str],
    settings: list[str],
    pairs: list[int | None],
    draws: int,
    there: tuple[str, ...],
) -> list[Cell]:
    """Return the cells of a run, the first draw of everything first.

    A method without training has one cell for each task, the oracle one draw of all pairs.
    """
    cells: list[Cell] = []
    for draw in range(draws):
        for setting in settings:
            for count in pairs if setting == "A" else [0]:
                for name in names:
                    cells += _cells(name, setting, count, draw, there)
    return list(dict.fromkeys(cells))


def _cells(
    name: str, setting: str, pairs: int | None, draw: int, there: tuple[str, ...]
) -> list[Cell]:
    method = METHODS[name]
    if not method.trained:
        return [Cell(name, "A", 0, 0, task) for task in method.tasks(there)]
    if method.group == "oracle":
        return [Cell(name, "A", None, 0, ALL)]
    if setting not in method.settings:
        return []
    tasks = method.tasks(there) if method.single else (ALL,)
    return [Cell(name, setting, pairs, draw, task) for task in tasks]


def compute(bench: Bench, cell: Cell) -> None:
    """Compute a cell that does not count yet.

    Raises
    ------
    RuntimeError
        Its process failed; the message says why.
    """
    folder, method = bench.folder(cell), METHODS[cell.method]
    python = bench.pythons.get(method.peer) if method.peer else None
    if isinstance(python, str):
        raise RuntimeError(python)
    write_job(bench, cell)
    write_json(
        folder / "machine.json", {"machine": machine(), "pace": reference_seconds(bench.threads)}
    )
    command = [*method.command(python), str(folder.resolve())]
    limit = 3 * bench.budget(cell) + _PATIENCE
    with (folder / "log.txt").open("w") as log:
        code = run_process(command, threaded(bench.threads, python), log, limit, bench.threads)
    if code or not bench.finished(cell):
        (folder / "about.json").unlink(missing_ok=True)
        raise RuntimeError(last_words(folder / "log.txt"))
    for name in ("training.npz", "test.npz", "samples.npz"):
        (folder / name).unlink()
    shutil.rmtree(folder / "work", ignore_errors=True)


def write_job(bench: Bench, cell: Cell) -> None:
    """Write all that the process of a cell gets to see."""
    folder = bench.folder(cell)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    images: Arrays = {}
    if METHODS[cell.method].trained:
        for task in _tasks(bench, cell):
            images |= training_images(bench.data, task, cell.setting, cell.pairs, cell.draw)
    write_arrays(folder / "training.npz", images)
    write_arrays(folder / "test.npz", _to_restore(bench, cell))
    known = (task for task in _tasks(bench, cell) if task in samples.DEFECTS)
    write_arrays(folder / "samples.npz", {task: samples.spoilt(task) for task in known})
    write_json(folder / "job.json", job(bench, cell))


def job(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Return what the process of a cell is to do, as ``job.json`` states it."""
    options = METHODS[cell.method].options
    ours = options.get("kind") == "ours"
    settings = settings_of(options, cell.setting, cell.draw).model_dump(mode="json") if ours else {}
    starts = (RESTORER, DEFECTS)[: 1 + uses_cin_gan(settings)]
    starts = starts if settings.get("start") == "generalist" else ()
    return {
        "method": cell.method,
        "options": dict(options),
        "settings": settings,
        "started_from": [digest_of_weights(path) for path in starts],
        "task": cell.task,
        "tasks": list(_tasks(bench, cell)),
        "setting": cell.setting,
        "seconds": bench.budget(cell),
        "seed": cell.draw,
        "threads": bench.threads,
    }


def _tasks(bench: Bench, cell: Cell) -> tuple[str, ...]:
    return bench.data.tasks if cell.task == ALL else (cell.task,)


def _to_restore(bench: Bench, cell: Cell) -> Arrays:
    """Test images of a cell, those of two defects too; never their targets."""
    images = {task: inputs_to_restore(bench.data, task) for task in _tasks(bench, cell)}
    if cell.task == ALL:
        return images | bench.composed
    mine = METHODS[cell.method].tasks(bench.data.tasks)
    for name, planes in bench.composed.items():
        other = name.rpartition("+")[2]
        if cell.task == NOISE and other in mine:
            images[name] = planes
        elif cell.task == other and NOISE in mine:
            first = bench.folder(cell._replace(task=NOISE))
            images[name] = normalised(read_arrays(first / "restored.npz")[name])
    return images


def waits_for(bench: Bench, cell: Cell) -> Cell | None:
    """Return the cell that has to be finished before, if there is one that is not."""
    first = cell._replace(task=NOISE)
    needed = f"{NOISE}+{cell.task}" in bench.composed
    needed &= NOISE in METHODS[cell.method].tasks(bench.data.tasks)
    return first if needed and not bench.finished(first) else None
