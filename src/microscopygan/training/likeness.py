"""How much synthetic images resemble real defective ones, whatever specimen either shows.

What the network that ships takes away from an image shows its defect and little of its specimen; of
that, spectra along each axis and over all directions are compared, and the variance. From images
of another defect a restorer learns, and is validated on, something else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..defects import Defect
from ..defects.statistics import BANDS, log_spectra, normalised, pooled_log_spectrum
from .batches import crop
from .validation import restored_by

RESEMBLES = 0.33  # of the way from real images among themselves to clean ones, at most
SIDE = 128  # of the crops, in pixels, at most
MOST, LEAST = 32, 4  # crops of images
_NEAREST = 2  # images that each is looked at beside
_APART = 0.5  # log units that clean images lie farther than real ones among themselves, at least
_LEVEL = 15  # statistics that the variance of what is taken away counts as
_FAINT = math.log(1e-5)  # log power below which differences count less: 0.3 % of the range

Planes = Sequence[np.ndarray]


class Likeness:
    """Real defective images, to which those made of clean fields are likened.

    Parameters
    ----------
    defective
        Real planes (Y, X) on about 0..1, one at least.
    fields
        Clean planes (Y, X), two at least, of one size.
    shipped
        The network that ships.
    rng
        Of the crops.
    """

    def __init__(
        self, defective: Planes, fields: Planes, shipped: nn.Module, rng: np.random.Generator
    ) -> None:
        self._side = common_side([*defective, *fields])
        self._shipped, self.fields = shipped, self._same_size(fields)
        self._real = _taken_away(some_crops(defective, self._side, rng), shipped)
        self._clean = _taken_away(self.fields, shipped)

    def _same_size(self, planes: Planes) -> list[np.ndarray]:
        return [normalised(plane[: self._side, : self._side]) for plane in planes]

    def put(self, defects: Sequence[Defect], rng: np.random.Generator) -> list[np.ndarray]:
        """Put each defect into a field, another one each time while there are some."""
        fields = (self.fields[k % len(self.fields)] for k in range(len(defects)))
        return [one.apply(field, rng) for one, field in zip(defects, fields, strict=True)]

    def distances(self, made: Planes) -> np.ndarray:
        """Return how far each synthetic image lies from the real ones nearest to it."""
        rows = _taken_away(self._same_size(made), self._shipped)
        return np.array([_nearest(row, self._real) for row in rows])

    def unlikeness(self, made: Planes) -> float:
        """Tell how far synthetic images lie from the real ones.

        Each real image is looked at beside those nearest to it, so that synthetic images of wide
        parameters resemble it where some of them do.

        Parameters
        ----------
        made
            Synthetic planes (Y, X), two at least, of the size of the fields.

        Returns
        -------
        float
            About 0 as far as real images from each other, 1 as far as clean ones; above
            `RESEMBLES` they show another defect.
        """
        rows, real = _taken_away(self._same_size(made), self._shipped), self._real
        among = _mean([_nearest(own, np.delete(real, k, 0)) for k, own in enumerate(real)])
        theirs, least = (
            _mean([_nearest(own, some) for own in real]) for some in (rows, self._clean)
        )
        return (theirs - among) / max(least - among, _APART)


def _taken_away(planes: Planes, network: nn.Module) -> np.ndarray:
    """Measure what a network takes away: a row of statistics, in log units, for each plane."""
    rows = []
    for plane, clean in zip(planes, restored(planes, network), strict=True):
        rest = np.asarray(plane - clean, np.float32)
        rest -= rest.mean()
        power, pooled, level = (
            np.logaddexp(values, _FAINT)
            for values in (log_spectra(rest), pooled_log_spectrum(rest), np.log(rest.var() + 1e-9))
        )
        along = power[BANDS:-BANDS].reshape(2, BANDS)
        rows.append(
            np.concatenate([power[:-BANDS], along[0] - along[1], pooled, np.full(_LEVEL, level)])
        )
    return np.stack(rows)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _nearest(own: np.ndarray, rows: np.ndarray) -> float:
    return float(np.sort(np.abs(rows - own).mean(axis=1))[:_NEAREST].mean())


def common_side(planes: Planes) -> int:
    """Return the side of crops that all planes have, and that the network takes."""
    shortest = int(min(min(plane.shape) for plane in planes))
    return min(SIDE, shortest // 4 * 4)


def some_crops(planes: Planes, side: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut a crop from each of some planes, or several where they are fewer than `LEAST`."""
    count = max(LEAST, min(MOST, len(planes)))
    chosen = np.resize(rng.permutation(len(planes)), count).tolist()
    return [crop([planes[k]], side, rng)[0] for k in chosen]


def restored(planes: Planes, network: nn.Module) -> np.ndarray:
    """Return planes (N, Y, X) of one size, sides multiples of 4, restored."""
    device = next(network.parameters()).device
    images = torch.from_numpy(np.stack(planes).astype(np.float32))[:, None]
    return np.asarray(restored_by(network, images.to(device))[:, 0].float().cpu())
