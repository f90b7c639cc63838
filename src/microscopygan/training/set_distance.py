"""How far synthetic images lie from the real defective ones, by what a diagnosis measures of sets.

What a set of images shows, its mean spectrum, the rhythm of its lines, its waves, what all its
images share, tells more than any image of it. A measure counts in the spreads that it has from one
set of clean images to the next, and of those with the defect, so that what moves with the specimen
counts little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..defects import Defect
from ..defects.statistics import normalised
from ..diagnosis.features import SIDE, features, filled, scaled, set_features

NEARER = 0.75  # of the distance of clean images, at most, to show the defect
_IMAGES = 6  # of a set
_SETS = 3  # of real images, at most
_RESAMPLED = 10  # sets that say how far a measure is spread
_LEAST = 0.02  # spread that every measure has
_CAP = 8.0  # spreads that a measure counts at most
_SEED = 11  # of what is random in a defect, for every one alike

Planes = Sequence[np.ndarray]


class SetDistance:
    """Real defective images, to which sets made of clean fields are compared.

    Parameters
    ----------
    defective
        Real planes (Y, X) on about 0..1, one at least.
    fields
        Clean planes (Y, X) on about 0..1, one at least.
    rng
        Chooses the images of each set.
    """

    def __init__(self, defective: Planes, fields: Planes, rng: np.random.Generator) -> None:
        self._side = min(SIDE, *(side for plane in [*defective, *fields] for side in plane.shape))
        self._fields = [normalised(field[: self._side, : self._side]) for field in fields]
        self._count = count = min(_IMAGES, len(defective), len(fields))
        order = rng.permutation(len(defective)).tolist()
        starts = range(0, min(_SETS, len(order) // count) * count, count)
        sets = [[defective[k] for k in order[start : start + count]] for start in starts]
        self._real = np.mean([self._measured(some) for some in sets], axis=0)
        self._clean = np.stack([*self._resampled(None, rng)])
        self._variance = self._clean.var(axis=0)

    def weigh(self, defect: Defect, rng: np.random.Generator) -> None:
        """Count a measure by its spread with a defect that is about right as well."""
        theirs = np.stack([*self._resampled(defect, rng)])
        self._variance = (self._clean.var(axis=0) + theirs.var(axis=0)) / 2

    def __call__(self, defect: Defect) -> float:
        """Return how far clean fields with a defect lie, in spreads, 0 to 8.

        The fields are always the same, and so is what is random in the defect.
        """
        rng = np.random.default_rng(_SEED)
        return self._apart(self._put(defect, range(self._count), rng))

    @property
    def of_clean(self) -> float:
        """How far the clean fields lie as they are."""
        return self._apart(self._clean.mean(axis=0))

    def share(self, made: Planes) -> float:
        """Return how far synthetic planes (Y, X) lie, as a part of the distance of clean ones.

        Above `NEARER` they show another defect, or little of any.
        """
        return self._apart(self._measured(made[: self._count])) / max(self.of_clean, 1e-6)

    def _apart(self, measured: np.ndarray) -> float:
        spreads = np.abs(measured - self._real) / (np.sqrt(self._variance) + _LEAST)
        return float(np.sqrt(np.mean(np.minimum(spreads, _CAP) ** 2)))

    def _resampled(self, defect: Defect | None, rng: np.random.Generator) -> Iterator[np.ndarray]:
        for _ in range(_RESAMPLED):
            yield self._put(defect, rng.permutation(len(self._fields))[: self._count].tolist(), rng)

    def _put(
        self, defect: Defect | None, which: Sequence[int], rng: np.random.Generator
    ) -> np.ndarray:
        fields = [self._fields[k] for k in which]
        return self._measured(fields if defect is None else [defect.apply(f, rng) for f in fields])

    def _measured(self, planes: Planes) -> np.ndarray:
        squares = [scaled(filled(plane[: self._side, : self._side])) for plane in planes]
        numbers = np.stack([features(square) for square in squares])
        return np.concatenate([numbers.mean(axis=0), numbers.std(axis=0), set_features(squares)])
