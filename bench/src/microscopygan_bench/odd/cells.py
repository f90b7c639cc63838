"""Cells: a family and a row, computed one after the other, each a file as soon as it is finished.

``OUT/FAMILY/ROW.json`` holds the scores of every test image, and how they came about. A cell whose
file is there is not computed again, unless it would get other images, another network or another
time. To compute it anew, remove its file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microscopygan import __version__
from microscopygan.datasets.folder import load_dataset
from microscopygan.evaluate.metrics import psnr_affine, ssim_affine
from microscopygan.image.atomic import write_text
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration.models import GENERALIST, MODELS
from microscopygan_bench import machine, reference_seconds
from microscopygan_bench.odd import user
from microscopygan_bench.odd.classical import PEER, Results, restore_all
from microscopygan_bench.odd.families import FAMILIES, microscope
from microscopygan_bench.odd.fields import FamilyImages, Planes, read_family, read_maps
from microscopygan_bench.odd.rows import ROWS
from microscopygan_bench.peers.job import read_arrays, write_arrays, write_json
from microscopygan_bench.processes import last_words, run_process, threaded
from microscopygan_bench.restoration.methods import OURS as RUN_METHOD

Figures = dict[str, Any]  # what the file of a cell holds

_PATIENCE = 900.0  # seconds that a process may take beyond three times its training


class Cell(NamedTuple):
    """A family and a row, by their names."""

    family: str
    row: str


@dataclass(frozen=True)
class Bench:
    """What all cells have in common.

    Attributes
    ----------
    data
        Folder with ``sim/``, ``clean/`` and ``camera/``.
    out
        Folder of results.
    minutes
        Of a training.
    threads
        Of every process.
    work
        Folder for what a training leaves.
    keep
        Keep it after the cell is finished.
    dedicated
        Interpreter of the dedicated programs, or the reason why there is none.
    """

    data: Path
    out: Path
    minutes: float
    threads: int
    work: Path
    keep: bool = False
    dedicated: Path | str | None = None

    def path(self, cell: Cell) -> Path:
        """Return the file of a cell."""
        return self.out / cell.family / f"{cell.row}.json"

    def seconds(self, cell: Cell) -> float:
        """Return how long a cell trains."""
        return 60 * self.minutes * ROWS[cell.row].times

    def finished(self, cell: Cell) -> bool:
        """Tell whether a cell is there, and would come about just so now."""
        there = self.path(cell).exists()
        return there and read_cell(self.path(cell))["job"] == self.fingerprint(cell)

    def images(self, family: str) -> FamilyImages:
        """Return the images of a family."""
        return _images(self.data, family)

    def fingerprint(self, cell: Cell) -> str:
        """Return a hash of what a cell's result depends on, less the program's own code."""
        row = ROWS[cell.row]
        job: dict[str, Any] = {"row": row.conditions(), "family": cell.family}
        job["data"] = self.images(cell.family).digest
        if row.times:
            job |= {"minutes": self.minutes, "threads": self.threads}
        if row.kind in ("shipped", "trained"):
            job["network"] = _digest(MODELS[GENERALIST].path)
        if row.kind == "classical":
            job["methods"] = FAMILIES[cell.family].methods
        return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def _images(data: Path, family: str) -> FamilyImages:
    return read_family(data, family)


@functools.cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plan(families: Iterable[str], rows: Iterable[str], named: Iterable[str] = ()) -> list[Cell]:
    """Return the cells of a run, row after row; a row of few families has all if it is `named`."""
    chosen = list(families)
    return [
        Cell(family, name)
        for name in rows
        for family in chosen
        if family in ROWS[name].only or not ROWS[name].only or name in named
    ]


def compute(bench: Bench, cell: Cell) -> Figures:
    """Compute a cell and write its file.

    Raises
    ------
    RuntimeError
        A program failed; the message is its last line.
    """
    images, before = bench.images(cell.family), os.getloadavg()[0]
    pace = reference_seconds(bench.threads) if ROWS[cell.row].times else None
    work = bench.work / cell.family / cell.row
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    begun, processors = time.perf_counter(), os.times()
    results, said = KINDS[ROWS[cell.row].kind](bench, cell, images, work)
    seconds, after = time.perf_counter() - begun, os.times()
    figures: Figures = {
        "family": cell.family,
        "row": cell.row,
        "data": images.digest,
        "job": bench.fingerprint(cell),
        "minutes": bench.minutes * ROWS[cell.row].times,
        "threads": bench.threads,
        "seconds": round(seconds, 1),
        "processor_seconds": round(sum(after[:4]) - sum(processors[:4]), 1),
        "load": [round(before, 2), round(os.getloadavg()[0], 2)],
        "pace": pace if pace is None else round(pace, 4),
        "machine": machine(),
        "program": __version__,
        "said": said,
        "scores": {name: score(images.test_targets, planes) for name, planes in results.items()},
    }
    bench.path(cell).parent.mkdir(parents=True, exist_ok=True)
    write_text(bench.path(cell), json.dumps(figures, indent=1) + "\n", overwrite=True)
    if not bench.keep:
        shutil.rmtree(work)
    return figures


def score(targets: Planes, restored: Planes) -> dict[str, dict[str, float]]:
    """Score restored images after an affine fit: PSNR in dB and SSIM, by image."""
    measures = {"psnr": psnr_affine, "ssim": ssim_affine}
    return {
        name: {image: round(measure(targets[image], restored[image]), 4) for image in targets}
        for name, measure in measures.items()
    }


def read_cell(path: Path) -> Figures:
    """Read the file of a cell."""
    figures: Figures = json.loads(path.read_text("utf-8"))
    return figures


def read_cells(out: Path) -> dict[Cell, Figures]:
    """Read all finished cells of known families and rows.

    Raises
    ------
    ValueError
        Cells of one family that were computed on other images than its others.
    """
    paths = {Cell(f, r): out / f / f"{r}.json" for r in ROWS for f in FAMILIES}
    cells = {cell: read_cell(path) for cell, path in paths.items() if path.exists()}
    data: dict[str, str] = {}
    for cell, figures in cells.items():
        if data.setdefault(cell.family, figures["data"]) != figures["data"]:
            raise ValueError(
                f"{paths[cell]}: expected results of the images of the other rows of "
                f"{cell.family}, got some of others; run it again without --report"
            )
    return cells


def _input(_: Bench, cell: Cell, images: FamilyImages, work: Path) -> tuple[Results, str]:
    return {cell.row: images.test}, ""


def _shipped(bench: Bench, cell: Cell, images: FamilyImages, work: Path) -> tuple[Results, str]:
    return {cell.row: user.restore(work, images.test, None, bench.threads)}, ""


def _classical(bench: Bench, cell: Cell, images: FamilyImages, work: Path) -> tuple[Results, str]:
    kernel = microscope(cell.family, read_maps(bench.data)).kernel
    return restore_all(FAMILIES[cell.family], images, kernel, bench.dedicated, work)


def _trained(bench: Bench, cell: Cell, images: FamilyImages, work: Path) -> tuple[Results, str]:
    row, folder = ROWS[cell.row], work / "dataset"
    if row.draws:
        spoil = microscope(cell.family, read_maps(bench.data))
        user.write_ceiling(folder, row.draws, images.like, spoil, cell.family)
    else:
        user.write_dataset(folder, row, images)
    model, said = user.train(work, row.options, bench.minutes * row.times, bench.threads)
    return {cell.row: user.restore(work, images.test, model, bench.threads)}, said


def _cyclegan(bench: Bench, cell: Cell, images: FamilyImages, work: Path) -> tuple[Results, str]:
    """Train CycleGAN in a process of its own, on the planes that our training would see."""
    row = ROWS[cell.row]
    user.write_dataset(work / "dataset", row, images)
    data = load_dataset(work / "dataset")
    (defective,) = data.defective.values()
    sides = {"input": defective, "target": data.clean}
    stacks = {f"odd/{n}": np.stack([s.plane for s in some]) for n, some in sides.items()}
    write_arrays(work / "training.npz", stacks)
    test = np.stack([percentile_map(p).apply(p) for p in images.test.values()])
    write_arrays(work / "test.npz", {"odd": test})
    job = {"options": {"kind": "baseline", "module": "cyclegan"}, "task": "odd", "seed": 0}
    write_json(work / "job.json", job | {"seconds": bench.seconds(cell)})
    command = [sys.executable, "-m", RUN_METHOD, str(work.resolve())]
    with (work / "log.txt").open("w") as log:
        limit = 3 * bench.seconds(cell) + _PATIENCE
        code = run_process(command, threaded(bench.threads, None), log, limit, bench.threads)
    if code:
        raise RuntimeError(last_words(work / "log.txt"))
    restored = read_arrays(work / "restored.npz")["odd"]
    steps = json.loads((work / "about.json").read_text())["steps"]
    return {cell.row: dict(zip(images.test, restored, strict=True))}, f"{steps} steps"


KINDS: dict[str, Callable[[Bench, Cell, FamilyImages, Path], tuple[Results, str]]] = {
    "input": _input,
    "shipped": _shipped,
    "classical": _classical,
    "cyclegan": _cyclegan,
    "trained": _trained,
}


def needs_peer(cells: Iterable[Cell]) -> str | None:
    """Return the name of the virtual environment that some cells need, if they do."""
    return PEER if any(ROWS[cell.row].kind == "classical" for cell in cells) else None
