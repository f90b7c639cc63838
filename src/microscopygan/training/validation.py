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
from .gate import Validated, kept_row, last_close
from .time_budget import Clock

_PART = 16  # planes that go through the network at a time
_IMAGES, _MEANS = "judged_images.csv", "judged.csv"


class ValidationImages(NamedTuple):
    """Validation pairs of one defect.

    Attributes
    ----------
    image, target
        Fields (N, Y, X), about 0..1, sides multiples of 4.
    source
        (N,) number of the image that each field is of, from 0 on.
    pairs
        How many of these images are real pairs, the first ones; the others are synthetic.
    """

    image: np.ndarray
    target: np.ndarray
    source: np.ndarray
    pairs: int = 0


def stack_pairs(
    drawn: Iterable[tuple[np.ndarray, np.ndarray]],
    source: Sequence[object] | None = None,
    real: bool = False,
) -> ValidationImages:
    """Stack pairs (defective, clean) of planes of one size, float32.

    `source` names the image that each is of; without, each is one of its own.
    """
    image, target = (np.stack(side).astype(np.float32) for side in zip(*drawn, strict=True))
    names = range(len(image)) if source is None else source
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    number = np.array([numbers[name] for name in names])
    return ValidationImages(image, target, number, len(numbers) if real else 0)


def joined(some: ValidationImages, more: ValidationImages) -> ValidationImages:
    """Return the images of both, of which only the first may have real pairs.

    Fields are cut to one size.
    """
    height, width = np.minimum(some.image.shape[1:], more.image.shape[1:])
    image, target = (
        np.concatenate([a[:, :height, :width], b[:, :height, :width]])
        for a, b in zip(some[:2], more[:2], strict=True)
    )
    source = np.concatenate([some.source, some.source.max() + 1 + more.source])
    return ValidationImages(image, target, source, some.pairs)


def cut_fields(
    images: Sequence[Sequence[np.ndarray]],
    rng: np.random.Generator,
    settings: AdaptationSettings,
) -> tuple[list[list[np.ndarray]], list[int]]:
    """Cut fields of one size, a multiple of 4, as many from each image; also, from which each is.

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
    taken = min(len(images), count)
    chosen = np.linspace(0, len(images) - 1, taken).astype(int).tolist()
    source = [k for k in chosen for _ in range(count // taken)]
    return [crop(images[k], side, rng) for k in source], source


class Validation:
    """How much closer to the target a restorer comes than its input, in dB, as it trains.

    Parameters
    ----------
    images
        By the name of their defect.
    folder
        Gets ``judged.csv``, a row of means for each validation, ``judged_images.csv``, with the
        gain of each image, and ``kept.safetensors``.
    every
        Steps between two validations.
    patience
        Validations in a row, none of which is close to the best, that end the training; None: it
        goes on.
    start
        The network that the training started from. Where given, another is kept only if the gate
        lets it through, see `kept_row`; else the last one close to the best.
    mixing_weight
        What is validated, and kept, lies so far from the start, where given, to the trained
        network: it generalises better where images are few (Wortsman et al. 2022,
        arXiv 2109.01903).
    tolerance
        dB below the best that the last state may be to be kept.
    clean_psnr
        PSNR in dB above which an image counts as clean: what lies beyond is no gain, nor a loss.

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
        clean_psnr: float = 80.0,
    ) -> None:
        self.images, self.folder, self.every, self.patience = images, folder, every, patience
        self._start, self._weight = copy.deepcopy(start), mixing_weight
        self._tolerance, self._floor = tolerance, 10 ** (-clean_psnr / 10)
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
        self._rows = [row for row in self._rows if row.step < step]
        self._rows.append(Validated(step, gains))
        if self.kept_step == step:
            assert isinstance(network, UNetRestorer | ResNetRestorer)
            self.folder.mkdir(parents=True, exist_ok=True)
            save_restorer(self.folder / "kept.safetensors", network)
        self._write()
        close = last_close(self._rows, self._tolerance).step
        since = sum(row.step > close for row in self._rows)
        late = self.clock is not None and self.clock.spend(self.seconds) < 0
        ended = late or (self.patience is not None and since >= self.patience)
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
        """After how many steps the network was what is kept; None before any was validated."""
        if not self._rows:
            return None
        choose = last_close if self._start is None else kept_row
        return choose(self._rows, self._tolerance).step

    def gains(self, network: nn.Module) -> dict[str, np.ndarray]:
        """Return the gain over the input of each image, by defect, in dB (affine-fit PSNR).

        That of an image is the mean over its fields.
        """
        device = next(network.parameters()).device
        gains = {}
        for name, images in self.images.items():
            image, target = (torch.from_numpy(a)[:, None].to(device) for a in images[:2])
            before, after = (
                affine_error(x, target).clamp(min=self._floor).log10()
                for x in (image, restored_by(network, image))
            )
            fields = (10 * (before - after)).cpu().numpy()
            sums, counts = (np.bincount(images.source, w) for w in (fields, None))
            gains[name] = sums / counts
        return gains

    def with_kept(self, network: nn.Module) -> nn.Module:
        """Return `network` with the weights that are kept."""
        network.load_state_dict(load_restorer(self.folder / "kept.safetensors").state_dict())
        return network

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        means = [{name: gain.mean() for name, gain in row.gains.items()} for row in self._rows]
        images = [
            {
                f"{name}/{k}": value
                for name, gain in row.gains.items()
                for k, value in enumerate(gain)
            }
            for row in self._rows
        ]
        for name, table in (("judged_images.csv", images), ("judged.csv", means)):
            with whole(self.folder / name) as part, part.open("w", newline="") as file:
                writer = csv.DictWriter(file, ["step", *table[0]])
                writer.writeheader()
                for row, values in zip(self._rows, table, strict=True):
                    writer.writerow({"step": row.step} | {k: f"{v:.5f}" for k, v in values.items()})


@torch.no_grad()
def restored_by(network: nn.Module, image: Tensor) -> Tensor:
    """Return images (N, 1, Y, X), sides multiples of 4, restored, some at a time."""
    with fast_arithmetic(image.device):
        return torch.cat([network(part) for part in torch.split(image, _PART)])


def read_validations(folder: Path) -> list[Validated]:
    """Return the validations of a training, the first one first; none if it has none.

    Earlier runs have the mean gain of each defect alone, which counts as that of one image.
    """
    tables = (folder / name for name in (_IMAGES, _MEANS))
    path = next((path for path in tables if path.exists()), None)
    if path is None:
        return []
    with path.open(newline="") as file:
        return [_read(row) for row in csv.DictReader(file)]


def _read(row: dict[str, str]) -> Validated:
    gains: dict[str, list[float]] = {}
    for place, value in row.items():
        if place != "step":
            name, _, number = place.rpartition("/")
            gains.setdefault(name or number, []).append(float(value))
    return Validated(int(row["step"]), {name: np.array(some) for name, some in gains.items()})


def affine_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each image after the gain and offset that fit it best.

    Both (B, 1, Y, X); returns (B,), not below 1e-8.
    """
    x, y = image.flatten(1), target.flatten(1)
    gain, x_mean, y_mean = fit_affine(x, y)
    return (gain * (x - x_mean) - (y - y_mean)).pow(2).mean(1).clamp(min=1e-8)
