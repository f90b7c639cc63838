"""DeblurGAN: Kupyn et al. 2018, *Blind Motion Deblurring Using Conditional Adversarial Networks*.

arXiv 1711.07064, sections 3 and 5. A ResNet of nine blocks with dropout adds a residual to its
input; the critic, a PatchGAN that does not see the input, is a Wasserstein one with gradient
penalty; 100 times the distance in the feature space of VGG; five steps of the critic, on the same
crop as in the authors' code, for each one of the generator; Adam at 1e-4; one image a step;
dropout and instance statistics in use as well.

The paper's features are those of VGG19 at conv3,3 after its activation. Here they are those of
VGG16 at block3_conv3, also the third convolution after the second pooling, which this package
ships.

Where the paper leaves it open, two things differ from the authors' code. It clips the sum of input
and residual to the range of an 8-bit image; these images have no such range, so nothing is
clipped here, and only the residual is limited by tanh. And it draws the last layer's weights like
all others, so that the first residual is noise as strong as the image. In a training of minutes
that noise is not unlearnt: VGG hardly minds a change of brightness, and a residual saturated
at +1 everywhere is the shortest way to be rid of it (seen here, with and without the clipping). So
the last layer starts at zero, and the first restored image is the input.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from microscopygan.gan.losses import (
    VGGFeatures,
    content_loss,
    critic_loss,
    generator_loss,
    gradient_penalty,
)
from microscopygan_bench.baselines import training
from microscopygan_bench.baselines.networks import PatchDiscriminator, ResNetGenerator

_RATE = 1e-4
_CONTENT = 100.0
_PENALTY = 10.0
_CRITIC_STEPS = 5
_BLOCKS = 9


class ResidualGenerator(nn.Module):
    """The restored image: the input plus what the ResNet gives."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.residual = ResNetGenerator(_BLOCKS, width, dropout=True)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, Y, X), sizes in multiples of 4, to the same."""
        return image + self.residual(image)  # type: ignore[no-any-return]


class DeblurGAN:
    """The two networks, the VGG features and one step of the training."""

    multiple = training.HALVED_TWICE

    def __init__(self, largest: int, width: int) -> None:
        self.side = largest - largest % self.multiple
        self.generator = training.ready(ResidualGenerator(width))
        nn.init.zeros_(self.generator.residual.last.weight)
        self.critic = training.ready(PatchDiscriminator(1, width))
        self.vgg = VGGFeatures().to(training.device())
        self.optimizers = [
            training.adam(_RATE, network) for network in (self.generator, self.critic)
        ]

    def step(self, image: Tensor, target: Tensor) -> None:
        """Update the critic five times, then the generator; both images (1, 1, Y, X)."""
        restored = self.generator(image)
        self.critic.requires_grad_(True)
        for _ in range(_CRITIC_STEPS):
            loss = self.critic_loss(target, restored.detach())
            training.improve(self.optimizers[1], loss)
        self.critic.requires_grad_(False)
        adversarial = generator_loss("wgan-gp", self.critic(restored))
        content = content_loss(self.vgg, (restored + 1) / 2, (target + 1) / 2)
        training.improve(self.optimizers[0], adversarial + _CONTENT * content)

    def critic_loss(self, target: Tensor, restored: Tensor) -> Tensor:
        """Wasserstein loss with ten times the gradient penalty, a scalar."""
        mix = torch.rand((len(target), 1, 1, 1), device=target.device)
        penalty = gradient_penalty(self.critic, target, restored, mix)
        scores = critic_loss("wgan-gp", self.critic(target), self.critic(restored))
        return scores + _PENALTY * penalty


train = functools.partial(training.train_gan, DeblurGAN)
