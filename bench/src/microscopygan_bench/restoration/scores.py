"""Scores of restored images, read from finished cells: a new measure costs no training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from microscopygan.datasets.folder import Pair
from microscopygan.evaluate.metrics import (
    psnr_affine,
    psnr_minmax,
    ring_resolution,
    ssim_affine,
    ssim_minmax,
)
from microscopygan_bench.peers.job import read_arrays
from microscopygan_bench.restoration.cells import Bench, Cell, job
from microscopygan_bench.restoration.fingerprint import fingerprint
from microscopygan_bench.restoration.methods import METHODS
from microscopygan_bench.restoration.microssim import micro_ssim
from microscopygan_bench.restoration.protocol import NOISE

Row = dict[str, str | float]

METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "psnr_affine": psnr_affine,
    "ssim_affine": ssim_affine,
    "psnr_minmax": psnr_minmax,
    "ssim_minmax": ssim_minmax,
    "ring_resolution": ring_resolution,
}


def score_cells(bench: Bench, cells: Iterable[Cell]) -> tuple[list[Row], list[Row]]:
    """Score all finished cells.

    Returns
    -------
    scores
        A row for each cell, test image and task, with every metric.
    costs
        A row for each cell: seconds, parameters, steps, machine and its pace (`reference_seconds`),
        and the `fingerprint` of its job.
    """
    scores: list[Row] = []
    costs: list[Row] = []
    for cell in cells:
        if bench.finished(cell):
            scores += score_cell(bench, cell)
            costs.append(
                _about(cell)
                | _cost(bench.folder(cell), fingerprint(bench.data.digest, job(bench, cell)))
            )
    return scores, costs


def score_cell(bench: Bench, cell: Cell) -> list[Row]:
    """Score the restored images of one cell against their targets."""
    restored = read_arrays(bench.folder(cell) / "restored.npz")
    return [
        {**_about(cell), "task": name, **row}
        for name in scored(cell, restored)
        for row in score_planes(bench.data.targets(name), restored[name])
    ]


def scored(cell: Cell, names: Iterable[str]) -> Iterator[str]:
    """Leave out images of two defects of which only the first one was undone."""
    halfway = cell.task == NOISE and METHODS[cell.method].single
    return (name for name in names if not (halfway and "+" in name))


def score_planes(pairs: list[Pair], restored: np.ndarray) -> list[Row]:
    """Score planes (K, Y, X) against the targets of pairs, with every metric."""
    similar = micro_ssim([pair.target for pair in pairs], list(restored))
    return [
        {
            "image": pair.name,
            "source": pair.image,
            **{name: metric(pair.target, plane) for name, metric in METRICS.items()},
            "micro_ssim": alike,
        }
        for pair, plane, alike in zip(pairs, restored, similar, strict=True)
    ]


def _about(cell: Cell) -> Row:
    """Columns that name a cell, all but its task."""
    pairs = "all" if cell.pairs is None else str(cell.pairs)
    return {
        "method": cell.method,
        "setting": cell.setting,
        "pairs": pairs,
        "draw": cell.draw,
        "cell": cell.task,
    }


def _cost(folder: Path, job: str) -> Row:
    about = json.loads((folder / "about.json").read_text())
    names = ("training_seconds", "inference_seconds", "images", "parameters", "steps")
    versions = " ".join(f"{name} {number}" for name, number in about["versions"].items())
    where = json.loads((folder / "machine.json").read_text())
    return {name: float(about[name]) for name in names} | {
        "versions": versions,
        "machine": where["machine"],
        "pace": float(where["pace"]),
        "job": job,
    }
