"""The generators and the discriminator of the GAN baselines.

Tensors are (B, C, Y, X) float32 on about -1..1. Every norm takes its statistics from each image
alone, in training and in use: instance normalisation, which is also what batch normalisation is
at the papers' batch size of one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SPREAD = 0.02  # standard deviation of the first weights, in all three papers


class UNetGenerator(nn.Module):
    """U-Net of pix2pix (Isola et al. 2017, section 6.1), ending in tanh.

    Encoder C64-C128-C256-C512-C512-…, 4×4 convolutions of stride 2 down to one pixel for a
    training crop of 2**depth pixels; the decoder mirrors it and sees each scale of the encoder.
    Dropout in the first three full-width decoder blocks is the only source of noise. The
    bottleneck is not normalised: a single pixel would become zero.

    Parameters
    ----------
    depth
        Number of halvings; sizes are multiples of 2**depth. 8 in the paper, for 256 pixels.
    width
        Channels of the first layer.
    """

    def __init__(self, depth: int, width: int = 64) -> None:
        super().__init__()
        widths = [width * min(2**k, 8) for k in range(depth)]
        self.down = nn.ModuleList([nn.Conv2d(1, width, 4, 2, 1)])
        for k in range(1, depth):
            layers = [nn.LeakyReLU(0.2), nn.Conv2d(widths[k - 1], widths[k], 4, 2, 1, bias=False)]
            if k < depth - 1:
                layers.append(nn.InstanceNorm2d(widths[k], affine=True))
            self.down.append(nn.Sequential(*layers))
        self.up = nn.ModuleList()
        for k in range(depth - 1, 0, -1):
            inputs = widths[k] * (1 if k == depth - 1 else 2)  # the skip doubles all but the first
            deconv = nn.ConvTranspose2d(inputs, widths[k - 1], 4, 2, 1, bias=False)
            layers = [nn.ReLU(), deconv, nn.InstanceNorm2d(widths[k - 1], affine=True)]
            if k > max(3, depth - 4):
                layers.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*layers))
        self.last = nn.ConvTranspose2d(2 * width, 1, 4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, Y, X) to the same, within -1..1."""
        x, scales = image, []
        for layer in self.down:
            x = layer(x)  # (B, C, Y/2, X/2)
            scales.append(x)
        scales.pop()
        for layer in self.up:
            x = torch.cat((layer(x), scales.pop()), 1)  # (B, 2C, 2Y, 2X)
        return torch.tanh(self.last(F.relu(x)))


class ResNetGenerator(nn.Module):
    """ResNet of CycleGAN and DeblurGAN (after Johnson et al. 2016), ending in tanh.

    c7s1-64, d128, d256, the residual blocks, u128, u64, c7s1-1; edges are reflected.

    Parameters
    ----------
    blocks
        Number of residual blocks.
    width
        Channels of the first layer.
    dropout
        Dropout of 0.5 after the first convolution of each block (DeblurGAN).
    """

    def __init__(self, blocks: int, width: int = 64, *, dropout: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [_reflecting(1, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
        for fine in (width, 2 * width):
            layers += [nn.Conv2d(fine, 2 * fine, 3, 2, 1), nn.InstanceNorm2d(2 * fine), nn.ReLU()]
        layers += [_ResidualBlock(4 * width, dropout) for _ in range(blocks)]
        for fine in (2 * width, width):
            layers.append(nn.ConvTranspose2d(2 * fine, fine, 3, 2, 1, output_padding=1))
            layers += [nn.InstanceNorm2d(fine), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = _reflecting(width, 1, 7)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, Y, X), sizes in multiples of 4, to the same, within -1..1."""
        return torch.tanh(self.last(self.layers(image)))


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, dropout: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [_reflecting(channels, channels, 3)]
        layers += [nn.InstanceNorm2d(channels), nn.ReLU()]
        layers += [nn.Dropout(0.5)] if dropout else []
        layers += [_reflecting(channels, channels, 3), nn.InstanceNorm2d(channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


def _reflecting(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")


class PatchDiscriminator(nn.Module):
    """70×70 PatchGAN, C64-C128-C256-C512 (Isola et al. 2017): one score for each patch.

    Parameters
    ----------
    planes
        Planes that are scored together: 2 for an image and the input it belongs to.
    width
        Channels of the first layer.
    affine
        Norms with weights of their own, as batch normalisation has them (pix2pix).
    """

    def __init__(self, planes: int = 1, width: int = 64, *, affine: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(planes, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for fine, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            layers.append(nn.Conv2d(fine, 2 * fine, 4, stride, 1, bias=not affine))
            layers += [nn.InstanceNorm2d(2 * fine, affine=affine), nn.LeakyReLU(0.2)]
        layers.append(nn.Conv2d(8 * width, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """(B, planes, Y, X) to scores without a sigmoid, (B, 1, Y/8 - 2, X/8 - 2)."""
        return self.layers(image)  # type: ignore[no-any-return]


def initialise(network: nn.Module) -> None:
    """Draw all weights from N(0, 0.02), those of norms from N(1, 0.02); biases are zero."""
    for module in network.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if weight is not None:
            centre = 1.0 if isinstance(module, nn.InstanceNorm2d) else 0.0
            nn.init.normal_(weight, centre, _SPREAD)
        if bias is not None:
            nn.init.zeros_(bias)
