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
    height, width = image.shape[-2:]
    window = torch.hann_window(height, device=image.device)[:, None] * torch.hann_window(
        width, device=image.device
    )
    level = image.mean((2, 3), keepdim=True)
    power = torch.fft.rfft2((image - level) * window).abs().pow(2) / window.pow(2).sum()
    return torch.log(power + 1e-7)


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
    """What a term of CIN-GAN's loss may look at; images (B, 1, Y, X), defect (B,)."""

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
