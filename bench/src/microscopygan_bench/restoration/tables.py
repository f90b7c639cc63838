"""The tables of a benchmark, as texts in rows: the same for Markdown and for HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from microscopygan.evaluate.score_table import Spread, spread
from microscopygan_bench.restoration.cells import count_text
from microscopygan_bench.restoration.methods import METHODS
from microscopygan_bench.restoration.scores import Row
from microscopygan_bench.restoration.statistics import (
    paired_difference,
    per_draw,
    share_of_gain,
)

OURS = "default"
ORACLE = "oracle"
INPUT = "input"
MEASURES = {
    "psnr_affine": ("PSNR, dB", 2),
    "ssim_affine": ("SSIM", 3),
    "micro_ssim": ("MicroSSIM", 3),
    "psnr_minmax": ("PSNR 2019, dB", 2),
    "ssim_minmax": ("SSIM 2019", 3),
    "ring_resolution": ("FRC, px", 2),
}
TYPICAL = ("ring_resolution",)  # measures whose median over images is taken
_FITTED = (
    "PSNR in dB / SSIM after an affine fit of each restored image to its target: mean over test "
    "images ± sd over draws"
)

Group = tuple[str, str]  # setting, number of pairs
UNTRAINED: Group = ("A", "0")
Place = tuple[str, str, str]  # method, setting, number of pairs
PerDraw = dict[int, dict[str, float]]


@dataclass(frozen=True)
class Sheet:
    """A table; texts of rows that are best are in `best`, as (row, column)."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""

    def markdown(self) -> str:
        """Write it as Markdown, the best in bold."""
        body = [
            [f"**{text}**" if (i, j) in self.best else text for j, text in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]
        lines = [self.head, ["---"] + ["---:"] * (len(self.head) - 1), *body]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"### {self.title}\n\n{table}\n" + (f"\n{self.note}\n" if self.note else "")


class Results:
    """Scores and costs, found by method, setting, number of pairs, task and measure."""

    def __init__(self, scores: Iterable[Row], costs: Iterable[Row]) -> None:
        self._scores: dict[tuple[Place, str, str], PerDraw] = {}
        self._costs: dict[tuple[Place, str], list[Row]] = {}
        self.sources: dict[str, str] = {}
        for row in scores:
            self.sources[str(row["image"])] = str(row["source"])
            for measure in MEASURES:
                key = _place(row), str(row["task"]), measure
                draws = self._scores.setdefault(key, {})
                draws.setdefault(int(row["draw"]), {})[str(row["image"])] = float(row[measure])
        for row in costs:
            self._costs.setdefault((_place(row), str(row["cell"])), []).append(row)

    @property
    def groups(self) -> list[Group]:
        """Settings and numbers of pairs of trainings, 10 pairs first; else the untrained ones."""
        trained = {p[1:] for (p, *_) in self._scores if METHODS[p[0]].trained and p[0] != ORACLE}
        return sorted(
            trained or {UNTRAINED}, key=lambda g: (g[1] != "10", g[0] != "B", len(g[1]), g[1])
        )

    @property
    def tasks(self) -> list[str]:
        """Names of tasks, those with two defects last."""
        return sorted({task for _, task, _ in self._scores}, key=lambda t: ("+" in t, t))

    def places(self, group: Group) -> list[Place]:
        """Return where the scores of a group's rows are found, in the order of the methods.

        Methods without training and the oracle have a row in every group.
        """
        return [
            place
            for name in METHODS
            for place in self.places_of(name)
            if place[1:] == group or _everywhere(name)
        ]

    def places_of(self, name: str) -> list[Place]:
        """Return where the scores of one method are found, few pairs first."""
        there = {p for (p, *_) in self._scores if p[0] == name}
        return sorted(there, key=lambda p: (p[1], p[2] == "all", len(p[2]), p[2]))

    def values(self, place: Place, task: str, measure: str) -> PerDraw:
        """Return scores by draw and image; nothing where there are none."""
        return self._scores.get((place, task, measure), {})

    def spread(self, place: Place, task: str, measure: str) -> Spread:
        """Return the mean over images, as mean and standard deviation over draws."""
        typical = measure in TYPICAL
        return spread(per_draw(self.values(place, task, measure), typical=typical))

    def costs(self, place: Place, task: str) -> list[tuple[Row, ...]]:
        """Return for each draw the costs of the cells that restore a task: of one, or of two."""
        names = task.split("+") if METHODS[place[0]].single else ["all"]
        rows = (self._costs.get((place, name), []) for name in names)
        return list(zip(*(sorted(r, key=lambda row: row["draw"]) for r in rows), strict=False))

    @property
    def machines(self) -> list[str]:
        """Where cells were computed."""
        return sorted({str(row["machine"]) for row in self.every_cost})

    @property
    def every_cost(self) -> list[Row]:
        """The costs of all cells."""
        return [row for rows in self._costs.values() for row in rows]


def _place(row: Mapping[str, str | float]) -> Place:
    return str(row["method"]), str(row["setting"]), str(row["pairs"])


def _everywhere(name: str) -> bool:
    return name == ORACLE or not METHODS[name].trained


def _variant(place: Place) -> bool:
    return METHODS[place[0]].group == "ablations"


def group_title(group: Group) -> str:
    """Name a group."""
    if group[0] == "B":
        return "No pairs"
    if group == UNTRAINED:
        return "Without training"
    return "All pairs" if group[1] == "all" else f"{count_text(group[1])} of each task"


def sheets(results: Results, group: Group) -> list[Sheet]:
    """Return the tables of a group: all tasks side by side, differences, parts, and each task."""
    all_of = [overview(results, group)]
    all_of += [differences(results, group, measure) for measure in ("psnr_affine", "ssim_affine")]
    all_of += [parts(results, group, measure) for measure in ("psnr_affine", "ssim_affine")]
    all_of += [details(results, group, task) for task in results.tasks]
    return [sheet for sheet in all_of if sheet.rows]


def overview(results: Results, group: Group) -> Sheet:
    """PSNR and SSIM of every method on every task, variants of MicroscopyGAN left aside."""
    places, tasks = [p for p in results.places(group) if not _variant(p)], results.tasks
    rows = [[METHODS[place[0]].title, *_side_by_side(results, place)] for place in places]
    best = set()
    for column, task in enumerate(tasks, 1):
        means = {
            row: results.spread(place, task, "psnr_affine").mean
            for row, place in enumerate(places)
            if place[0] != ORACLE and results.values(place, task, "psnr_affine")
        }
        if means:
            best.add((max(means, key=lambda row: means[row]), column))
    note = f"{_FITTED}; highest PSNR in bold, the oracle left aside."
    return Sheet(group_title(group), ["", *tasks], rows, frozenset(best), note)


def by_pairs(results: Results) -> Sheet:
    """PSNR and SSIM of the methods that were trained on several numbers of pairs."""
    rows = []
    for name in METHODS:
        places = [p for p in results.places_of(name) if p[1] == "A"]
        if len(places) > 1:
            title = METHODS[name].title
            rows += [[f"{title}, {count_text(p[2])}", *_side_by_side(results, p)] for p in places]
    return Sheet("By number of pairs", ["", *results.tasks], rows, note=f"{_FITTED}.")


def _side_by_side(results: Results, place: Place) -> list[str]:
    """PSNR and SSIM of one method on each task."""
    cells = []
    for task in results.tasks:
        psnr, ssim = (results.spread(place, task, m) for m in ("psnr_affine", "ssim_affine"))
        scores = results.values(place, task, "psnr_affine")
        cells.append(f"{psnr.text(2)} / {ssim.text(3)}" if scores else "–")
    return cells


def differences(results: Results, group: Group, measure: str) -> Sheet:
    """MicroscopyGAN minus every other method, and without pairs minus CARE with ten, too."""
    others = [p for p in results.places(group) if p[0] != OURS and not _variant(p)]
    if group[0] == "B":
        others += [p for p in results.places(("A", "10")) if p[0] == "care"]
    heading = f"{group_title(group)}: MicroscopyGAN minus the others, {MEASURES[measure][0]}"
    return _minus(results, group, measure, others, heading)


def parts(results: Results, group: Group, measure: str) -> Sheet:
    """MicroscopyGAN minus its variants, in each of which one part is another."""
    variants = [place for place in results.places(group) if _variant(place)]
    heading = f"{group_title(group)}: MicroscopyGAN minus its variants, {MEASURES[measure][0]}"
    return _minus(results, group, measure, variants, heading)


def _minus(
    results: Results, group: Group, measure: str, others: Sequence[Place], heading: str
) -> Sheet:
    """Our scores minus those of others, with intervals; draws that both have are compared."""
    digits, tasks, ours = MEASURES[measure][1], results.tasks, (OURS, *group)
    if not any(results.values(ours, task, measure) for task in tasks):
        return Sheet("", [], [])
    rows = []
    for place in others:
        same_draws = place[1:] == group and not _everywhere(place[0])
        cells = []
        for task in tasks:
            a, b = (results.values(p, task, measure) for p in (ours, place))
            if same_draws:
                a, b = ({draw: x[draw] for draw in a.keys() & b.keys()} for x in (a, b))
            cells.append(paired_difference(a, b, results.sources).text(digits) if a and b else "–")
        name = METHODS[place[0]].title
        elsewhere = not _everywhere(place[0]) and place[1:] != group
        rows.append([f"{name}, {group_title(place[1:]).lower()}" if elsewhere else name, *cells])
    note = (
        "Mean over test images of the difference, with its 95 % bootstrap interval; draws that "
        "both have are compared."
    )
    return Sheet(heading, ["", *tasks], rows, note=note)


def details(results: Results, group: Group, task: str) -> Sheet:
    """Every measure of one task, and what each method costs."""
    head = ["", *(title for title, _ in MEASURES.values()), "of the oracle's gain"]
    head += ["training, s", "a test image, s", "parameters", "steps", "pace, s"]
    rows = []
    for place in results.places(group):
        if results.values(place, task, "psnr_affine"):
            figures = [
                results.spread(place, task, measure).text(digits)
                for measure, (_, digits) in MEASURES.items()
            ]
            gain = _gain(results, place, task)
            rows.append(
                [METHODS[place[0]].title, *figures, gain, *_cost_texts(results, place, task)]
            )
    note = (
        "PSNR and SSIM after an affine fit; MicroSSIM; as in 2019, each image scaled by its own "
        "extremes; FRC: where the Fourier ring correlation with the target falls below 1/7, median "
        "over images. Pace: what the machine needed for a fixed piece of work before the training."
    )
    return Sheet(f"{group_title(group)}: {task}", head, rows, note=note)


def _gain(results: Results, place: Place, task: str) -> str:
    places = place, (INPUT, *UNTRAINED), (ORACLE, "A", "all")
    mine, untouched, best = (results.spread(p, task, "psnr_affine").mean for p in places)
    share = share_of_gain(mine, untouched, best)
    return "–" if math.isnan(share) else f"{share:.0%}"


def _cost_texts(results: Results, place: Place, task: str) -> list[str]:
    costs = results.costs(place, task)
    if not costs:
        return ["–"] * 5

    def mean(name: str, per: Callable[[Row], float] = lambda row: 1.0) -> float:
        return fmean(sum(float(row[name]) / per(row) for row in rows) for rows in costs)

    pace = fmean(float(row["pace"]) for rows in costs for row in rows)
    return [
        f"{mean('training_seconds'):.0f}",
        f"{mean('inference_seconds', lambda row: float(row['images'])):.3f}",
        f"{mean('parameters'):,.0f}",
        f"{mean('steps'):,.0f}",
        "–" if math.isnan(pace) else f"{pace:.3f}",
    ]
