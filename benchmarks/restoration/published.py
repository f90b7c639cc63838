"""Results that another run published: shown with those of this one, and not computed again."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.restoration.cells import Bench, Cell, fingerprint
from benchmarks.restoration.methods import METHODS
from benchmarks.restoration.scores import Row

_TEXTS = ("method", "setting", "pairs", "cell", "task", "image", "source")
_TEXTS += ("versions", "machine", "job")


@dataclass(frozen=True)
class Published:
    """Rows of ``scores.csv`` and ``cells.csv``; none by default."""

    scores: tuple[Row, ...] = ()
    costs: tuple[Row, ...] = ()

    @property
    def cells(self) -> set[Cell]:
        """Cells that the rows tell of."""
        return {cell_of(row) for row in self.costs}

    def joined(self, scores: list[Row], costs: list[Row]) -> tuple[list[Row], list[Row]]:
        """Return rows and, of all cells that they do not tell of, these; sorted by cell."""
        told = {cell_of(row) for row in costs}
        both = [(scores, self.scores), (costs, self.costs)]
        kept = [[*a, *(row for row in b if cell_of(row) not in told)] for a, b in both]
        joined_scores, joined_costs = (sorted(k, key=lambda row: str(cell_of(row))) for k in kept)
        return joined_scores, joined_costs


def cell_of(row: Row) -> Cell:
    """Return the cell that a row tells of."""
    pairs = None if row["pairs"] == "all" else int(row["pairs"])
    return Cell(str(row["method"]), str(row["setting"]), pairs, int(row["draw"]), str(row["cell"]))


def read_published(folder: Path, bench: Bench) -> Published:
    """Read ``scores.csv`` and ``cells.csv`` of another run.

    Raises
    ------
    ValueError
        Results that this run would not get: of other data, methods, budget, threads, settings or
        shipped weights.
    FileNotFoundError
        `folder` lacks one of the files.
    """
    costs = _rows(folder / "cells.csv")
    cells = {cell_of(row) for row in costs}
    scores = tuple(row for row in _rows(folder / "scores.csv") if cell_of(row) in cells)
    for row in costs:
        known = row["method"] in METHODS
        if not known or row.get("job") != fingerprint(bench, cell_of(row)):
            what = cell_of(row).label
            raise ValueError(
                f"{folder / 'cells.csv'}: expected results of the same data, minutes, threads, "
                f"settings and weights, got others for {what}; take their rows out, or leave "
                "--published out"
            )
    return Published(scores, costs)


def _rows(path: Path) -> tuple[Row, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[Row] = [
            {name: text if name in _TEXTS else float(text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]
    return tuple(row | {"draw": int(row["draw"])} for row in rows)
