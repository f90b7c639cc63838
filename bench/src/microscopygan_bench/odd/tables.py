"""The tables of the benchmark, from the files of its cells alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean

from microscopygan_bench.odd.cells import Cell, Figures
from microscopygan_bench.odd.families import FAMILIES
from microscopygan_bench.odd.fields import field_of
from microscopygan_bench.odd.rows import OURS, ROWS
from microscopygan_bench.restoration.statistics import (
    Difference,
    paired_difference,
    share_of_gain,
)
from microscopygan_bench.restoration.tables import Sheet

INPUT, SHIPPED, CEILING, CLASSICAL = "input", "shipped", "ceiling", "classical"
MEASURES = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 3)}
HARM = 0.05  # dB below the network that ships that no row of ours may be
ASKED = (
    "Asked for: 10 unpaired 70 % in the mean and 50 % of each family (motion, defocus 35 %); 100 "
    "unpaired 80 %, 10 pairs 85 % in the mean."
)
_NONE = "–"
_INTERVAL = "its 95 % bootstrap interval over fields"

Scores = Mapping[str, float]  # by image


class Results:
    """Scores by family, row and measure."""

    def __init__(self, cells: Mapping[Cell, Figures]) -> None:
        self.cells = cells

    @property
    def families(self) -> list[str]:
        """Names of families with an input, in the order of the benchmark."""
        return [name for name in FAMILIES if Cell(name, INPUT) in self.cells]

    @property
    def rows(self) -> list[str]:
        """Names of rows that some family has, the input left aside."""
        there = {cell.row for cell in self.cells}
        return [name for name in ROWS if name in there and name != INPUT]

    def method(self, family: str, row: str) -> str | None:
        """Return the method of a row with the highest mean PSNR; None where it is not computed."""
        if (figures := self.cells.get(Cell(family, row))) is None:
            return None
        scores: dict[str, dict[str, Scores]] = figures["scores"]
        return max(scores, key=lambda name: fmean(scores[name]["psnr"].values()))

    def scores(self, family: str, row: str, measure: str, method: str | None = None) -> Scores:
        """Return the scores of a row's best method, or of a given one; nothing where none are."""
        name = method or self.method(family, row)
        return {} if name is None else self.cells[Cell(family, row)]["scores"][name][measure]

    def mean(self, family: str, row: str, measure: str = "psnr") -> float:
        """Return the mean over test images; NaN where there are none."""
        scores = self.scores(family, row, measure)
        return fmean(scores.values()) if scores else math.nan

    def minus(self, family: str, row: str, other: str, measure: str = "psnr") -> Difference | None:
        """Return the mean difference of two rows and its interval; None where one is missing."""
        mine, theirs = (self.scores(family, name, measure) for name in (row, other))
        return difference(mine, theirs) if mine and theirs else None

    def share(self, family: str, row: str) -> float:
        """Return the part of the ceiling's gain over the input that a row has; NaN if unknown."""
        return share_of_gain(*(self.mean(family, name) for name in (row, INPUT, CEILING)))


def difference(mine: Scores, theirs: Scores) -> Difference:
    """Return the mean difference over images, and its bootstrap interval over fields."""
    return paired_difference({0: mine}, {0: theirs}, {image: field_of(image) for image in mine})


def sheets(results: Results) -> list[Sheet]:
    """Return all tables."""
    every = [gains(results), shares(results), harm(results)]
    every += [intervals(results, measure) for measure in MEASURES]
    return [sheet for sheet in [*every, methods(results)] if sheet.rows]


def gains(results: Results) -> Sheet:
    """PSNR of the input, and what every row gains over it."""
    rows, best = [], set()
    for number, family in enumerate(results.families):
        all_of = [results.minus(family, row, INPUT) for row in results.rows]
        means = {k: found.mean for k, found in enumerate(all_of) if found is not None}
        rivals = {k: m for k, m in means.items() if results.rows[k] != CEILING and m > 0}
        if rivals:
            best.add((number, 2 + max(rivals, key=lambda k: rivals[k])))
        texts = [f"{means[k]:+.2f}" if k in means else _NONE for k in range(len(all_of))]
        rows.append([_title(family), f"{results.mean(family, INPUT):.2f}", *texts])
    rows.append(["mean", *_means(results)])
    note = (
        "PSNR in dB after an affine fit: of the input, and the gain over it, mean over 24 test "
        "images. Highest gain in bold, the ceiling left aside; a mean only where all families are."
    )
    head = ["", "input, dB", *(ROWS[name].title for name in results.rows)]
    return Sheet("Gain over the input", head, rows, frozenset(best), note)


def _means(results: Results) -> list[str]:
    """Write the means over families; a dash where some families are missing."""
    inputs = [results.mean(family, INPUT) for family in results.families]
    texts = [f"{fmean(inputs):.2f}"]
    for row in results.rows:
        mean = fmean(results.mean(family, row) for family in results.families) - fmean(inputs)
        texts.append(_NONE if math.isnan(mean) else f"{mean:+.2f}")
    return texts


def _title(family: str) -> str:
    return FAMILIES[family].title


def shares(results: Results) -> Sheet:
    """Which part of the ceiling's gain our rows reach."""
    ours = [name for name in results.rows if name in (SHIPPED, *OURS)]
    families = [name for name in results.families if Cell(name, CEILING) in results.cells]
    values = {f: {r: results.share(f, r) for r in ours} for f in families}
    rows = [[_title(f), *(_percent(values[f][r]) for r in ours)] for f in families]
    if families:
        rows.append(["mean", *(_percent(fmean(values[f][r] for f in families)) for r in ours)])
        least = [min(values[f][r] for f in families) for r in ours]
        rows.append(["least", *map(_percent, least)])
    note = f"Part of the ceiling's gain over the input. {ASKED}"
    return Sheet("Share of the ceiling", ["", *(ROWS[r].title for r in ours)], rows, note=note)


def _percent(share: float) -> str:
    return _NONE if math.isnan(share) else f"{share:.0%}"


def harm(results: Results) -> Sheet:
    """Our rows minus the network that ships."""
    ours = [name for name in results.rows if name in OURS]
    rows = [
        [_title(family), *(_text(results.minus(family, row, SHIPPED), "psnr") for row in ours)]
        for family in results.families
    ]
    note = (
        f"Mean over test images of the difference in dB, with {_INTERVAL}. None should be below "
        f"-{HARM}."
    )
    head = ["", *(ROWS[row].title for row in ours)]
    return Sheet("Minus the shipped network", head, rows if ours else [], note=note)


def _text(found: Difference | None, measure: str) -> str:
    return _NONE if found is None else found.text(MEASURES[measure][1])


def intervals(results: Results, measure: str) -> Sheet:
    """What every row gains over the input, with intervals."""
    title, digits = MEASURES[measure]
    rows = [
        [
            _title(family),
            f"{results.mean(family, INPUT, measure):.{digits}f}",
            *(_text(results.minus(family, row, INPUT, measure), measure) for row in results.rows),
        ]
        for family in results.families
    ]
    head = ["", "input", *(ROWS[name].title for name in results.rows)]
    note = f"Of the input, and the mean gain over it with {_INTERVAL}."
    return Sheet(f"With intervals: {title}", head, rows, note=note)


def methods(results: Results) -> Sheet:
    """What every classical and dedicated method gains over the input."""
    rows = []
    for family in results.families:
        figures = results.cells.get(Cell(family, CLASSICAL))
        best = results.method(family, CLASSICAL)
        for name in figures["scores"] if figures else ():
            sides = [
                difference(
                    results.scores(family, CLASSICAL, measure, name),
                    results.scores(family, INPUT, measure),
                ).text(digits)
                for measure, (_, digits) in MEASURES.items()
            ]
            rows.append([_title(family), f"{name} (best)" if name == best else name, *sides])
    head = ["", "method", *(f"gain in {title}" for title, _ in MEASURES.values())]
    return Sheet("Classical and dedicated methods", head, rows, note=f"Mean gain with {_INTERVAL}.")


def conditions(cells: Mapping[Cell, Figures]) -> str:
    """Say under which conditions the trained cells came about, and what programs said."""
    trained = [figures for figures in cells.values() if figures["minutes"]]
    machines = sorted({figures["machine"] for figures in cells.values()})
    lines = [f"Computed on: {'; '.join(machines)}."]
    if trained:
        loads = [load for figures in trained for load in figures["load"]]
        lines.append(
            f"{len(trained)} trainings of {_spread(f['minutes'] for f in trained)} min on "
            f"{_spread(f['threads'] for f in trained)} threads; load of the machine before and "
            f"after {_spread(loads)}; {_spread(f['processor_seconds'] for f in trained)} "
            f"processor seconds; pace {_spread(f['pace'] for f in trained)} s."
        )
    refused = [cell for cell, figures in cells.items() if figures["said"].startswith("refused")]
    lines += [f"Refused: {c.family}, {ROWS[c.row].title}: {cells[c]['said']}" for c in refused]
    return "\n\n".join(lines)


def _spread(values: Iterable[float]) -> str:
    few = sorted(values)
    return f"{few[0]:g}" if few[0] == few[-1] else f"{few[0]:g} to {few[-1]:g}"
