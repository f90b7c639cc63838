"""Real defective images judge an adaptation as well, without any clean image of the same field.

A restorer is to bring defective images to the statistics of clean ones, which are spectra, their
directions and the rhythm of rows. An adapted network that clearly leaves the real images farther
from the clean ones than the network that ships is not kept. Where the clean images show another
specimen, part of the way is to the specimen, so that only a clear difference counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from ..defects.statistics import ANISOTROPY, RHYTHM, SPECTRA, normalised
from ..settings import Settings
from .gate import Interval, mean_of
from .likeness import common_side, restored, some_crops
from .run_folder import write_json
from .split import Split

MARGIN = 0.25  # spreads of clean images; a smaller difference may be the specimen's
LEAST = 4  # clean images, and defective ones, to say anything
_FLOOR, _CAP = 0.05, 10.0  # least spread of a statistic; most spreads that one counts for
_FILE = "real_images.json"


class Comparison(NamedTuple):
    """How far restored real images of one defect lie from clean images, in spreads of these.

    Attributes
    ----------
    images
        How many were compared.
    shipped
        Their mean distance, restored by the network that ships.
    change
        By how much they lie farther (above 0) or nearer, restored by the adapted one.
    """

    images: int
    shipped: float
    change: Interval

    @property
    def nearer(self) -> bool:
        """Whether the adapted network surely leaves them nearer."""
        return self.change.high < 0

    @property
    def farther(self) -> bool:
        """Whether the adapted network clearly leaves them farther away."""
        return self.change.low > MARGIN

    def describe(self) -> str:
        """Say in a clause how the adapted network compares with the one that ships."""
        what = f"{self.images} defective images, restored by the adapted network, lie"
        share = f"{abs(self.change.mean) / self.shipped:.0%}"
        if self.nearer or self.farther:
            where = f"{share} {'nearer to' if self.nearer else 'farther from'}"
            return f"{what} {where} the clean images than restored by the one that ships."
        return f"{what} about as far from the clean images as restored by the one that ships."


def compare(
    split: Split, settings: Settings, adapted: nn.Module, shipped: nn.Module
) -> dict[str, Comparison]:
    """Compare two restorers on the real defective images, by defect.

    Parameters
    ----------
    split
        Defective and clean images. A defect with fewer than `LEAST` of either is left out, and one
        of which pairs are held back: these know what is right, where statistics only suppose it.
    settings
        Of the run, for its seed.
    adapted, shipped
        The restorers, on one device.
    """
    comparisons = {}
    for number, name in enumerate(split.defects):
        rng = np.random.default_rng([settings.seed, 7, number])
        clean, defective = split.own_clean[name] or split.real_clean, split.defective[name]
        if split.validation_pairs[name] or min(len(clean), len(defective)) < LEAST:
            continue
        side = common_side([*clean, *defective])
        some, real = (some_crops(planes, side, rng) for planes in (clean, defective))
        distance = distance_from(some)
        before, after = (distance(restored(real, network)) for network in (shipped, adapted))
        change = mean_of(after - before)
        comparisons[name] = Comparison(len(real), float(before.mean()), change)
    return comparisons


def may_keep(comparisons: Mapping[str, Comparison]) -> bool:
    """Tell whether no real images are against an adapted network that validation lets through."""
    return not any(one.farther for one in comparisons.values())


def as_json(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, Any]]:
    """Return comparisons as JSON has them."""
    return {n: one._asdict() | {"change": one.change._asdict()} for n, one in comparisons.items()}


def write_comparisons(folder: Path, comparisons: Mapping[str, Comparison]) -> None:
    """Write comparisons into the folder of a restorer's training."""
    write_json(folder / _FILE, as_json(comparisons))


def read_comparisons(folder: Path) -> dict[str, Comparison]:
    """Return what `write_comparisons` wrote; nothing where it did not."""
    path = folder / _FILE
    saved: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return {
        name: Comparison(one["images"], one["shipped"], Interval(**one["change"]))
        for name, one in saved.items()
    }


def distance_from(clean: Sequence[np.ndarray]) -> Callable[[Iterable[np.ndarray]], np.ndarray]:
    """Return what measures how far planes of the size of the clean ones lie from these.

    The mean, over statistics, of the deviation from the median of the clean planes in their
    robust spreads.
    """
    known = _statistics(clean)
    middle = np.median(known, axis=0)
    spread = _FLOOR + 1.4826 * np.median(np.abs(known - middle), axis=0)

    def distance(planes: Iterable[np.ndarray]) -> np.ndarray:
        deviation = np.abs(_statistics(planes) - middle) / spread
        return np.asarray(np.minimum(deviation, _CAP).mean(axis=1))

    return distance


def _statistics(planes: Iterable[np.ndarray]) -> np.ndarray:
    features = (SPECTRA, ANISOTROPY, RHYTHM)
    return np.stack(
        [np.concatenate([f.measure(normalised(plane)) for f in features]) for plane in planes]
    )
