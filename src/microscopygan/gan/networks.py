"""Networks: conditional instance normalisation, generators, critics, the restorer.

Tensors are (B, C, Y, X) float32 on an intensity scale of about 0..1; a defect is an index per
sample, (B,) int64. All that a defect has of its own is in `defect_rows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import GeneratorArchitecture, RestorerArchitecture, RestorerSettings

Network = TypeVar("Network", bound=nn.Module)


def place(network: Network, device: torch.device) -> Network:
    """Move a network to its device, channels last, which is twice as fast on CPUs."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def fast_arithmetic(device: torch.device) -> torch.autocast:
    """Within it, networks compute in bfloat16 where the device is faster at that.

    Weights and sums stay in single precision. Processors with AVX-512 BF16 take 1.7 times as
    many training steps.
    """
    if device.type == "cpu":
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        able = bool(features.get("avx512_bf16", False))
    else:
        able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


class ConditionalInstanceNorm(nn.Module):
    """``γ_i · (x − μ(x)) / σ(x) + β_i``: one γ and β per channel for each defect i.

    μ and σ are taken over Y and X of each sample and channel (Dumoulin et al. 2016,
    arXiv 1610.07629). β starts at random, so that the defects differ before they are trained: from
    equal rows they part too slowly.
    """

    def __init__(self, channels: int, defects: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(defects, channels))
        self.beta = nn.Parameter(0.5 * torch.randn(defects, channels))

    def forward(self, x: Tensor, defect: Tensor) -> Tensor:
        """Normalise (B, C, Y, X) with the rows of `defect` (B,)."""
        x = F.instance_norm(x, eps=self.eps)
        gamma, beta = self.gamma[defect], self.beta[defect]  # (B, C)
        return torch.addcmul(beta[:, :, None, None], gamma[:, :, None, None], x)


class ConvCin(nn.Module):
    """Convolution, then conditional instance normalisation."""

    def __init__(self, inputs: int, outputs: int, defects: int, kernel: int, stride: int = 1):
        super().__init__()
        padding = kernel // 2
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding, bias=False, padding_mode="reflect"
        )
        self.norm = ConditionalInstanceNorm(outputs, defects)

    def forward(self, x: Tensor, defect: Tensor) -> Tensor:
        """(B, inputs, Y, X) to (B, outputs, Y/stride, X/stride)."""
        return self.norm(self.conv(x), defect)  # type: ignore[no-any-return]


class CinBlock(nn.Module):
    """Residual block of two convolutions, each with conditional instance normalisation."""

    def __init__(self, channels: int, defects: int) -> None:
        super().__init__()
        self.first = ConvCin(channels, channels, defects, 3)
        self.second = ConvCin(channels, channels, defects, 3)

    def forward(self, x: Tensor, defect: Tensor) -> Tensor:
        """Keep the shape."""
        return x + self.second(F.relu(self.first(x, defect)), defect)  # type: ignore[no-any-return]


class DefectGenerator(nn.Module):
    """CIN-GAN's generator: a simulated defective image and a noise map to the image.

    Every convolution but the last is followed by conditional instance normalisation. The last one
    gives a residual and the amplitudes of an even and of a shot-like noise, which the noise map
    carries; a defect has a gain for each of the three, as their size would be lost in a
    normalisation. All else is shared by the defects. The simulated image is added, so that the
    result stays anchored to its clean input; where no physics is known, it is that input itself.
    ``resnet`` gives a fourth, with ``architecture.fade``: how much of it is left out, as in
    `ResNetRestorer`.

    Parameters
    ----------
    architecture
        ``compact`` works at full size; ``resnet`` is the 2019 network: 7×7, two strided
        convolutions, residual blocks, two up-samplings, 7×7.
    defects
        Number of defects, at least 1.
    """

    def __init__(self, architecture: GeneratorArchitecture, defects: int) -> None:
        super().__init__()
        self.architecture = architecture
        width, resnet = architecture.channels, architecture.network == "resnet"
        self.stem = ConvCin(2, width, defects, 7 if resnet else 3)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        widths = (width, 2 * width, 4 * width) if resnet else (width,)
        for fine, coarse in pairwise(widths):
            self.down.append(ConvCin(fine, coarse, defects, 3, stride=2))
            self.up.insert(0, ConvCin(coarse, fine, defects, 3))
        self.blocks = nn.ModuleList(
            CinBlock(widths[-1], defects) for _ in range(architecture.blocks)
        )
        kernel, outputs = 7 if resnet else 3, 4 if resnet and architecture.fade else 3
        self.last = nn.Conv2d(width, outputs, kernel, padding=kernel // 2, padding_mode="reflect")
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.gain = nn.Parameter(torch.ones(defects, outputs))

    def forward(self, simulated: Tensor, noise: Tensor, defect: Tensor) -> Tensor:
        """Simulated, noise ~ N(0, 1), both (B, 1, Y, X), and defect (B,) to (B, 1, Y, X)."""
        inputs = torch.cat((simulated, noise), 1)  # (B, 2, Y, X)
        x = F.relu(self.stem(inputs, defect))
        for layer in self.down:
            x = F.relu(layer(x, defect))
        for block in self.blocks:
            x = block(x, defect)
        for layer in self.up:
            x = F.relu(layer(F.interpolate(x, scale_factor=2.0), defect))
        gain = self.gain[defect][:, :, None, None]  # (B, 3 or 4, 1, 1)
        residual, even, shot, *fade = (gain * self.last(x)).split(1, 1)  # each (B, 1, Y, X)
        signal = simulated.clamp(min=0).add(1e-3).sqrt()  # shot noise grows with the signal
        image: Tensor = simulated + residual + noise * (even + shot * signal)
        contrast = simulated - simulated.mean((2, 3), keepdim=True)
        return image - fade[0] * contrast if fade else image


def defect_rows(generator: DefectGenerator) -> dict[str, nn.Parameter]:
    """Return by name what each defect has of its own, a row of each: γ, β and the gain."""
    rows = {
        f"{name}.{row}": getattr(module, row)
        for name, module in generator.named_modules()
        if isinstance(module, ConditionalInstanceNorm)
        for row in ("gamma", "beta")
    }
    return rows | {"gain": generator.gain}


def choose_rows(generator: DefectGenerator, like: Sequence[int | None]) -> None:
    """Give the generator a defect for each entry of `like`, every other weight untouched.

    Its rows are those of the defect that has this index now, or the mean of all with a gain of
    0: such a defect starts as it is simulated.
    """
    for name, parameter in defect_rows(generator).items():
        rows = parameter.data
        new = torch.zeros_like(rows[0]) if name == "gain" else rows.mean(0)
        all_rows = torch.stack([new if index is None else rows[index] for index in like])
        module, _, row = name.rpartition(".")
        setattr(generator.get_submodule(module), row, nn.Parameter(all_rows))


def train_rows(generator: DefectGenerator) -> None:
    """Let only the rows of the defects train; every weight that they share is frozen."""
    generator.requires_grad_(False)
    for row in defect_rows(generator).values():
        row.requires_grad_(True)


class DefectCritic(nn.Module):
    """Patch critic of CIN-GAN, which learns of the defect by projection (Miyato & Koyama 2018)."""

    def __init__(self, defects: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
        )
        self.score = nn.Conv2d(4 * width, 1, 3, 1, 1)
        self.defect = nn.Embedding(defects, 4 * width)

    def forward(self, image: Tensor, defect: Tensor) -> Tensor:
        """(B, 1, Y, X) to scores (B, 1, Y/4, X/4), higher = more real."""
        x = self.features(image)
        match = (x * self.defect(defect)[:, :, None, None]).mean(1, keepdim=True)
        return self.score(x) + match  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a sum; no statistics, so tiles agree with the whole."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return x + self.second(F.relu(self.first(x)))  # type: ignore[no-any-return]


class UNetRestorer(nn.Module):
    """Residual U-Net of three scales without any normalisation; sizes in multiples of 4.

    It takes the defects of an image as a hint: each of ``architecture.hints`` adds a constant
    of its own to every channel of the two coarser scales. All zero, the network is blind. With
    ``architecture.planes`` of 3 it sees a plane with the one before and the one after.
    """

    multiple = 4
    tileable = True

    def __init__(self, architecture: RestorerArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        fine, middle, coarse = architecture.channels
        self.stem = nn.Conv2d(architecture.planes, fine, 3, padding=1)
        self.fine = ResidualBlock(fine)
        self.down1 = nn.Conv2d(fine, middle, 2, 2)
        self.middle = ResidualBlock(middle)
        self.down2 = nn.Conv2d(middle, coarse, 2, 2)
        self.coarse = nn.Sequential(*(ResidualBlock(coarse) for _ in range(architecture.blocks)))
        self.up2 = nn.ConvTranspose2d(coarse, middle, 2, 2)
        self.middle_up = ResidualBlock(middle)
        self.up1 = nn.ConvTranspose2d(middle, fine, 2, 2)
        self.fine_up = ResidualBlock(fine)
        self.last = nn.Conv2d(fine, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.hint = nn.ParameterList(
            nn.Parameter(torch.zeros(len(architecture.hints), width))
            for width in (middle, coarse)
            if architecture.hints
        )

    def forward(self, image: Tensor, hint: Tensor | None = None) -> Tensor:
        """(B, planes, Y, X) to the middle one; hint (B, hints), 1 for each defect it has."""
        x1 = self.fine(self.stem(image))  # (B, fine, Y, X)
        x2, shifts = self.down1(x1), list(self.hint) if hint is not None else []
        if hint is not None and shifts:
            x2 = x2 + (hint @ shifts[0])[:, :, None, None]
        x2 = self.middle(x2)  # (B, middle, Y/2, X/2)
        x = self.down2(x2)
        if hint is not None and shifts:
            x = x + (hint @ shifts[1])[:, :, None, None]
        x = self.coarse(x)  # (B, coarse, Y/4, X/4)
        x = self.middle_up(x2 + self.up2(x))
        x = self.fine_up(x1 + self.up1(x))
        middle = image.shape[1] // 2
        return image[:, middle : middle + 1] + self.last(x)  # type: ignore[no-any-return]


class ResNetRestorer(nn.Module):
    """The 2019 restorer: ResNet with instance normalisation; whole planes only.

    It gives a residual and how much of the image is left out, pixel by pixel, both 0 before it is
    trained. With the residual alone, noise would be removed only by what reproduces it, through
    the quarter of the size at which the blocks work. Instance normalisation hides the intensities
    of an image, so both are in units of its own standard deviation: the restored image follows
    the image's gain and offset. Without ``architecture.fade`` it adds a residual as it is.
    """

    multiple = 4
    tileable = False

    def __init__(self, architecture: RestorerArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        fine, middle, coarse = architecture.channels
        layers: list[nn.Module] = [_conv_norm(1, fine, 7), _conv_norm(fine, middle, 3, 2)]
        layers.append(_conv_norm(middle, coarse, 3, 2))
        layers += [_NormBlock(coarse) for _ in range(architecture.blocks)]
        layers += [nn.Upsample(scale_factor=2.0), _conv_norm(coarse, middle, 3)]
        layers += [nn.Upsample(scale_factor=2.0), _conv_norm(middle, fine, 3)]
        last = nn.Conv2d(fine, 2 if architecture.fade else 1, 7, padding=3)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(*layers, last)

    def forward(self, image: Tensor, hint: Tensor | None = None) -> Tensor:
        """(B, 1, Y, X) to the same, restored; it takes no hint."""
        if not self.architecture.fade:
            return image + self.layers(image)  # type: ignore[no-any-return]
        mean = image.mean((2, 3), keepdim=True)
        spread = (image - mean).pow(2).mean((2, 3), keepdim=True).add(1e-8).sqrt()
        standard = (image - mean) / spread
        residual, fade = self.layers(standard).chunk(2, 1)  # each (B, 1, Y, X)
        return image + spread * (residual - fade * standard)  # type: ignore[no-any-return]


class _NormBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv_norm(channels, channels, 3)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.InstanceNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))  # type: ignore[no-any-return]


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    return nn.Sequential(conv, nn.InstanceNorm2d(outputs), nn.ReLU())


def build_restorer(architecture: RestorerArchitecture) -> UNetRestorer | ResNetRestorer:
    """Return a restorer of an architecture."""
    kind = UNetRestorer if architecture.network == "unet" else ResNetRestorer
    return kind(architecture)


class PatchDiscriminator(nn.Module):
    """PatchGAN: is this the clean image of that defective one? (Isola et al. 2017)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 3, 1, 1),
        )

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Image and its input, both (B, 1, Y, X), to scores (B, 1, Y/8, X/8)."""
        return self.layers(torch.cat((image, condition), 1))  # type: ignore[no-any-return]


class DenseDiscriminator(nn.Module):
    """The 2019 discriminator: four strided convolutions, two dense layers, one score."""

    def __init__(self, patch: int, width: int = 64) -> None:
        super().__init__()
        widths = (2, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2)]
        flat = 8 * width * (patch // 16) ** 2
        layers += [nn.Flatten(), nn.Linear(flat, 1024), nn.Tanh(), nn.Linear(1024, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Image and its input, both (B, 1, patch, patch), to one score each, (B, 1)."""
        return self.layers(torch.cat((image, condition), 1))  # type: ignore[no-any-return]


def build_discriminator(settings: RestorerSettings) -> PatchDiscriminator | DenseDiscriminator:
    """Return the discriminator that `settings` names."""
    if settings.discriminator == "patch":
        return PatchDiscriminator()
    return DenseDiscriminator(settings.patch)
