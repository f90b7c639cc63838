"""CycleGAN: Zhu et al. 2017, *Unpaired Image-to-Image Translation using Cycle-Consistent GANs*.

arXiv 1703.10593, sections 3, 4 and 7. Two ResNets, from defective to clean and back, of six
blocks for crops below 256 pixels and of nine from there on; two 70×70 PatchGANs with least
squares, their objective halved, which also see images made before (a pool of 50); 10 times the
L1 distance after a cycle; Adam at 2e-4; one image of each kind a step.

The identity loss, half as heavy as the cycle's, is the one that the paper adds where colours must
be kept (paintings to photographs): a restored image must keep its intensities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microscopygan_bench.baselines import training
from microscopygan_bench.baselines.networks import PatchDiscriminator, ResNetGenerator
from microscopygan_bench.peers.job import Trained

_RATE = 2e-4
_CYCLE = 10.0
_IDENTITY = 0.5 * _CYCLE
_POOL = 50
_MULTIPLE = 4  # two halvings


class ImagePool:
    """The last images that a generator made, some of which are shown again (Shrivastava 2017)."""

    def __init__(self, size: int = _POOL) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def swap(self, image: Tensor) -> Tensor:
        """Store an image and return it, or, every other time, an older one that it replaces.

        Until the pool is full, every image is stored and returned.
        """
        image = image.detach()
        if len(self.images) < self.size:
            self.images.append(image)
            return image
        if torch.rand(()) < 0.5:
            return image
        place = int(torch.randint(self.size, ()))
        older, self.images[place] = self.images[place], image
        return older


def halved_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Half the least-squares loss of a discriminator for its scores, a scalar."""
    return 0.5 * ((real - 1).pow(2).mean() + fake.pow(2).mean())


class CycleGAN:
    """The four networks and one step of their training."""

    def __init__(self, blocks: int, width: int) -> None:
        self.cleaner = training.ready(ResNetGenerator(blocks, width))
        self.spoiler = training.ready(ResNetGenerator(blocks, width))
        self.clean_critic = training.ready(PatchDiscriminator(1, width))
        self.spoilt_critic = training.ready(PatchDiscriminator(1, width))
        self.clean_pool, self.spoilt_pool = ImagePool(), ImagePool()
        self.optimizers = [
            training.adam(_RATE, self.cleaner, self.spoiler),
            training.adam(_RATE, self.clean_critic, self.spoilt_critic),
        ]

    def step(self, spoilt: Tensor, clean: Tensor) -> None:
        """Update both generators, then both discriminators; unpaired images (1, 1, Y, X)."""
        critics = (self.clean_critic, self.spoilt_critic)
        for critic in critics:
            critic.requires_grad_(False)
        cleaned, made_spoilt = self.cleaner(spoilt), self.spoiler(clean)
        loss = self.generator_loss(spoilt, clean, cleaned, made_spoilt)
        training.improve(self.optimizers[0], loss)
        for critic in critics:
            critic.requires_grad_(True)
        seen = (self.clean_pool.swap(cleaned), self.spoilt_pool.swap(made_spoilt))
        losses = [
            halved_critic_loss(critic(real), critic(fake))
            for critic, real, fake in zip(critics, (clean, spoilt), seen, strict=True)
        ]
        training.improve(self.optimizers[1], losses[0] + losses[1])

    def generator_loss(
        self, spoilt: Tensor, clean: Tensor, cleaned: Tensor, made_spoilt: Tensor
    ) -> Tensor:
        """Adversarial, cycle and identity loss of both generators, a scalar."""
        adversarial = (self.clean_critic(cleaned) - 1).pow(2).mean()
        adversarial = adversarial + (self.spoilt_critic(made_spoilt) - 1).pow(2).mean()
        cycle = F.l1_loss(self.spoiler(cleaned), spoilt)
        cycle = cycle + F.l1_loss(self.cleaner(made_spoilt), clean)
        identity = F.l1_loss(self.cleaner(clean), clean)
        identity = identity + F.l1_loss(self.spoiler(spoilt), spoilt)
        loss: Tensor = adversarial + _CYCLE * cycle + _IDENTITY * identity
        return loss


def train(
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    *,
    seconds: float,
    seed: int,
    width: int = 64,
    steps: int | None = None,
) -> Trained:
    """Train on defective and on clean planes that need not belong together.

    Parameters
    ----------
    inputs, targets
        Defective and clean planes (Y, X), at least 32 × 32, on about 0..1, not clipped; any number
        of each. Pairs among them are not made use of.
    seconds
        Time for the whole training; one step at least is taken.
    seed
        Seed of the weights, the crops and the pools.
    width
        Channels of the first layer, 64 in the paper.
    steps
        Stop after so many steps though time be left.

    Returns
    -------
    Trained, its results limited by tanh to `training.signed_scale` of the images.

    Raises
    ------
    ValueError
        Planes too small or not 2-D, or a budget of nothing.
    """
    side = training.check(inputs, targets, paired=False)
    budget = training.Budget(seconds, steps)
    scale = training.signed_scale([*inputs, *targets])
    blocks = 6 if side < training.LARGEST else 9
    side -= side % _MULTIPLE
    first, second = np.random.SeedSequence(seed).generate_state(2)
    spoilt = training.crops([[plane] for plane in inputs], side, scale, int(first))
    clean = training.crops([[plane] for plane in targets], side, scale, int(second))
    with training.seeded(seed):
        gan = CycleGAN(blocks, width)
        done = budget.spend(lambda: gan.step(*next(spoilt), *next(clean)), *gan.optimizers)
    return training.finish(gan.cleaner, scale, _MULTIPLE, seed, done)
