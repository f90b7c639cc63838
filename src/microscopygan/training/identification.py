"""The physics of a dataset's defects: calibrated where a name says it, and as the images show it.

The name of a folder is a label and a guess. What is calibrated on its word is used only where the
images that it makes of clean ones resemble the real defective ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..defects import Defect
from ..defects.specimens import draw_specimen
from ..settings import Settings
from .batches import crop, draw_physics, flip
from .fine_tuning import generalist
from .likeness import RESEMBLES, SIDE, Likeness, common_side
from .split import Split, calibrate_physics

_FIELDS = 32  # clean fields that parameter sets are tried on


def physics_of(
    split: Split, settings: Settings
) -> tuple[dict[str, list[Defect]], dict[str, float]]:
    """Return the physics of each defect that resembles its images, and how unlike they are.

    A training from scratch takes what is calibrated as it is: it has nothing to fall back on.

    Parameters
    ----------
    split
        Defective images, clean ones and pairs.
    settings
        Of the run.

    Returns
    -------
    physics
        Parameter sets, about as likely as each other, by defect.
    unlikeness
        See `Likeness`, by defect, of those that were tried.
    """
    calibrated = calibrate_physics(split, settings)
    if settings.start != "generalist":
        return calibrated, {}
    unlike = {name: _unlikeness(split, name, sets, settings) for name, sets in calibrated.items()}
    return {name: calibrated[name] for name in calibrated if unlike[name] <= RESEMBLES}, unlike


def _unlikeness(split: Split, name: str, sets: list[Defect], settings: Settings) -> float:
    rng = np.random.default_rng([settings.seed, 8, split.defects.index(name)])
    defective, clean = split.defective[name], split.own_clean[name] or split.real_clean
    fields = _fields(clean, name, common_side([*defective, *clean]), rng)
    likeness = Likeness(defective, fields, generalist(), rng)
    made = likeness.put([draw_physics(sets, rng) for _ in range(_FIELDS)], rng)
    return round(likeness.unlikeness(made), 3)


def _fields(
    clean: Sequence[np.ndarray], name: str, side: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Cut clean fields, or draw specimens where there is no clean image."""
    if not len(clean):
        return [draw_specimen((SIDE, SIDE), rng) for _ in range(_FIELDS)]
    chosen = np.resize(rng.permutation(len(clean)), _FIELDS).tolist()
    return [flip(crop([clean[k]], side, rng), name, rng)[0] for k in chosen]
