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


class ResNetGenerator(nn.Module):
    """The generator of 2019: a simulated defective image and a noise map to the image.

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

    def draw_noise(self, simulated: Tensor, rng: torch.Generator) -> Tensor:
        """Return a noise map (B, 1, Y, X) for simulated images of this shape."""
        return torch.randn(simulated.shape, generator=rng, device=simulated.device)

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


_FIELDS = ("light", "gain", "shot", "right", "down")  # what a corrector draws for each pixel
_FILTERS, _REACH = 24, 7  # filters of blur and grain, and their half width in pixels
_MAPS = 8  # noise maps: see `Corrector.draw_noise`
_COARSE = (8, 32)  # pixels between the nodes of the coarse noise maps
_FARTHEST = 8.0  # pixels that rows and columns can be moved by
_LABORATORIES = 128  # codes of virtual laboratories that are kept with the weights


class Corrector(nn.Module):
    """CIN-GAN's generator: what a simulated defective image still lacks, put into it.

    Everything is shared by the defects but a row vector each, ``base + code @ map + rows``. It
    holds γ and β of every normalisation, and the sizes of what is put into the image, which are
    all 0 where code and rows are: such a defect is left as it is simulated, bit for bit.

    ===========  ====================================================================
    right, down  pixels that the image is moved by
    blur         a mixture of shared filters
    gain         multiplies the image
    light        is added
    shot         is added times the root of the image
    grain        the same filters on white noise, which joins light and shot
    ===========  ====================================================================

    All but blur and grain are fields of the image's size: a mixture of noise maps (per pixel,
    row, column, and coarse) and what a network of dilated convolutions makes of the image and
    these maps. It works at half the size, on 2 × 2 pixels as channels.

    Parameters
    ----------
    architecture
        Channels, blocks (their dilation doubles: four see 86 pixels) and codes.
    defects
        Number of defects; 0 for the shared weights alone.
    """

    laboratories: Tensor  # (128, codes): what the code of a new defect may start from

    def __init__(self, architecture: GeneratorArchitecture, defects: int) -> None:
        super().__init__()
        self.architecture = architecture
        width, fields = architecture.channels, len(_FIELDS)
        self.stem = _reflecting(4 * (1 + _MAPS), width)
        blocks = range(architecture.blocks)
        self.wide = nn.ModuleList(_reflecting(width, width, 2**k) for k in blocks)
        self.near = nn.ModuleList(_reflecting(width, width) for _ in blocks)
        self.last = _reflecting(width, 4 * fields)
        self.filters = nn.Conv2d(
            1, _FILTERS, 2 * _REACH + 1, padding=_REACH, padding_mode="reflect", bias=False
        )
        nn.init.normal_(self.filters.weight, std=1 / (2 * _REACH + 1))
        self._norms = 2 * width * (1 + 2 * architecture.blocks)
        self._sizes = [fields, fields * _MAPS, _FILTERS, 2 * _FILTERS]
        length = self._norms + sum(self._sizes)
        self.base = nn.Parameter(
            torch.cat((torch.ones(self._norms // 2), 0.5 * torch.randn(self._norms // 2)))
        )
        size = torch.full((length,), 0.01)
        size[: self._norms] = 0.1
        self.map = nn.Parameter(size * torch.randn(architecture.codes, length))
        self.register_buffer("laboratories", torch.zeros(_LABORATORIES, architecture.codes))
        self.code = nn.Parameter(torch.zeros(defects, architecture.codes))
        self.rows = nn.Parameter(torch.zeros(defects, length))

    def draw_noise(self, simulated: Tensor, rng: torch.Generator) -> Tensor:
        """Return noise maps (B, 8, Y, X), N(0, 1): two each by pixel, row, column; two coarse."""
        batch, _, height, width = simulated.shape

        def normal(count: int, *size: int) -> Tensor:
            return torch.randn((batch, count, *size), generator=rng, device=simulated.device)

        maps = [normal(2, height, width)]
        maps += [
            normal(2, *size).expand(-1, -1, height, width) for size in ((height, 1), (1, width))
        ]
        for pixels in _COARSE:
            nodes = normal(1, height // pixels + 2, width // pixels + 2)
            smooth = F.interpolate(nodes, scale_factor=float(pixels), mode="bilinear")
            smooth = smooth[:, :, pixels // 2 :, pixels // 2 :][:, :, :height, :width]
            maps.append(1.5 * smooth)  # the mean between nodes varies less than they do
        return torch.cat(maps, 1)

    def forward(self, simulated: Tensor, noise: Tensor, defect: Tensor) -> Tensor:
        """Simulated (B, 1, Y, X), noise of `draw_noise`, defect (B,) to (B, 1, Y, X)."""
        return self.correct(simulated, noise, self.code[defect], self.rows[defect])

    def correct(self, simulated: Tensor, noise: Tensor, code: Tensor, rows: Tensor) -> Tensor:
        """As `forward`, for a code (B, codes) and rows (B, length) of no defect it has."""
        vector = code @ self.map + rows  # (B, length)
        norms = self.base + vector[:, : self._norms]
        gains, mixture, blur, grain = torch.split(vector[:, self._norms :], self._sizes, 1)
        features = self._features(simulated, noise, norms)  # (B, fields, Y, X)
        mixture = mixture.view(len(vector), len(_FIELDS), _MAPS)
        fields = gains[:, :, None, None] * features + torch.einsum("bfm,bmyx->bfyx", mixture, noise)
        light, gain, shot, right, down = torch.split(fields, 1, 1)
        image = _moved(_moved(simulated, right).mT, down.mT).mT
        image = image + _mixed(self.filters(image), blur)
        signal = simulated.clamp(min=0).add(1e-3).sqrt()  # shot noise grows with the signal
        textures = self.filters(noise[:, :1])
        even, odd = (_mixed(textures, part) for part in torch.chunk(grain, 2, 1))
        result: Tensor = image + image * gain + light + even + signal * (shot + odd)
        return result

    def _features(self, simulated: Tensor, noise: Tensor, norms: Tensor) -> Tensor:
        gammas, betas = norms.view(len(norms), 2, -1, self.architecture.channels).unbind(1)
        layers = iter(zip(gammas.unbind(1), betas.unbind(1), strict=True))
        x = F.pixel_unshuffle(torch.cat((simulated, noise), 1), 2)  # (B, 4 · 9, Y/2, X/2)
        x = F.relu(_normalised(self.stem(x), *next(layers)))
        for wide, near in zip(self.wide, self.near, strict=True):
            inner = F.relu(_normalised(wide(x), *next(layers)))
            x = x + _normalised(near(inner), *next(layers))
        return F.pixel_shuffle(self.last(x), 2)


def _reflecting(inputs: int, outputs: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, 3, padding=dilation, dilation=dilation, padding_mode="reflect", bias=False
    )


def _normalised(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """CIN of (B, C, Y, X) with γ and β (B, C)."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0)
    scale = gamma * (variance + eps).rsqrt()
    return torch.addcmul((beta - mean * scale)[:, :, None, None], scale[:, :, None, None], x)


def _mixed(maps: Tensor, weights: Tensor) -> Tensor:
    """Sum maps (B, K, Y, X) with weights (B, K)."""
    return torch.einsum("bk,bkyx->byx", weights, maps)[:, None]


def _moved(image: Tensor, shift: Tensor) -> Tensor:
    """Move (B, 1, Y, X) along axis 1 by a shift of each pixel, linear in between."""
    shift = _FARTHEST * torch.tanh(shift / _FARTHEST)
    whole = shift.detach().floor()
    part, width = shift - whole, image.shape[3]
    left = torch.arange(width, device=image.device) + whole.long()
    one, other = (image.gather(3, (left + k).clamp(0, width - 1)) for k in (0, 1))
    return one + part * (other - one)


DefectGenerator = ResNetGenerator | Corrector


def build_generator(architecture: GeneratorArchitecture, defects: int) -> DefectGenerator:
    """Return a generator of an architecture for a number of defects."""
    kind = Corrector if architecture.network == "dilated" else ResNetGenerator
    return kind(architecture, defects)


def defect_rows(generator: DefectGenerator) -> dict[str, nn.Parameter]:
    """Return by name what each defect has of its own, a row of each."""
    if isinstance(generator, Corrector):
        return {"code": generator.code, "rows": generator.rows}
    rows = {
        f"{name}.{row}": getattr(module, row)
        for name, module in generator.named_modules()
        if isinstance(module, ConditionalInstanceNorm)
        for row in ("gamma", "beta")
    }
    return rows | {"gain": generator.gain}


def choose_rows(generator: DefectGenerator, like: Sequence[int | None]) -> None:
    """Give the generator a defect for each entry of `like`, every other weight untouched.

    Its rows are those of the defect that has this index now, or such that it starts as it is
    simulated: all 0, and where a network has γ and β as they are, the mean of all.
    """
    for name, parameter in defect_rows(generator).items():
        rows = parameter.data
        mean = name not in ("gain", "code", "rows")
        new = rows.mean(0) if mean else rows.new_zeros(rows.shape[1])
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
        """(B, planes, Y, X) to the middle one, restored; hint (B, hints), 1 for each defect.

        A single plane stands for those next to it as well.
        """
        image = image.expand(-1, self.architecture.planes, -1, -1)
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


def grown(network: UNetRestorer, architecture: RestorerArchitecture) -> UNetRestorer:
    """Return a network of more hints and planes that does, blind, what a trained one does.

    Parameters
    ----------
    network
        A trained restorer.
    architecture
        As that of `network`, but for ``hints`` and ``planes``.
    """
    larger, weights = UNetRestorer(architecture), network.state_dict()
    stem = torch.zeros_like(larger.stem.weight)
    middle, own = architecture.planes // 2, network.architecture.planes
    first = middle - own // 2
    stem[:, first : first + own] = weights["stem.weight"]
    weights["stem.weight"] = stem
    rows = [architecture.hints.index(hint) for hint in network.architecture.hints]
    for index, hint in enumerate(larger.hint):
        shifts = torch.zeros_like(hint)
        shifts[rows] = weights[f"hint.{index}"]
        weights[f"hint.{index}"] = shifts
    larger.load_state_dict(weights)
    return larger


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
