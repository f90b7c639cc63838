"""Losses: adversarial, gradient penalties, VGG16 content and style, DiffAugment.

A term of a network's loss is a function of this file, named in `GENERATOR_TERMS` or
`RESTORER_TERMS`, and a field ``<name>_weight`` of the network's settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..settings import DefectSettings, RestorerSettings, StageSettings
from .networks import place

Score = Callable[[Tensor], Tensor]

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_POOL_BEFORE = (2, 4)  # convolutions preceded by a 2×2 max-pooling
_STYLE_LAYERS = (1, 3)  # relu1_2, relu2_2


class VGGFeatures(nn.Module):
    """VGG16 up to block3_conv3 (seven convolutions, ImageNet weights), frozen.

    Gray planes on a scale of about 0..1 go in as three equal channels, with ImageNet's mean and
    standard deviation taken off. Simonyan & Zisserman 2014, arXiv 1409.1556.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        path = files("microscopygan") / "weights" / "vgg16_features_relu3_3.safetensors"
        tensors = load_file(str(path))
        names = sorted({name.rsplit(".", 1)[0] for name in tensors}, key=_layer_number)
        self.convolutions = nn.ModuleList()
        for name in names:
            weight = tensors[f"{name}.weight"].float()
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.weight.data, conv.bias.data = weight, tensors[f"{name}.bias"].float()  # type: ignore[union-attr]
            self.convolutions.append(conv)
        self.register_buffer("mean", torch.tensor(_MEAN)[None, :, None, None])
        self.register_buffer("std", torch.tensor(_STD)[None, :, None, None])
        self.requires_grad_(False)

    def forward(self, gray: Tensor, last: int = 6) -> list[Tensor]:
        """(B, 1, Y, X) to the activations after each convolution's ReLU, up to number `last`."""
        x = (gray - self.mean) / self.std  # (B, 3, Y, X)
        activations = []
        for number, conv in enumerate(self.convolutions):
            if number in _POOL_BEFORE:
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            activations.append(x)
            if number == last:
                break
        return activations


@lru_cache(1)
def vgg_features(device: torch.device) -> VGGFeatures:
    """Return the features on a device; read once."""
    return place(VGGFeatures(), device)


def _layer_number(name: str) -> int:
    return int("".join(filter(str.isdigit, name)))


def content_loss(vgg: VGGFeatures, image: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference at block3_conv3 (Johnson et al. 2016), a scalar."""
    with torch.no_grad():
        wanted = vgg(target)[-1]
    return F.mse_loss(vgg(image)[-1], wanted)


def log_error(image: Tensor, target: Tensor, floor: float) -> Tensor:
    """Mean over samples of ln(RMSE), in nepers, a scalar: minus the PSNR but for its unit.

    Errors below `floor`, in intensity units, lose weight.

    A faint defect (a few missing planes) weighs as much as a strong one (noise), which would
    drown it in a mean of errors (PSNR loss, Chen et al. 2022, arXiv 2204.04676).
    """
    return 0.5 * (image - target).pow(2).mean((1, 2, 3)).add(floor**2).log().mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, Y, X) to Gram matrices (B, C, C) over the number of pixels and channels."""
    _, channels, height, width = features.shape
    flat = features.flatten(2)
    return flat @ flat.mT / (channels * height * width)


def style_loss(vgg: VGGFeatures, image: Tensor, real: Tensor, defect: Tensor) -> Tensor:
    """Distance of the mean Gram matrices of each defect, synthetic against real, a scalar.

    The images are unpaired: the batch's mean matrix is compared, defect by defect, relative to
    the size of the larger one, so that defects of any strength weigh the same, and a batch of dim
    real images no more than another.
    """
    with torch.no_grad():
        wanted = vgg(real, max(_STYLE_LAYERS))
    features = vgg(image, max(_STYLE_LAYERS))
    total = image.new_zeros(())
    kinds = torch.unique(defect)
    for layer in _STYLE_LAYERS:
        for kind in kinds:
            ours = gram(features[layer][defect == kind]).mean(0)
            theirs = gram(wanted[layer][defect == kind]).mean(0)
            size = torch.maximum(ours.detach().pow(2).mean(), theirs.pow(2).mean())
            total = total + F.mse_loss(ours, theirs) / (size + 1e-8)
    return total / (len(_STYLE_LAYERS) * len(kinds))


def spectrum_loss(image: Tensor, real: Tensor, defect: Tensor) -> Tensor:
    """Distance of the mean log power spectra of each defect, synthetic against real, a scalar.

    The mean absolute difference over frequencies, in nepers; unpaired, as `style_loss`. It sees
    what a convolutional critic overlooks: faint energy where a defect leaves none (log-frequency
    losses, arXiv 2601.20878).
    """
    with torch.no_grad():
        wanted = _log_spectrum(real)
    spectrum = _log_spectrum(image)
    kinds = torch.unique(defect)
    apart = [spectrum[defect == k].mean(0) - wanted[defect == k].mean(0) for k in kinds]
    return torch.stack([F.avg_pool2d(difference, 3).abs().mean() for difference in apart]).mean()


def _log_spectrum(image: Tensor) -> Tensor:
    return torch.log(_power_spectrum(image) + 1e-7)


def energy_score(one: Tensor, other: Tensor, wanted: Tensor, start: Tensor) -> Tensor:
    """Energy score of two draws of a generator against the image that they should be like.

    ``½ E|G − y| + ½ E|G′ − y| − ½ E|G − G′|`` is least where the draws have the law of y (Gneiting
    & Raftery 2007). It is taken of many small parts of an image, see `local_parts`, so that
    textures count, and of each relative to what the generator starts from: faint defects count as
    much as strong ones.

    Parameters
    ----------
    one, other, wanted, start
        (B, 1, Y, X), about 0..1; two draws, the image they should be like, their input.

    Returns
    -------
    torch.Tensor
        A scalar: about 1 for the input itself, less where it is nearly y; 0 for y itself; 0.7 of
        the input's for other draws of a y of noise.
    """
    with torch.no_grad():
        wanted_parts, start_parts = local_parts(wanted), local_parts(start)
    scores = []
    for a, b, y, x in zip(
        local_parts(one), local_parts(other), wanted_parts, start_parts, strict=True
    ):
        score = 0.5 * (_apart(a, y) + _apart(b, y) - _apart(a, b))
        least = _LEAST_APART * y.shape[1] ** 0.5
        scores.append(score / (_apart(x, y) + least))
    return torch.stack(scores).mean()


_LEAST_APART = 0.01  # mean distance of a value below which an image counts as the wanted one


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """Mean distance of the parts (B, values, parts) of two images, sample by sample: (B,)."""
    return (x - y).pow(2).sum(1).add(1e-8).sqrt().mean(1)


def local_parts(image: Tensor) -> list[Tensor]:
    """Cut an image into small parts of many shapes, each (B, values, parts).

    Squares at four scales; flat and tall ones; means along 32 pixels and along the whole of
    either axis, of five neighbours; and the log power of a frequency alone.
    """
    parts = [
        F.unfold(image if scale == 1 else F.avg_pool2d(image, scale), 3, stride=2)
        for scale in (1, 2, 4, 8)
    ]
    for x in (image, image.mT):
        parts.append(F.unfold(x, (3, 9), stride=(2, 4)))
        parts.append(F.unfold(F.avg_pool2d(x, (1, 32), (1, 16)), (5, 1), stride=(2, 1)))
        parts.append(F.unfold(x.mean(3, keepdim=True), (5, 1)))
    power = F.avg_pool2d(_power_spectrum(image), 3).add(1e-6).log()
    return [*parts, 0.05 * power.flatten(2)]


def _power_spectrum(image: Tensor) -> Tensor:
    """(B, 1, Y, X) to the power (B, 1, Y, X/2 + 1) of the windowed image, per pixel."""
    height, width = image.shape[-2:]
    window = torch.hann_window(height, device=image.device)[:, None] * torch.hann_window(
        width, device=image.device
    )
    level = image.mean((2, 3), keepdim=True)
    power: Tensor = torch.fft.rfft2((image - level) * window).abs().pow(2) / window.pow(2).sum()
    return power


def unpaired_distance(image: Tensor, real: Tensor) -> Tensor:
    """Distance of two sets of unpaired images by their statistics, a scalar.

    Log power by frequency and direction, of the means of rows and columns, and of the differences
    between pixels some way apart: the squared difference of the means over the images, less what
    chance alone gives, in units of their spread. And how the values of small patches are
    distributed at three scales: sliced Wasserstein distances (Heitz et al. 2021).

    Parameters
    ----------
    image, real
        (B, 1, Y, X) each, B at least 2, square, about 0..1.
    """
    with torch.no_grad():
        wanted, slices = image_statistics(real), _slices(real)
    apart = statistics_distance(image_statistics(image), wanted)
    patches = [
        (ours - theirs).abs().mean() / theirs.std().clamp(min=1e-3)
        for ours, theirs in zip(_slices(image), slices, strict=True)
    ]
    return 0.1 * apart + torch.stack(patches).mean()


def statistics_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared difference of the means of (B, statistics) less chance, in spreads: a scalar."""
    chance = found.var(0) / len(found) + wanted.var(0) / len(wanted)
    squares = (found.mean(0) - wanted.mean(0)).pow(2) - chance
    return (squares / (wanted.var(0) + 0.02)).mean()


def image_statistics(image: Tensor) -> Tensor:
    """(B, 1, Y, X) to logarithms of powers and differences (B, statistics)."""
    spectrum = _power_spectrum(image)
    height = spectrum.shape[2]
    spectrum = torch.roll(spectrum, height // 2, 2)  # axis 0 from -1/2 to 1/2
    parts = [F.avg_pool2d(spectrum, 6)]
    for x in (image, image.mT):
        profile = x.mean(3)  # (B, 1, Y)
        profile = (profile - profile.mean(2, keepdim=True)) * torch.hann_window(
            x.shape[2], device=x.device
        )
        parts.append(F.avg_pool1d(torch.fft.rfft(profile).abs().pow(2), 4))
        apart = [(x[:, :, k:] - x[:, :, :-k]).pow(2).mean((2, 3)) for k in (1, 2, 3, 4, 6, 8)]
        parts.append(torch.cat(apart, 1))
    return torch.cat([part.flatten(1).add(1e-7).log() for part in parts], 1)


def _slices(image: Tensor) -> list[Tensor]:
    """Return sorted projections (directions, values) of patches, a tensor for each scale.

    At each scale what is finer than three pixels, with the mean of the patch besides.
    """
    result, directions = [], _directions(image.device)
    for _ in range(3):
        smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)
        patches = F.unfold(image - smooth, 5, stride=3)  # (B, 25, patches)
        level = 0.1 * F.unfold(smooth, 5, stride=3)[:, 12:13]
        values = torch.cat((patches, level), 1).movedim(1, 0).flatten(1)  # (26, B · patches)
        result.append((directions @ values).sort(1).values)
        image = F.avg_pool2d(image, 2)
    return result


@lru_cache(1)
def _directions(device: torch.device) -> Tensor:
    """Return fixed random directions (32, 26) of unit length."""
    rng = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn((32, 26), generator=rng), dim=1).to(device)


def critic_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of a critic for its scores of real and of generated images, a scalar."""
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "wgan-gp":
        return fake.mean() - real.mean()
    return F.binary_cross_entropy_with_logits(
        real, torch.ones_like(real)
    ) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """Adversarial loss of a generator for the critic's scores of its images, a scalar."""
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    return -fake.mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Mean squared gradient of the critic at real images (Mescheder et al. 2018), a scalar."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(real).mean((1, 2, 3)).sum(), real, create_graph=True)
    return slope.pow(2).sum((1, 2, 3)).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """WGAN-GP: ``(‖∇‖ − 1)²`` between real and fake (Gulrajani et al. 2017); mix (B, 1, 1, 1)."""
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    scores = critic(between).mean((1, 2, 3)).sum()
    (slope,) = torch.autograd.grad(scores, between, create_graph=True)
    return (slope.pow(2).sum((1, 2, 3)).add(1e-12).sqrt() - 1).pow(2).mean()


def diff_augment(image: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by up to an eighth and cut out a quarter-sized square, differentiably.

    Zhao et al. 2020, arXiv 2006.10738; without its colour changes, which would hide the
    intensities that the critic has to judge. (B, 1, Y, X) to the same.
    """
    batch, _, height, width = image.shape
    reach = height // 8
    device = image.device
    shift = torch.randint(-reach, reach + 1, (batch, 2), generator=generator, device=device)
    centre = torch.rand((batch, 2), generator=generator, device=device)
    rows = torch.arange(height, device=device)[None, :] + shift[:, :1]  # (B, Y)
    columns = torch.arange(width, device=device)[None, :] + shift[:, 1:]  # (B, X)
    rows, columns = _mirror(rows, height), _mirror(columns, width)
    index = torch.arange(batch, device=device)[:, None, None]
    shifted = image[index, 0, rows[:, :, None], columns[:, None, :]]  # (B, Y, X)
    far_y = (rows.new_tensor(range(height)) - centre[:, :1] * height).abs() > height / 8
    far_x = (rows.new_tensor(range(width)) - centre[:, 1:] * width).abs() > width / 8
    keep = far_y[:, :, None] | far_x[:, None, :]
    return (shifted * keep)[:, None]


def _mirror(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def fit_affine(x: Tensor, y: Tensor, prior: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Fit ``gain · (x − x_mean) + y_mean`` to y, sample by sample, by least squares.

    Parameters
    ----------
    x, y
        (B, N).
    prior
        Variance, in units of x, of equal values that pulls the gain to 1.

    Returns
    -------
    tuple
        Gains, means of x and means of y, each (B, 1).
    """
    x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    covariance = ((x - x_mean) * (y - y_mean)).mean(1, keepdim=True)
    variance = (x - x_mean).pow(2).mean(1, keepdim=True)
    return (covariance + prior) / (variance + prior).clamp(min=1e-12), x_mean, y_mean


@dataclass(frozen=True)
class Generated:
    """What a term of CIN-GAN's loss may look at; images (B, 1, Y, X), defect (B,).

    Where statistics count, a batch is of one defect.
    """

    image: Tensor  # of the generator
    clean: Tensor  # its own clean input
    real: Tensor  # unpaired defective ones
    defect: Tensor
    settings: DefectSettings
    score: Score  # of the critic


@dataclass(frozen=True)
class Restored:
    """What a term of the restorer's loss may look at; images (B, 1, Y, X)."""

    image: Tensor  # of the restorer
    target: Tensor  # its clean image
    settings: RestorerSettings
    score: Score  # of the discriminator


Images = TypeVar("Images", Generated, Restored)


def _generator_adversarial(images: Generated) -> Tensor:
    return generator_loss(images.settings.adversarial, images.score(images.image))


def _generator_content(images: Generated) -> Tensor:
    """Content distance to the image's own clean input, at a scale the defect leaves."""
    scale, image, clean = images.settings.content_scale, images.image, images.clean
    if scale > 1:
        image, clean = F.avg_pool2d(image, scale), F.avg_pool2d(clean, scale)
        image, clean = (F.interpolate(x, scale_factor=2.0) for x in (image, clean))
    return content_loss(vgg_features(image.device), image, clean)


def _generator_spectrum(images: Generated) -> Tensor:
    return spectrum_loss(images.image, images.real, images.defect)


def _generator_statistics(images: Generated) -> Tensor:
    return unpaired_distance(images.image, images.real)


def _generator_style(images: Generated) -> Tensor:
    vgg = vgg_features(images.image.device)
    return style_loss(vgg, images.image, images.real, images.defect)


def _restorer_pixel(images: Restored) -> Tensor:
    return log_error(images.image, images.target, images.settings.error_floor)


def _restorer_content(images: Restored) -> Tensor:
    part = max(1, round(images.settings.content_fraction * len(images.image)))
    vgg = vgg_features(images.image.device)
    return content_loss(vgg, images.image[:part], images.target[:part])


def _restorer_adversarial(images: Restored) -> Tensor:
    return generator_loss(images.settings.adversarial, images.score(images.image))


GENERATOR_TERMS: dict[str, Callable[[Generated], Tensor]] = {
    "adversarial": _generator_adversarial,
    "content": _generator_content,
    "spectrum": _generator_spectrum,
    "statistics": _generator_statistics,
    "style": _generator_style,
}
RESTORER_TERMS: dict[str, Callable[[Restored], Tensor]] = {
    "pixel": _restorer_pixel,
    "content": _restorer_content,
    "adversarial": _restorer_adversarial,
}


def weight_of(name: str, settings: StageSettings) -> float:
    """Return the weight that settings give a term."""
    return float(getattr(settings, f"{name}_weight"))


def measure(
    terms: Mapping[str, Callable[[Images], Tensor]], images: Images, leave_out: str = ""
) -> dict[str, Tensor]:
    """Return the terms of a loss whose weight is above 0, each a scalar without its weight.

    Raises
    ------
    ValueError
        No weight is above 0.
    """
    weighed = [name for name in terms if weight_of(name, images.settings) > 0]
    if not weighed:
        names = ", ".join(f"{name}_weight" for name in terms)
        raise ValueError(f"expected one of {names} above 0, got none")
    return {name: terms[name](images) for name in weighed if name != leave_out}
