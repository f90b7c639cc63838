"""Noise learned from noisy images alone.

New noise z of the measured variance makes of a noisy image y the pair (y + z/2, y − 2z), whose
noises are uncorrelated, so that the second can stand for the clean image
(recorrupted-to-recorrupted, Pang et al. 2021, arXiv 2102.02317).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..image.intensity import percentile_map
from ..image.tiles import pad_plane
from .judging import Held, cut_fields, held
from .loop import Batch, step_seed
from .patches import TOLD, crop, flip, hint_for

_BINS = 24  # of intensity, in which the variance of noise is measured
_CORRELATED = 0.15  # correlation of neighbouring pixels' noise from which they are not independent


@dataclass(frozen=True)
class Noisy:
    """A noisy plane (Y, X), float32 on about 0..1, and the variance of its noise, (Y, X)."""

    plane: np.ndarray
    variance: np.ndarray


def measure_noise(planes: list[np.ndarray], network: nn.Module) -> list[Noisy]:
    """Measure the noise of images by what a restorer takes away.

    Raises
    ------
    ValueError
        The noise of neighbouring pixels is correlated, which self-supervision would keep.
    """
    restored = [_restored(plane, network) for plane in planes]
    taken = [plane - clean for plane, clean in zip(planes, restored, strict=True)]
    together = float(np.mean([_correlation(rest) for rest in taken]))
    if together > _CORRELATED:
        raise ValueError(
            "noise: expected noise that differs from pixel to pixel, but that of neighbours "
            f"correlates by {together:.2f}; add clean images or pairs to learn from"
        )
    signal = np.concatenate([clean.ravel() for clean in restored])
    square = np.concatenate([rest.ravel() ** 2 for rest in taken])
    slope, floor = _variance_line(signal, square)
    least = 0.1 * float(np.median(square))
    return [
        Noisy(plane, np.maximum(slope * clean + floor, least).astype(np.float32))
        for plane, clean in zip(planes, restored, strict=True)
    ]


@torch.no_grad()
def _restored(plane: np.ndarray, network: nn.Module) -> np.ndarray:
    padded = pad_plane(plane.astype(np.float32), 4)
    found: torch.Tensor = network(torch.from_numpy(padded)[None, None])
    return found[0, 0, : plane.shape[0], : plane.shape[1]].numpy()


def _correlation(rest: np.ndarray) -> float:
    """Return the mean correlation of neighbours along both axes."""
    rest = rest - rest.mean()
    along = ((rest[1:] * rest[:-1]).mean() + (rest[:, 1:] * rest[:, :-1]).mean()) / 2
    return float(along / max(float((rest**2).mean()), 1e-12))


def _variance_line(signal: np.ndarray, square: np.ndarray) -> tuple[float, float]:
    """Fit variance = slope × signal + floor over bins of equally many pixels; slope >= 0."""
    order = np.argsort(signal)
    x, y = (
        np.array([part.mean() for part in np.array_split(values[order], _BINS)])
        for values in (signal, square)
    )
    slope, floor = (float(v) for v in np.polyfit(x, y, 1, w=1 / np.maximum(y, 1e-6)))
    return (slope, floor) if slope > 0 else (0.0, float(y.mean()))


def recorrupted(noisy: Noisy, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pair (y + z/2, y − 2z) of a noisy image, on the first one's intensity scale."""
    z = np.sqrt(noisy.variance) * rng.standard_normal(noisy.plane.shape, dtype=np.float32)
    image, target = noisy.plane + 0.5 * z, noisy.plane - 2.0 * z
    scale = percentile_map(image)
    return scale.apply(image), scale.apply(target)


class RecorruptedBatches:
    """Batches of stage two from noisy images alone, with the keys of `PairBatches`."""

    def __init__(
        self, noisy: list[Noisy], batch: int, patch: int, seed: int, hints: tuple[str, ...]
    ) -> None:
        self.noisy, self.batch, self.patch, self.seed = noisy, batch, patch, seed
        self.told = np.array(hint_for("noise", hints), np.float32)

    def __call__(self, step: int, process: int) -> Batch:
        """Return the batch of one step of one process."""
        rng = np.random.default_rng(step_seed(self.seed, step, process))
        drawn = []
        for _ in range(self.batch):
            one = self.noisy[rng.integers(len(self.noisy))]
            planes = crop([one.plane, one.variance], self.patch, rng)
            drawn.append(recorrupted(Noisy(*flip(planes, "noise", rng)), rng))
        images, targets = (np.stack(side)[:, None] for side in zip(*drawn, strict=True))
        told = rng.random((self.batch, 1)) < TOLD
        return {
            "input": images.astype(np.float32),
            "target": targets.astype(np.float32),
            "defect": np.zeros(self.batch, np.int64),
            "unfinished": np.zeros(self.batch, np.int64),
            "hint": (self.told * told).astype(np.float32),
        }


def noisy_judges(spare: list[Noisy], seed: int) -> dict[str, Held]:
    """Return the images that judge a restorer of noise, made of noisy ones."""
    rng = np.random.default_rng([seed, 6])
    fields = cut_fields([[one.plane, one.variance] for one in spare], rng)
    return {"noise": held(recorrupted(Noisy(*field), rng) for field in fields)}
