"""CycleGAN: Zhu et al. 2017, *Unpaired Image-to-Image Translation using Cycle-Consistent GANs*.

arXiv 1703.10593, sections 3, 4 and 7. Two ResNets, from defective to clean and back, of six
blocks for crops below 256 pixels and of nine from there on; two 70×70 PatchGANs with least
squares, their objective halved, which also see images made before (a pool of 50); 10 times the
L1 distance after a cycle; Adam at 2e-4; one image of each kind a step.

The identity loss, half as heavy as the cycle's, is the one that the paper adds where colours must
be kept (paintings to photographs): a restored image must keep its intensities.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from microscopygan_bench.baselines import training
from microscopygan_bench.baselines.networks import PatchDiscriminator, ResNetGenerator

_RATE = 2e-4
_CYCLE = 10.0
_IDENTITY = 0.5 * _CYCLE
_POOL = 50


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

    multiple = training.HALVED_TWICE

    def __init__(self, largest: int, width: int) -> None:
        self.side = largest - largest % self.multiple
        blocks = 6 if largest < training.LARGEST else 9
        self.cleaner = training.ready(ResNetGenerator(blocks, width))
        self.spoiler = training.ready(ResNetGenerator(blocks, width))
        self.clean_critic = training.ready(PatchDiscriminator(1, width))
        self.spoilt_critic = training.ready(PatchDiscriminator(1, width))
        self.generator = self.cleaner
        self.clean_pool, self.spoilt_pool = ImagePool(), ImagePool()
        self.optimizers = [
            training.adam(_RATE, self.cleaner, self.spoiler),
            training.adam(_RATE, self.clean_critic, self.spoilt_critic),
        ]

    def step(self, image: Tensor, target: Tensor) -> None:
        """Update both generators, then both discriminators; unpaired images (1, 1, Y, X)."""
        spoilt, clean = image, target
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


train = functools.partial(training.train_gan, CycleGAN, paired=False)
