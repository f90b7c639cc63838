"""pix2pix: Isola et al. 2017, *Image-to-Image Translation with Conditional Adversarial Networks*.

arXiv 1611.07004, sections 3 and 6.1. A U-Net with dropout as its only noise against a 70×70
PatchGAN that also sees the input; cross-entropy plus 100 times L1, the discriminator's objective
halved; Adam at 2e-4; one image a step, whose own statistics serve the norms, in use as well. The
U-Net is as deep as the crop allows: 8 halvings for 256 pixels, as in the paper, 7 for 128.

The paper keeps the learning rate constant. The decay of the second half is that of its authors'
later PyTorch code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microscopygan.gan.losses import critic_loss, generator_loss
from microscopygan_bench.baselines import training
from microscopygan_bench.baselines.networks import PatchDiscriminator, UNetGenerator
from microscopygan_bench.peers.job import Trained

_RATE = 2e-4
_L1 = 100.0


class Pix2Pix:
    """The two networks and one step of their training."""

    def __init__(self, depth: int, width: int) -> None:
        self.generator = training.ready(UNetGenerator(depth, width))
        self.discriminator = training.ready(PatchDiscriminator(2, width, affine=True))
        self.optimizers = [
            training.adam(_RATE, network) for network in (self.generator, self.discriminator)
        ]

    def step(self, image: Tensor, target: Tensor) -> None:
        """Update the discriminator, then the generator; both images (1, 1, Y, X)."""
        made = self.generator(image)
        self.discriminator.requires_grad_(True)
        real = self.discriminator(torch.cat((image, target), 1))
        fake = self.discriminator(torch.cat((image, made.detach()), 1))
        training.improve(self.optimizers[1], 0.5 * critic_loss("bce", real, fake))
        self.discriminator.requires_grad_(False)
        fake = self.discriminator(torch.cat((image, made), 1))
        loss = generator_loss("bce", fake) + _L1 * F.l1_loss(made, target)
        training.improve(self.optimizers[0], loss)


def train(
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    *,
    seconds: float,
    seed: int,
    width: int = 64,
    steps: int | None = None,
) -> Trained:
    """Train on pairs.

    Parameters
    ----------
    inputs, targets
        Pairs of planes (Y, X) of equal shapes, at least 32 × 32, on about 0..1, not clipped.
    seconds
        Time for the whole training; one step at least is taken.
    seed
        Seed of the weights, the crops and the dropout.
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
        Planes too small, not 2-D or not pairs, or a budget of nothing.
    """
    side = training.check(inputs, targets, paired=True)
    budget = training.Budget(seconds, steps)
    depth = side.bit_length() - 1
    scale = training.signed_scale([*inputs, *targets])
    pairs = training.crops(list(zip(inputs, targets, strict=True)), 2**depth, scale, seed)
    with training.seeded(seed):
        gan = Pix2Pix(depth, width)
        done = budget.spend(lambda: gan.step(*next(pairs)), *gan.optimizers)
    return training.finish(gan.generator, scale, 2**depth, seed, done)
