"""The physics of a dataset's defects: as its names say it, and as its images show it.

The name of a folder is a label and a guess: where it names a defect, that is calibrated on the
images. Whatever the name, a diagnosis of the images says which stages of the light path they may
have, and how much; compositions are drawn from it and, where the name says nothing that holds,
searched for from there. Either is used only where the images that it makes of clean ones resemble
the real defective ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ..defects import Defect
from ..defects.specimens import draw_specimen
from ..diagnosis import Diagnosis, diagnose
from ..settings import Settings
from .batches import crop, draw_physics, flip
from .composition_search import TEMPERS, search_compositions
from .fine_tuning import generalist
from .likeness import RESEMBLES, SIDE, Likeness, common_side
from .set_distance import NEARER, SetDistance
from .split import Split, calibrate_physics

DRAWS = 192  # compositions drawn from a diagnosis
NEAREST, WIDE = 24, 8  # of them used: those whose images lie nearest to the real ones, and others
MAIN = 3  # sets of what the name says to one that was drawn
T = TypeVar("T")
_BEHIND = 0.15  # by how much more the other may be unlike the images where one is like them
_SEEN = 24  # images of each that a diagnosis sees
_FIELDS = 32  # clean fields that parameter sets are tried on
_NEAR = 2  # times as many as are used, of those found by sets: the ones nearest image by image
_TRIED = 3  # fields that each of these is put into


class Physics(NamedTuple):
    """The physics of one defect.

    Attributes
    ----------
    sets
        Parameter sets, about as likely as each other; none where nothing resembles the images.
    unlikeness
        Of what the name says and of what the images show, by these words; see `Likeness`.
    """

    sets: list[Defect]
    unlikeness: dict[str, float]


def find_physics(split: Split, settings: Settings) -> dict[str, Physics]:
    """Return the physics of each defect.

    A training from scratch takes what names say as it is: it has nothing to fall back on.

    Parameters
    ----------
    split
        Defective images, clean ones and pairs.
    settings
        Of the run.
    """
    calibrated = calibrate_physics(split, settings)
    if settings.start != "generalist":
        return {name: Physics(sets, {}) for name, sets in calibrated.items()}
    return {
        name: physics_of(split, name, calibrated.get(name, []), settings) for name in split.defects
    }


def physics_of(
    split: Split, name: str, calibrated: Sequence[Defect], settings: Settings
) -> Physics:
    """Return what resembles the images of a defect: what its name says, and what they show.

    Where both do, about as much, the former is the main part.

    Parameters
    ----------
    split
        Defective images and clean ones.
    name
        The defect's label.
    calibrated
        Parameter sets of what the label says; none where it says nothing.
    settings
        Of the run, for its seed.
    """
    rng = np.random.default_rng([settings.seed, 8, split.defects.index(name)])
    defective, clean = split.defective[name], split.own_clean[name] or split.real_clean
    fields = _fields(clean, name, common_side([*defective, *clean]), rng)
    likeness = Likeness(defective, fields, generalist(), rng)
    sources, unlikeness = {"name": list(calibrated)}, {}
    if calibrated:
        unlikeness["name"] = _unlikeness(sources["name"], likeness, rng)
    diagnosis = diagnose(_some(defective, rng), _some(clean, rng))
    if calibrated and unlikeness["name"] <= RESEMBLES:
        shown = nearest_draws(diagnosis, likeness, rng)
    else:
        shown = searched(diagnosis, defective, fields, likeness, rng)
    if shown:
        sources["images"], unlikeness["images"] = shown, _unlikeness(shown, likeness, rng)
    most = min([RESEMBLES, *(value + _BEHIND for value in unlikeness.values())])
    used = [sources[source] for source, value in unlikeness.items() if value <= most]
    sets = mixed(*used) if len(used) > 1 else used[0] if used else []
    return Physics(sets, unlikeness)


def _unlikeness(sets: list[Defect], likeness: Likeness, rng: np.random.Generator) -> float:
    some = [draw_physics(sets, rng) for _ in range(_FIELDS)]
    return round(likeness.unlikeness(likeness.put(some, rng)), 3)


def nearest_draws(
    diagnosis: Diagnosis, likeness: Likeness, rng: np.random.Generator
) -> list[Defect]:
    """Draw what images may have, and keep what comes nearest to them, and some of the rest.

    A restorer needs both: sets that are close to the truth, and breadth around them.

    Parameters
    ----------
    diagnosis
        Of the defective images.
    likeness
        To them.
    rng
        Source of randomness.
    """
    drawn = [diagnosis.draw(rng, TEMPERS[k % len(TEMPERS)]) for k in range(DRAWS)]
    order = np.argsort(likeness.distances(likeness.put(drawn, rng)), kind="stable")
    chosen = [*order[:NEAREST], *rng.permutation(order[NEAREST:])[:WIDE]]
    return [drawn[int(k)] for k in chosen]


def searched(
    diagnosis: Diagnosis,
    defective: Sequence[np.ndarray],
    fields: Sequence[np.ndarray],
    likeness: Likeness,
    rng: np.random.Generator,
) -> list[Defect]:
    """Search for what images have; see `composition_search`.

    Parameters
    ----------
    diagnosis
        Of the defective images.
    defective, fields
        Planes (Y, X) on about 0..1: these, and clean ones.
    likeness
        To them.
    rng
        Source of randomness.

    Returns
    -------
    list of Defect
        What lies nearest to the images as a set and image by image, and some of the rest; empty
        where the nearest is hardly nearer than the clean fields are.
    """
    distance = SetDistance(defective, fields, rng)
    found = search_compositions(diagnosis, distance, defective, fields, rng)
    if found[0].distance > NEARER * distance.of_clean:
        return []
    near = [each.defect for each in found[: _NEAR * NEAREST]]
    apart = [likeness.distances(likeness.put(near, rng)) for _ in range(_TRIED)]
    order = np.argsort(np.mean(apart, axis=0), kind="stable")
    rest = rng.permutation(order[NEAREST:])[:WIDE]
    return [near[int(k)] for k in [*order[:NEAREST], *rest]]


def mixed(main: Sequence[T], rest: Sequence[T]) -> list[T]:
    """Return `MAIN` sets of the first to one of the second, all of them at least once.

    Examples
    --------
    >>> "".join(mixed("abcd", "xy"))
    'abcdabxy'
    """
    count = max(-(-len(main) // MAIN), len(rest))
    return [main[k % len(main)] for k in range(MAIN * count)] + [
        rest[k % len(rest)] for k in range(count)
    ]


def _some(planes: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    return [planes[k] for k in rng.permutation(len(planes))[:_SEEN].tolist()]


def _fields(
    clean: Sequence[np.ndarray], name: str, side: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Cut clean fields, or draw specimens where there is no clean image."""
    if not len(clean):
        return [draw_specimen((SIDE, SIDE), rng) for _ in range(_FIELDS)]
    chosen = np.resize(rng.permutation(len(clean)), _FIELDS).tolist()
    return [flip(crop([clean[k]], side, rng), name, rng)[0] for k in chosen]
