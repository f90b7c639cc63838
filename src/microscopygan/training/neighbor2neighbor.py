"""Noise learned from noisy images alone.

Of each 2 × 2 pixels of a noisy image two are drawn, one for the input and one for the target. Both
show the same specimen with noise of their own, whatever its distribution, so that the target can
stand for the clean image (Neighbor2Neighbor, Huang et al. 2021, arXiv 2101.02824). They show it at
half the resolution: a long training unlearns fine detail, and a short one goes half of its way.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..image.intensity import percentile_map
from ..settings import Settings
from .batches import crop, flip, hint_for
from .loop import Batch, step_seed
from .validation import ValidationImages, cut_fields, stack_pairs


def check_noise(planes: list[np.ndarray], network: nn.Module, settings: Settings) -> None:
    """Check that noise, which is what a restorer takes away, differs from pixel to pixel.

    As many fields of the planes are looked at as validate an adaptation.

    Raises
    ------
    ValueError
        The noise of neighbouring pixels is correlated, which self-supervision would keep.
    """
    rng = np.random.default_rng(0)
    fields, _ = cut_fields([[plane] for plane in planes], rng, settings.adaptation)
    taken = [field - _restored(field, network) for (field,) in fields]
    together = float(np.mean([_correlation(rest) for rest in taken]))
    if together > settings.self_supervision.correlation:
        raise ValueError(
            "noise: expected noise that differs from pixel to pixel, but that of neighbours "
            f"correlates by {together:.2f}; add clean images or pairs to learn from"
        )


@torch.no_grad()
def _restored(plane: np.ndarray, network: nn.Module) -> np.ndarray:
    restored: torch.Tensor = network(torch.from_numpy(plane.astype(np.float32))[None, None])
    return restored[0, 0].numpy()


def _correlation(rest: np.ndarray) -> float:
    """Return the mean correlation of neighbours along both axes."""
    rest = rest - rest.mean()
    along = ((rest[1:] * rest[:-1]).mean() + (rest[:, 1:] * rest[:, :-1]).mean()) / 2
    return float(along / max(float((rest**2).mean()), 1e-12))


def neighbours(plane: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw two planes of half the size from one: of each 2 × 2 pixels two different ones.

    Both are on the intensity scale of the first.
    """
    height, width = (side // 2 for side in plane.shape)
    blocks = plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    cells = blocks.transpose(0, 2, 1, 3).reshape(height, width, 4)
    one = rng.integers(4, size=(height, width, 1))
    other = (one + rng.integers(1, 4, size=one.shape)) % 4
    image, target = (np.take_along_axis(cells, which, 2)[..., 0] for which in (one, other))
    scale = percentile_map(image)
    return scale.apply(image), scale.apply(target)


class NeighbourBatches:
    """Batches of stage two from noisy images alone, with the keys of `PairBatches`."""

    def __init__(self, planes: list[np.ndarray], settings: Settings) -> None:
        self.planes, self.settings = planes, settings
        hints = settings.restorer.architecture.hints
        self.hint = np.array(hint_for("noise", hints), np.float32)

    def __call__(self, step: int, process: int) -> Batch:
        """Return the batch of one step of one process."""
        rng = np.random.default_rng(step_seed(self.settings.seed, step, process))
        stage = self.settings.restorer
        drawn = []
        for _ in range(stage.batch):
            plane = self.planes[rng.integers(len(self.planes))]
            (cut,) = flip(crop([plane], 2 * stage.patch, rng), "noise", rng)
            drawn.append(neighbours(cut, rng))
        images, targets = (np.stack(side)[:, None] for side in zip(*drawn, strict=True))
        hinted = rng.random((stage.batch, 1)) < self.settings.sampling.hint_share
        return {
            "input": images.astype(np.float32),
            "target": targets.astype(np.float32),
            "defect": np.zeros(stage.batch, np.int64),
            "corrected": np.zeros(stage.batch, np.int64),
            "hint": (self.hint * hinted).astype(np.float32),
        }


def noisy_images(planes: list[np.ndarray], settings: Settings) -> ValidationImages:
    """Return the images that validate a restorer of noise, made of noisy ones."""
    rng = np.random.default_rng([settings.seed, 6])
    fields, source = cut_fields([[plane] for plane in planes], rng, settings.adaptation)
    drawn = [neighbours(field, rng) for (field,) in fields]
    height, width = (side // 4 * 4 for side in drawn[0][0].shape)  # what the network takes
    if len(planes) == 1:  # what is restored is this image: its fields count as images
        source = [*range(len(drawn))]
    return stack_pairs([(a[:height, :width], b[:height, :width]) for a, b in drawn], source)
