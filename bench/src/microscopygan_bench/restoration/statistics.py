"""Means over test images, draw by draw, and paired differences over test images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Values = Mapping[int, Mapping[str, float]]  # draw to test image to score

_RESAMPLES = 10_000
_LEVEL = 0.95


class Difference(NamedTuple):
    """Mean difference and its interval."""

    mean: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Write it as ``+0.51 [+0.42, +0.60]``."""
        return f"{self.mean:+.{digits}f} [{self.low:+.{digits}f}, {self.high:+.{digits}f}]"


def per_draw(values: Values, *, typical: bool = False) -> list[float]:
    """Return the mean over test images of each draw, or where `typical` the median.

    A median copes with a resolution that is infinite for some images.
    """
    centre = np.median if typical else np.mean
    return [float(centre(list(images.values()))) for _, images in sorted(values.items())]


def paired_difference(
    ours: Values, theirs: Values, sources: Mapping[str, str], seed: int = 0
) -> Difference:
    """Return the mean difference over test images with its 95 % bootstrap interval.

    Each image's score is its mean over draws. Images are drawn with replacement, those of one
    source together: planes of one stack are no independent observations.

    Parameters
    ----------
    ours, theirs
        Scores of the same test images; the numbers of draws may differ.
    sources
        Image to where it comes from.
    seed
        Of the resampling: the same scores give the same interval.

    Raises
    ------
    ValueError
        Other images, or none.
    """
    a, b = _by_image(ours), _by_image(theirs)
    if not a or a.keys() != b.keys():
        raise ValueError(f"expected scores of the same images, got {len(a)} and {len(b)} of them")
    groups: dict[str, list[float]] = {}
    for image in a:
        groups.setdefault(sources[image], []).append(a[image] - b[image])
    sums = np.array([sum(group) for group in groups.values()])
    counts = np.array([len(group) for group in groups.values()])
    drawn = np.random.default_rng(seed).integers(len(sums), size=(_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Difference(float(sums.sum() / counts.sum()), float(low), float(high))


def _by_image(values: Values) -> dict[str, float]:
    by_image: dict[str, list[float]] = {}
    for _, images in sorted(values.items()):
        for image, score in images.items():
            by_image.setdefault(image, []).append(score)
    return {image: float(np.mean(scores)) for image, scores in by_image.items()}


def share_of_gain(mean: float, untouched: float, best: float) -> float:
    """Return which part of the best possible gain over the input a method reaches.

    Examples
    --------
    >>> share_of_gain(28.0, 18.0, 30.5)
    0.8
    """
    return (mean - untouched) / (best - untouched) if best != untouched else math.nan
