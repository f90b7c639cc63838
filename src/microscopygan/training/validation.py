"""Images held back validate a restorer while it trains, and say which state is kept."""

from __future__ import annotations

import copy
import csv
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..gan.cgan import load_restorer, save_restorer
from ..gan.losses import fit_affine
from ..gan.networks import ResNetRestorer, UNetRestorer, fast_arithmetic
from ..image.atomic import whole
from ..settings import AdaptationSettings
from .batches import crop
from .time_budget import Clock

_PART = 16  # planes that go through the network at a time


class ValidationImages(NamedTuple):
    """Validation pairs of one defect: planes (N, Y, X), about 0..1, sides multiples of 4."""

    image: np.ndarray
    target: np.ndarray


def stack_pairs(drawn: Iterable[tuple[np.ndarray, np.ndarray]]) -> ValidationImages:
    """Stack pairs (defective, clean) of planes of one size, float32."""
    image, target = (np.stack(side).astype(np.float32) for side in zip(*drawn, strict=True))
    return ValidationImages(image, target)


def cut_fields(
    images: Sequence[Sequence[np.ndarray]],
    rng: np.random.Generator,
    settings: AdaptationSettings,
) -> list[list[np.ndarray]]:
    """Cut fields of one size, a multiple of 4, as many from each image.

    Parameters
    ----------
    images
        Lists of planes (Y, X) of one shape, which are cut alike; of more images than there are
        fields to cut, so many are taken at even steps.
    rng
        Of the places.
    settings
        Number of fields, at most, and their side, at most.
    """
    count = settings.fields
    shortest = min(min(planes[0].shape) for planes in images)
    side = min(settings.field, shortest // 4 * 4)
    if len(images) > count:
        images = [images[k] for k in np.linspace(0, len(images) - 1, count).astype(int)]
    each = count // len(images)
    return [crop(planes, side, rng) for planes in images for _ in range(each)]


class Validation:
    """How much closer to the target a restorer comes than its input, in dB, as it trains.

    Parameters
    ----------
    images
        By the name of their defect.
    folder
        Gets ``judged.csv``, a row for each validation, and ``kept.safetensors``.
    every
        Steps between two validations.
    patience
        Validations in a row, none of which is to be kept, that end the training; None: it goes on.
    start
        The network that the training started from.
    mixing_weight
        What is validated, and kept, lies so far from the start, where given, to the trained
        network: it generalises better where images are few (Wortsman et al. 2022,
        arXiv 2109.01903).
    tolerance
        dB below the best that the last state may be to be kept, see `kept_row`.

    Attributes
    ----------
    seconds
        That the last validation took.
    clock
        Of a limited time, in which validations are reserved; once it is over, the training ends.
    ended_step
        After how many steps it told the training to end; None where it did not.
    """

    def __init__(
        self,
        images: dict[str, ValidationImages],
        folder: Path,
        every: int = 1,
        patience: int | None = None,
        start: nn.Module | None = None,
        mixing_weight: float = 1.0,
        tolerance: float = 0.1,
    ) -> None:
        self.images, self.folder, self.every, self.patience = images, folder, every, patience
        self._start, self._weight = copy.deepcopy(start), mixing_weight
        self._tolerance = tolerance
        self.seconds = 0.0
        self.clock: Clock | None = None
        self.ended_step: int | None = None
        self._rows = read_validations(folder)

    def __call__(self, network: nn.Module, step: int) -> bool:
        """Validate `network`, keep it if it is good enough, and tell whether training ends."""
        begun = time.perf_counter()
        network = self._between(network)
        gains = self.gains(network)
        self.seconds = time.perf_counter() - begun
        self._rows = [row for row in self._rows if int(row["step"]) < step]
        self._rows.append({"step": str(step)} | {k: f"{v:.5f}" for k, v in gains.items()})
        if self.kept_step == step:
            assert isinstance(network, UNetRestorer | ResNetRestorer)
            self.folder.mkdir(parents=True, exist_ok=True)
            save_restorer(self.folder / "kept.safetensors", network)
        self._write()
        since = [row for row in self._rows if int(row["step"]) > (self.kept_step or 0)]
        late = self.clock is not None and self.clock.spend(self.seconds) < 0
        ended = late or (self.patience is not None and len(since) >= self.patience)
        self.ended_step = step if ended else None
        return ended

    @torch.no_grad()
    def _between(self, network: nn.Module) -> nn.Module:
        """Return what lies between the start of the training and `network`, on the same device."""
        if self._start is None:
            return network
        mixed, start = copy.deepcopy(network).eval(), self._start.state_dict()
        for name, weights in mixed.state_dict().items():
            weights.lerp_(start[name].to(weights.device), 1 - self._weight)
        return mixed

    @property
    def kept_step(self) -> int | None:
        """After how many steps the network was what is kept; see `kept_row`."""
        return int(kept_row(self._rows, self._tolerance)["step"]) if self._rows else None

    def gains(self, network: nn.Module) -> dict[str, float]:
        """Return the mean gain over the input, by defect, in dB (affine-fit PSNR)."""
        device = next(network.parameters()).device
        gains = {}
        for name, images in self.images.items():
            image, target = (torch.from_numpy(a)[:, None].to(device) for a in images)
            with torch.no_grad(), fast_arithmetic(device):
                parts = torch.split(image, _PART)
                restored = torch.cat([network(part) for part in parts])
            gain = affine_error(image, target).log10() - affine_error(restored, target).log10()
            gains[name] = float(10 * gain.mean())
        return gains

    def with_kept(self, network: nn.Module) -> nn.Module:
        """Return `network` with the weights that are kept."""
        network.load_state_dict(load_restorer(self.folder / "kept.safetensors").state_dict())
        return network

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "judged.csv"
        with whole(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", *self.images])
            writer.writeheader()
            writer.writerows(self._rows)


def read_validations(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a training's ``judged.csv``, the first one first; none if it has none."""
    path = folder / "judged.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def kept_row(rows: list[dict[str, str]], tolerance: float) -> dict[str, str]:
    """Return the validation of what is kept: the last one close to the best.

    Validation images are few. What they like best is often an early state by chance, while the
    later ones, trained at lower rates, are better. So the last state within `tolerance` dB of the
    best is kept, but none that does worse than the first.
    """
    gains = [mean_gain(row) for row in rows]
    least = max(max(gains) - tolerance, gains[0])
    return [row for row, gain in zip(rows, gains, strict=True) if gain >= least][-1]


def mean_gain(row: dict[str, str]) -> float:
    """Return the mean gain over the defects of a row of ``judged.csv``, in dB."""
    return float(np.mean([float(value) for name, value in row.items() if name != "step"]))


def affine_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each image after the gain and offset that fit it best.

    Both (B, 1, Y, X); returns (B,), not below 1e-8.
    """
    x, y = image.flatten(1), target.flatten(1)
    gain, x_mean, y_mean = fit_affine(x, y)
    return (gain * (x - x_mean) - (y - y_mean)).pow(2).mean(1).clamp(min=1e-8)
