"""The gate of an adaptation: the network that ships is kept unless another is better than chance.

The gain of each validation image is taken over that of the network that ships on the same image.
What counts is the spread from image to image, not from field to field: some fields of one image
say the same. Few images say little of their spread, so that it counts as `SPREAD` beside `PRIOR`
images more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

SPREAD = 0.5  # dB, from image to image, of the gain over the network that ships
PRIOR = 2  # images that this spread counts as
CONFIDENCE = 0.9  # that a mean lies above the lower end of its interval; the same for the upper
LOSS = 0.05  # dB that the mean of one defect of several may lose

Gains = Mapping[str, np.ndarray]  # over the input, by defect: one for each image, in dB


class Validated(NamedTuple):
    """What validation said of a network after `step` steps of its training."""

    step: int
    gains: Gains

    @property
    def mean(self) -> float:
        """Mean gain over the input over the defects, in dB."""
        return float(np.mean([gains.mean() for gains in self.gains.values()]))


class Interval(NamedTuple):
    """A mean, and the ends of its interval: it lies above the lower one with 90 % certainty."""

    mean: float
    low: float
    high: float


def gain_over(row: Validated, first: Validated) -> Interval:
    """Return the mean gain over the network `first` over the images, and then the defects.

    Examples
    --------
    >>> first = Validated(0, {"noise": np.array([1.0, 2.0, 3.0])})
    >>> better = Validated(9, {"noise": np.array([1.5, 2.4, 3.6])})
    >>> [round(float(value), 2) for value in gain_over(better, first)]
    [0.5, 0.18, 0.82]
    """
    over = [row.gains[name] - gains for name, gains in first.gains.items()]
    mean = float(np.mean([gains.mean() for gains in over]))
    variance = sum(_variance(gains) / len(gains) for gains in over) / len(over) ** 2
    freedom = sum(len(gains) - 1 + PRIOR for gains in over)
    half = float(stdtrit(freedom, CONFIDENCE)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def mean_of(values: np.ndarray) -> Interval:
    """Return the mean of some values, two at least, and the interval that it lies in.

    Examples
    --------
    >>> [round(float(value), 2) for value in mean_of(np.array([1.0, 2.0, 3.0, 4.0]))]
    [2.5, 1.44, 3.56]
    """
    mean, freedom = float(values.mean()), len(values) - 1
    half = float(stdtrit(freedom, CONFIDENCE) * values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def _variance(gains: np.ndarray) -> float:
    """Return the variance from image to image, with the images that `SPREAD` counts as."""
    squares = float(((gains - gains.mean()) ** 2).sum())
    return (squares + PRIOR * SPREAD**2) / (len(gains) - 1 + PRIOR)


def is_better(row: Validated, first: Validated) -> bool:
    """Tell whether a network is better than `first`: on the mean surely, and for no defect worse.

    Parameters
    ----------
    row, first
        Of the same images.
    """
    worst = min((row.gains[name] - gains).mean() for name, gains in first.gains.items())
    return gain_over(row, first).low > 0 and float(worst) >= -LOSS


def kept_row(rows: Sequence[Validated], tolerance: float) -> Validated:
    """Return the validation of what is kept: the last one close to the best of those better.

    Validation images are few. What they like best is often an early state by chance, while the
    later ones, trained at lower rates, are better. So the last state within `tolerance` dB of the
    best is kept, but none that is not surely better than the first, which ships.
    """
    better = [row for row in rows[1:] if is_better(row, rows[0])]
    return _last(better, tolerance) if better else rows[0]


def last_close(rows: Sequence[Validated], tolerance: float) -> Validated:
    """Return the last validation within `tolerance` dB of the best, and not below the first."""
    return _last([row for row in rows if row.mean >= rows[0].mean], tolerance)


def _last(rows: Sequence[Validated], tolerance: float) -> Validated:
    least = max(row.mean for row in rows) - tolerance
    return [row for row in rows if row.mean >= least][-1]
