"""What the trainings of the GAN baselines share: crops, the intensity scale, the time budget.

Planes are (Y, X) arrays on about 0..1, not clipped; tensors are (1, 1, Y, X) float32 on about
-1..1, on the GPU where there is one. Their memory is laid out by channels: channels last, which
serves this package's own networks, made CycleGAN a sixth slower on a CPU and the others no faster.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from microscopygan.gan.networks import Network
from microscopygan.training.batches import crop
from microscopygan_bench.baselines.networks import initialise
from microscopygan_bench.peers.job import Trained

LARGEST = 256  # pixels; the papers' training crop
SMALLEST = 32  # pixels; below this PatchGAN has no patch left
HALVED_TWICE = 4  # sides of planes for a network that halves them twice are multiples of this
_BETAS = (0.5, 0.999)
_TAILS = (0.1, 99.9)  # percentiles of all training pixels
_MARGIN = 0.1  # of the range between them, on either side


@dataclass(frozen=True)
class SignedScale:
    """The intensities `low`..`high` as -1..1, which is what tanh can give; nothing is clipped."""

    low: float
    high: float

    def signed(self, plane: np.ndarray) -> np.ndarray:
        """Map intensities to the scale of the networks."""
        return (plane - self.low) * (2 / (self.high - self.low)) - 1

    def inverse(self, plane: np.ndarray) -> np.ndarray:
        """Map back."""
        return (plane + 1) * ((self.high - self.low) / 2) + self.low


def signed_scale(planes: Sequence[np.ndarray]) -> SignedScale:
    """Choose the scale so that tanh reaches almost all intensities of the training images.

    The papers map the range of 8-bit images to -1..1. Here that range is the one between the
    0.1th and 99.9th percentile of all images, a tenth wider on either side: a few bright spots
    would else squeeze everything into a small part of it. What lies outside goes in as it is, but
    a generator that ends in tanh cannot give it back. With ten training pairs, 0.002 % (noise),
    0.09 % (axial) and 0.35 % (low resolution) of the pixels of all other training targets lay
    outside; clipping these alone leaves every image above 31 dB.
    """
    pixels = np.concatenate([plane.ravel() for plane in planes])
    low, high = (float(value) for value in np.percentile(pixels, _TAILS))
    margin = _MARGIN * (high - low) or 1.0
    return SignedScale(low - margin, high + margin)


def check(inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray], *, paired: bool) -> int:
    """Return the side of the largest square, up to 256 pixels, that fits into every plane.

    Raises
    ------
    ValueError
        No planes, planes that are not 2-D or too small, or pairs that do not match.
    """
    planes = [*inputs, *targets]
    shapes = [plane.shape for plane in planes]
    if not len(inputs) or not len(targets) or any(len(shape) != 2 for shape in shapes):
        raise ValueError(
            f"expected inputs and targets (Y, X), got {len(inputs)} and {len(targets)} of shapes "
            f"{sorted(set(shapes))}; give single planes"
        )
    if paired and shapes[: len(inputs)] != shapes[len(inputs) :]:
        raise ValueError(
            f"expected pairs of equal shapes, got {len(inputs)} inputs and {len(targets)} targets; "
            "for unpaired images try cyclegan"
        )
    side = int(min(LARGEST, *(min(shape) for shape in shapes)))
    if side < SMALLEST:
        raise ValueError(f"expected sides of at least {SMALLEST} pixels, got {side}; crop less")
    return side


def device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's generators within a block and leave them as they were."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def ready(network: Network) -> Network:
    """Give a network its first weights and its place."""
    initialise(network)
    return network.to(device())


def adam(rate: float, *networks: nn.Module) -> torch.optim.Adam:
    """Return the papers' optimiser of all parameters of some networks."""
    weights = [weight for network in networks for weight in network.parameters()]
    return torch.optim.Adam(weights, lr=rate, betas=_BETAS)


def improve(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def to_tensor(plane: np.ndarray, scale: SignedScale) -> Tensor:
    """Make a plane a tensor of the networks, (1, 1, Y, X)."""
    values = np.ascontiguousarray(scale.signed(plane), dtype=np.float32)[None, None]
    return torch.from_numpy(values).to(device())


def crops(
    groups: Sequence[Sequence[np.ndarray]], side: int, scale: SignedScale, seed: int
) -> Iterator[list[Tensor]]:
    """Draw training crops for ever, from each group of planes in turn, each once per round.

    Planes of one group are cut at the same place and mirrored alike. Left and right are swapped at
    random, as in the papers, and nothing is turned. Their jitter, enlarging by 12 % before
    the cut, is left out: it would change the grain of the noise and the resolution, which are the
    defects to be learnt.
    """
    rng = np.random.default_rng(seed)
    while True:
        for index in rng.permutation(len(groups)):
            cut = crop(groups[index], side, rng)
            step = int(rng.choice((-1, 1)))
            yield [to_tensor(plane[:, ::step], scale) for plane in cut]


@dataclass
class Budget:
    """The time allowed for a training, from the moment the budget is made.

    The learning rate is constant for the first half of the time. As many steps follow while it
    falls linearly to zero: fewer if the time ends before, and where steps have become faster, the
    training ends early. The result is therefore a function of the seed and of two numbers of
    steps, and of nothing else that a clock says.

    Attributes
    ----------
    seconds
        Time allowed, above 0; may be infinite where `steps` is given.
    steps
        Number of steps after which the training ends though time be left; None for no limit.
    clock
        Gives the time in seconds.
    """

    seconds: float
    steps: int | None = None
    clock: Callable[[], float] = time.monotonic
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()
        endless = math.isinf(self.seconds) and self.steps is None
        if not self.seconds > 0 or endless or (self.steps is not None and self.steps < 1):
            raise ValueError(
                f"expected seconds above 0, or steps above 0, got {self.seconds} and {self.steps}; "
                "try seconds=300"
            )

    def spend(self, step: Callable[[], None], *optimizers: torch.optim.Optimizer) -> int:
        """Call `step` once at least and until the budget is spent; return the number of calls."""
        full = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
        constant = None if self.steps is None else math.ceil(self.steps / 2)
        done, last = 0, self.clock()
        while True:
            groups = (group for optimizer in optimizers for group in optimizer.param_groups)
            for group, rate in zip(groups, full, strict=True):
                group["lr"] = rate * rate_factor(done, constant)
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # else the clock sees only the queueing
            done, previous, last = done + 1, last, self.clock()
            spent = last - self.begun
            if constant is None and spent >= self.seconds / 2:
                constant = done
            if done == self.steps or (constant is not None and done >= 2 * constant):
                return done
            if spent + (last - previous) > self.seconds:
                return done


def rate_factor(step: int, constant: int | None) -> float:
    """Return the learning rate of a step, counted from 0, as a part of the full rate.

    `constant` is the number of steps at the full rate, as soon as it is fixed; the same number
    follows.

    >>> [rate_factor(step, 3) for step in range(6)]
    [1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if constant is None or step < constant:
        return 1.0
    return max(0.0, 1 - (step - constant + 1) / (constant + 1))


class Gan(Protocol):
    """A GAN as `train_gan` sees it.

    Attributes
    ----------
    generator
        Restores, (1, 1, Y, X) to the same.
    optimizers
        Of all its networks.
    side
        Of the crops it is trained on, in pixels.
    multiple
        What the sides of planes are multiples of.
    """

    optimizers: list[torch.optim.Adam]
    side: int
    multiple: int

    @property
    def generator(self) -> nn.Module:
        """The network to keep."""

    def step(self, image: Tensor, target: Tensor) -> None:
        """Update every network once; defective and clean crop, (1, 1, Y, X)."""


def train_gan(
    build: Callable[[int, int], Gan],
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    *,
    seconds: float,
    seed: int,
    width: int = 64,
    steps: int | None = None,
    paired: bool = True,
) -> Trained:
    """Train a GAN on pairs, or on images of both kinds that need not belong together.

    Parameters
    ----------
    build
        Makes the GAN from the side of the largest crop that fits into every plane, up to 256
        pixels, and `width`.
    inputs, targets
        Defective and clean planes (Y, X), at least 32 × 32, on about 0..1, not clipped: pairs of
        equal shapes, or where not `paired` any number of each.
    seconds
        Time for the whole training; one step at least is taken.
    seed
        Seed of the weights, the crops and all that the GAN draws.
    width
        Channels of the first layer, 64 in the papers.
    steps
        Stop after so many steps though time be left.
    paired
        Pairs are cut at the same place; else images of either kind are drawn on their own.

    Returns
    -------
    Trained, its results limited by tanh to `signed_scale` of the images where the GAN's are.

    Raises
    ------
    ValueError
        Planes too small, not 2-D or not pairs, or a budget of nothing.
    """
    largest = check(inputs, targets, paired=paired)
    budget, scale = Budget(seconds, steps), signed_scale([*inputs, *targets])
    with seeded(seed):
        gan = build(largest, width)
        drawn = draw_pairs if paired else draw_apart
        images = drawn(inputs, targets, gan.side, scale, seed)
        done = budget.spend(lambda: gan.step(*next(images)), *gan.optimizers)
    return finish(gan.generator, scale, gan.multiple, seed, done)


def draw_pairs(
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    side: int,
    scale: SignedScale,
    seed: int,
) -> Iterator[list[Tensor]]:
    """Draw crops of pairs for ever."""
    return crops(list(zip(inputs, targets, strict=True)), side, scale, seed)


def draw_apart(
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    side: int,
    scale: SignedScale,
    seed: int,
) -> Iterator[list[Tensor]]:
    """Draw for ever a crop of an input and one of a target that need not belong to it."""
    seeds = np.random.SeedSequence(seed).generate_state(2)
    alone = (
        crops([[plane] for plane in planes], side, scale, int(own))
        for planes, own in zip((inputs, targets), seeds, strict=True)
    )
    return ([*image, *target] for image, target in zip(*alone, strict=True))


def finish(
    generator: nn.Module, scale: SignedScale, multiple: int, seed: int, steps: int
) -> Trained:
    """Wrap a trained generator, whose sizes are multiples of `multiple`.

    A plane is mirrored at its lower and right edge up to such a size and goes through at once.
    The generator runs as it did in training, dropout included where it has any: so the papers of
    pix2pix and DeblurGAN say. The dropout is drawn from the same seed for every plane.
    """

    def restore(plane: np.ndarray) -> np.ndarray:
        height, width = plane.shape
        padded = np.pad(plane, ((0, -height % multiple), (0, -width % multiple)), "symmetric")
        with seeded(seed), torch.inference_mode():
            restored = generator(to_tensor(padded, scale))[0, 0].cpu().numpy()
        return scale.inverse(restored)[:height, :width].astype(np.float32)

    parameters = sum(weight.numel() for weight in generator.parameters())
    return Trained(lambda planes: np.stack([restore(p) for p in planes]), parameters, steps)
