"""Results that another run published: shown with those of this one, and not computed again."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from microscopygan_bench.restoration.cells import Bench, Cell, count_of, job
from microscopygan_bench.restoration.fingerprint import FORMER_WEIGHTS, fingerprint
from microscopygan_bench.restoration.methods import METHODS
from microscopygan_bench.restoration.scores import Row

_TEXTS = {"method", "setting", "pairs", "cell", "task", "image", "source"}
_TEXTS |= {"versions", "machine", "job"}
_NAMES = {"method", "setting", "pairs", "draw", "cell"}  # columns that name a cell


@dataclass(frozen=True)
class Published:
    """Rows of ``scores.csv`` and ``cells.csv``; none by default."""

    scores: tuple[Row, ...] = ()
    costs: tuple[Row, ...] = ()

    @property
    def cells(self) -> set[Cell]:
        """Cells whose scores there are."""
        return {cell_of(row) for row in self.scores}

    def joined(self, scores: list[Row], costs: list[Row]) -> tuple[list[Row], list[Row]]:
        """Return rows and, of all cells that they do not tell of, these; sorted by cell."""
        covered = {cell_of(row) for row in costs}
        both = [(scores, self.scores), (costs, self.costs)]
        kept = [[*a, *(row for row in b if cell_of(row) not in covered)] for a, b in both]
        joined_scores, joined_costs = (sorted(k, key=lambda row: str(cell_of(row))) for k in kept)
        return joined_scores, joined_costs


def cell_of(row: Row) -> Cell:
    """Return the cell that a row tells of."""
    method, setting, pairs, task = (str(row[k]) for k in ("method", "setting", "pairs", "cell"))
    return Cell(method, setting, count_of(pairs), int(row["draw"]), task)


def read_published(folder: Path, bench: Bench) -> Published:
    """Read ``scores.csv`` and ``cells.csv`` of another run.

    Raises
    ------
    ValueError
        Results that this run would not get: of other data, methods, budget, threads, settings or
        shipped weights; or files of something else.
    FileNotFoundError
        `folder` lacks one of the files.
    """
    costs = _rows(folder / "cells.csv")
    cells = {cell_of(row) for row in costs}
    scores = tuple(row for row in _rows(folder / "scores.csv") if cell_of(row) in cells)
    for row in costs:
        if not still_holds(row, bench):
            what = cell_of(row).label
            raise ValueError(
                f"{folder / 'cells.csv'}: expected results of the same data, minutes, threads, "
                f"settings and weights, got others for {what}; take their rows out, or leave "
                "--published out"
            )
    return Published(scores, costs)


def still_holds(row: Row, bench: Bench) -> bool:
    """Tell whether this run would compute the cell of a row of ``cells.csv`` just so.

    Or would have, from weights that shipped before: see `former_weights`.
    """
    if row["method"] not in METHODS:
        return False
    today = fingerprint(bench.data.digest, job(bench, cell_of(row)))
    return row.get("job") == today or bool(former_weights(row, bench))


def former_weights(row: Row, bench: Bench) -> str:
    """Return what weights a row started from that do not ship any more; empty if from others."""
    today = job(bench, cell_of(row))
    for digest, name in FORMER_WEIGHTS.items():
        then = today | {"started_from": [digest, *today["started_from"][1:]]}
        if today["started_from"] and row.get("job") == fingerprint(bench.data.digest, then):
            return name
    return ""


def _rows(path: Path) -> tuple[Row, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := sorted(_NAMES - set(reader.fieldnames or ())):
            raise ValueError(
                f"{path}: expected columns that this benchmark writes, got none named "
                f"{', '.join(missing)}; name the folder of another run"
            )
        rows: list[Row] = [
            {name: text if name in _TEXTS else float(text) for name, text in row.items()}
            for row in reader
        ]
    return tuple(row | {"draw": int(row["draw"])} for row in rows)
