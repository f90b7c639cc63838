"""pix2pix: Isola et al. 2017, *Image-to-Image Translation with Conditional Adversarial Networks*.

arXiv 1611.07004, sections 3 and 6.1. A U-Net with dropout as its only noise against a 70×70
PatchGAN that also sees the input; cross-entropy plus 100 times L1, the discriminator's objective
halved; Adam at 2e-4; one image a step, whose own statistics serve the norms, in use as well. The
U-Net is as deep as the crop allows: 8 halvings for 256 pixels, as in the paper, 7 for 128.

The paper keeps the learning rate constant. The decay of the second half is that of its authors'
later PyTorch code.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from microscopygan.gan.losses import critic_loss, generator_loss
from microscopygan_bench.baselines import training
from microscopygan_bench.baselines.networks import PatchDiscriminator, UNetGenerator

_RATE = 2e-4
_L1 = 100.0


class Pix2Pix:
    """The two networks and one step of their training."""

    def __init__(self, largest: int, width: int) -> None:
        depth = largest.bit_length() - 1
        self.side = self.multiple = 2**depth
        self.generator = training.ready(UNetGenerator(depth, width))
        self.discriminator = training.ready(PatchDiscriminator(2, width, affine=True))
        self.optimizers = [
            training.adam(_RATE, network) for network in (self.generator, self.discriminator)
        ]

    def step(self, image: Tensor, target: Tensor) -> None:
        """Update the discriminator, then the generator; both images (1, 1, Y, X)."""
        restored = self.generator(image)
        self.discriminator.requires_grad_(True)
        real = self.discriminator(torch.cat((image, target), 1))
        fake = self.discriminator(torch.cat((image, restored.detach()), 1))
        training.improve(self.optimizers[1], 0.5 * critic_loss("bce", real, fake))
        self.discriminator.requires_grad_(False)
        fake = self.discriminator(torch.cat((image, restored), 1))
        loss = generator_loss("bce", fake) + _L1 * F.l1_loss(restored, target)
        training.improve(self.optimizers[0], loss)


train = functools.partial(training.train_gan, Pix2Pix)  # sides are multiples of the crop's
