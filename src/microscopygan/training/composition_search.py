"""Search for the defect whose images lie nearest to the real ones.

The first candidates are drawn from what a diagnosis says, from the whole ranges of the stages that
it thinks likely, and from closed forms. Then the nearest candidates are moved, round after round:
a little, by a stage more or less, or by stages of each other; and what the images of the nearest
one lack against the real ones is asked of closed forms, which see it sharply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..defects import Defect
from ..defects.composition import Composition
from ..diagnosis import Diagnosis
from .set_distance import SetDistance

DRAWN, WIDE = 20, 24  # first candidates: of a diagnosis; of likely stages, from their whole ranges
MOVES = (0.15, 0.1, 0.06)  # of parameters, as a part of their ranges, round after round
CHILDREN, PARENTS = 10, 8  # candidates of a round, and those that they come from
SWEEPS, SWEPT = 2, 2  # of the nearest ones; values of each of their parameters, in each round
TEMPERS = (1.0, 0.6)  # of draws from a diagnosis, which misses stages that others hide
STAGE = 0.02  # of the distance of clean images, that a stage has to be worth
_LIKELY = 0.35  # exponent of the probability by which a stage is drawn
_ADDED, _REMOVED, _REDRAWN, _TAKEN = 0.15, 0.15, 0.15, 0.15  # shares of the children
_MOST = 4  # stages
_FOUND = 2  # sets of each closed form
_FIELDS = 12  # clean fields, and real images, that closed forms look at

Planes = Sequence[np.ndarray]


class Candidate(NamedTuple):
    """A composition, and how far its images lie from the real ones, each stage counted besides."""

    distance: float
    defect: Composition


def search_compositions(
    diagnosis: Diagnosis,
    distance: SetDistance,
    defective: Planes,
    fields: Planes,
    rng: np.random.Generator,
) -> list[Candidate]:
    """Return all candidates that were tried, the nearest first.

    Parameters
    ----------
    diagnosis
        Of the real images.
    distance
        To them.
    defective, fields
        Planes (Y, X) on about 0..1: the real images, and clean ones.
    rng
        Source of randomness.
    """
    moves = _Moves(diagnosis, defective, fields, rng)
    seen = _measured(moves.first(), distance)
    distance.weigh(seen[0].defect, rng)
    seen = _measured([each.defect for each in seen[: 2 * PARENTS]], distance)
    for scale in MOVES:
        made = _measured(moves.of(_parents(seen), scale), distance)
        seen = _sorted([*seen, *made])
    return seen


def _measured(defects: Iterable[Composition], distance: SetDistance) -> list[Candidate]:
    worth = STAGE * distance.of_clean
    return _sorted(Candidate(distance(one) + worth * len(one.steps), one) for one in defects)


def _sorted(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.distance)


def _parents(seen: Iterable[Candidate]) -> list[Composition]:
    """Return the nearest of each set of stages: what is only a little nearer crowds out nothing."""
    nearest: dict[tuple[type[Defect], ...], Composition] = {}
    for _, one in seen:
        nearest.setdefault(tuple(map(type, one.steps)), one)
    return list(nearest.values())[:PARENTS]


class _Moves:
    """Where candidates come from."""

    def __init__(
        self, diagnosis: Diagnosis, defective: Planes, fields: Planes, rng: np.random.Generator
    ) -> None:
        self._diagnosis, self._rng = diagnosis, rng
        self._defective, self._fields = defective[:_FIELDS], fields[:_FIELDS]
        self._kinds = [finding.kind for finding in diagnosis.findings]
        likely = np.array([f.probability for f in diagnosis.findings]) ** _LIKELY
        self._shares = likely / likely.sum()

    def first(self) -> list[Composition]:
        """Return the first candidates: each stage alone among them, and each closed form."""
        drawn = [self._diagnosis.draw(self._rng, TEMPERS[k % 2]) for k in range(DRAWN)]
        found = list(self._found(self._kinds, ()))
        likely = self._rng.choice(len(self._kinds), WIDE, p=self._shares).tolist()
        wide = [kind.draw_broad(self._rng) for kind in self._kinds]
        wide += [self._kinds[k].draw_broad(self._rng) for k in likely]
        sharper = zip(drawn[1 :: len(TEMPERS)], found, strict=False)
        joined = [[*one.steps, step] for one, step in sharper]
        alone = [[step] for step in wide + found]
        return [self._completed(steps) for steps in [*(d.steps for d in drawn), *joined, *alone]]

    def _completed(self, steps: Sequence[Defect]) -> Composition:
        """Add what nearly every image has, as its closed form sees it, to what lacks its like."""
        usual = [kind for kind in self._kinds if kind.usual]
        lacking = [u for u in usual if all(step.place < u.place for step in steps)]
        return compose([*steps, *self._found(lacking, steps, 1)])

    def of(self, parents: Sequence[Composition], scale: float) -> list[Composition]:
        """Return what the nearest candidates, the very nearest first, become."""
        best = parents[0].steps
        made = [compose([*best, step]) for step in self._found(self._kinds, best)]
        for place, step in enumerate(best):
            others = [*best[:place], *best[place + 1 :]]
            made += [compose([*others, new]) for new in self._found([type(step)], others)]
        made += [compose(steps) for one in parents[:SWEEPS] for steps in self._swept(one.steps)]
        return made + [self._child(parents, scale) for _ in range(CHILDREN)]

    def _swept(self, steps: Sequence[Defect]) -> Iterator[list[Defect]]:
        """Draw each parameter of each stage anew, the others left, evenly over its range."""
        for place, step in enumerate(steps):
            for name, interval in step.ranges.items():
                for part in range(SWEPT):
                    value = interval.value((part + self._rng.random()) / SWEPT)
                    other = step.model_copy(update={name: value})
                    yield [*steps[:place], other, *steps[place + 1 :]]

    def _found(
        self, kinds: Iterable[type[Defect]], before: Sequence[Defect], most: int = _FOUND
    ) -> Iterator[Defect]:
        """Yield what closed forms find that clean fields with some stages lack."""
        planes = list(self._fields)
        if before:
            planes = [compose(before).apply(field, self._rng) for field in planes]
        for kind in kinds:
            try:
                sets = kind.found(planes, self._defective, self._rng)
            except ValueError:  # it cannot take images such as these
                continue
            yield from (sets[k] for k in self._rng.permutation(len(sets))[:most].tolist())

    def _child(self, parents: Sequence[Composition], scale: float) -> Composition:
        """Move one of the parents, the nearest ones more often."""
        rng = self._rng
        steps = list(parents[int(len(parents) * rng.random() * rng.random())].steps)
        shares = np.cumsum([_ADDED, _REMOVED, _REDRAWN, _TAKEN])
        which, place = int(np.searchsorted(shares, rng.random())), int(rng.integers(len(steps)))
        if which == 0:
            steps.append(self._likely())
        elif which == 1 and len(steps) > 1:
            steps.pop(place)
        elif which == 2:
            steps[place] = type(steps[place]).draw_broad(rng)
        elif which == 3:
            other = parents[int(rng.integers(len(parents)))].steps
            steps.append(other[int(rng.integers(len(other)))])
        return compose([step.moved(rng, scale) for step in steps])

    def _likely(self) -> Defect:
        """Draw a stage, likely ones more often: by the diagnosis, or from its whole ranges."""
        index = int(self._rng.choice(len(self._kinds), p=self._shares))
        if self._rng.random() < 0.5:
            return self._kinds[index].draw_broad(self._rng)
        return self._diagnosis.findings[index].draw(self._rng)


def compose(steps: Sequence[Defect]) -> Composition:
    """Put stages into the order of the light path; of more than four, the last four."""
    return Composition.ordered(steps[-_MOST:])
