"""Losses against their formulas."""

import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pydantic import Field

from microscopygan.gan.cgan import CGan
from microscopygan.gan.losses import (
    GENERATOR_TERMS,
    RESTORER_TERMS,
    Restored,
    VGGFeatures,
    content_loss,
    critic_loss,
    diff_augment,
    energy_score,
    fit_affine,
    generator_loss,
    gradient_penalty,
    gram,
    log_error,
    measure,
    r1_penalty,
    spectrum_loss,
    style_loss,
    unpaired_distance,
)
from microscopygan.settings import DefectSettings, RestorerArchitecture, RestorerSettings, Weight


@pytest.fixture(scope="module")
def vgg() -> VGGFeatures:
    return VGGFeatures()


def test_vgg_ends_at_block3_conv3(vgg: VGGFeatures) -> None:
    shapes = [tuple(f.shape[1:]) for f in vgg(torch.rand(1, 1, 32, 32))]
    assert shapes == [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 3
    assert not any(p.requires_grad for p in vgg.parameters())


def test_distances_of_an_image_to_itself_are_zero(vgg: VGGFeatures) -> None:
    image, defect = torch.rand(2, 1, 32, 32), torch.tensor([0, 1])
    assert content_loss(vgg, image, image) == 0
    assert style_loss(vgg, image, image, defect) == 0
    assert spectrum_loss(image, image, defect) == 0


def test_faint_and_strong_defects_weigh_alike() -> None:
    target = torch.rand(2, 1, 16, 16)
    size = torch.tensor([0.05, 0.5])[:, None, None, None]
    image = (target + size * torch.randn_like(target)).requires_grad_()
    halved = log_error((image + target) / 2, target, 0.003) - log_error(image, target, 0.003)
    assert halved.item() == pytest.approx(-math.log(2), abs=0.01)
    log_error(image, target, 0.003).backward()
    assert image.grad is not None
    pull = (image.grad.abs().sum((1, 2, 3)) * size[:, 0, 0, 0]).tolist()
    assert pull[0] == pytest.approx(pull[1], rel=0.2)


def test_style_and_spectrum_see_noise(vgg: VGGFeatures) -> None:
    image, defect = torch.full((2, 1, 32, 32), 0.5), torch.tensor([0, 0])
    faint, strong = (image + s * torch.randn_like(image) for s in (0.02, 0.3))
    assert style_loss(vgg, strong, image, defect) > style_loss(vgg, faint, image, defect)
    assert spectrum_loss(strong, faint, defect) > 1


def test_no_image_drowns_the_others_in_style(vgg: VGGFeatures) -> None:
    torch.manual_seed(0)
    image, defect = torch.rand(1, 1, 32, 32), torch.tensor([0])
    bright_made = style_loss(vgg, image, 0.45 + 0.01 * image, defect)
    assert 0 < bright_made < 2
    assert bright_made.item() == pytest.approx(
        style_loss(vgg, 0.45 + 0.01 * image, image, defect).item(), rel=1e-4
    )


def test_gram_is_the_normalised_product_of_features() -> None:
    x = torch.randn(2, 3, 4, 5)
    by_hand = torch.einsum("bchw,bdhw->bcd", x, x) / (3 * 4 * 5)
    torch.testing.assert_close(gram(x), by_hand)


def test_adversarial_losses_equal_their_formulas() -> None:
    real, fake = torch.tensor([2.0, -0.5]), torch.tensor([-2.0, 0.5])
    assert critic_loss("hinge", real, fake) == pytest.approx(0.75 + 0.75)
    assert critic_loss("wgan-gp", real, fake) == pytest.approx(-0.75 - 0.75)
    expected = (1 + (-real).exp()).log().mean() + (1 + fake.exp()).log().mean()
    torch.testing.assert_close(critic_loss("bce", real, fake), expected)
    assert generator_loss("hinge", fake) == pytest.approx(0.75)
    torch.testing.assert_close(generator_loss("bce", fake), (1 + (-fake).exp()).log().mean())


def test_penalties_of_a_linear_critic() -> None:
    weight = torch.randn(1, 1, 8, 8)
    real, fake = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8)

    def critic(x: torch.Tensor) -> torch.Tensor:
        return (x * weight).sum((1, 2, 3), keepdim=True)

    norm = weight.norm()
    torch.testing.assert_close(r1_penalty(critic, real), norm**2)
    mix = torch.rand(3, 1, 1, 1)
    torch.testing.assert_close(gradient_penalty(critic, real, fake, mix), (norm - 1) ** 2)


def test_diff_augment_is_differentiable_and_seeded() -> None:
    image = torch.rand(4, 1, 32, 32, requires_grad=True)
    first, second = (diff_augment(image, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert (first == 0).any()
    first.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def restored(settings: RestorerSettings) -> Restored:
    image, target = torch.rand(2, 1, 16, 16, requires_grad=True), torch.rand(2, 1, 16, 16)
    return Restored(image, target, settings, lambda x: x.mean((2, 3)))


def test_a_term_is_a_function_and_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """A term that the program does not know takes part, from a name and a weight alone."""

    class WithEdges(RestorerSettings):
        edges_weight: Weight = Field(0.0, description="difference of gradients")

    def edges(images: Restored) -> torch.Tensor:
        return (images.image - images.target).diff(dim=3).abs().mean()

    monkeypatch.setitem(RESTORER_TERMS, "edges", edges)
    off = WithEdges(architecture=RestorerArchitecture(channels=(4, 4, 4)))
    assert set(measure(RESTORER_TERMS, restored(off))) == {"pixel"}
    on = off.model_copy(update={"edges_weight": 2.0})
    images = restored(on)
    terms = measure(RESTORER_TERMS, images)
    assert set(terms) == {"pixel", "edges"}
    torch.testing.assert_close(terms["edges"], edges(images))
    gan = CGan(on, Accelerator(cpu=True), seed=0)
    batch = {"input": torch.rand(2, 1, 16, 16), "target": torch.rand(2, 1, 16, 16)}
    batch |= {"corrected": torch.zeros(2, dtype=torch.long), "hint": torch.zeros(2, 0)}
    assert gan.step(batch, torch.Generator(), 0)["edges"] > 0


@pytest.mark.parametrize(
    ("terms", "settings"),
    [(GENERATOR_TERMS, DefectSettings()), (RESTORER_TERMS, RestorerSettings())],
)
def test_each_term_has_a_weight_and_each_weight_a_term(terms, settings) -> None:
    weights = {name for name in type(settings).model_fields if name.endswith("_weight")}
    assert weights == {f"{name}_weight" for name in terms}


def test_a_loss_without_a_term_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one of pixel_weight, .* above 0, got none"):
        measure(RESTORER_TERMS, restored(RestorerSettings(pixel_weight=0.0)))


def test_fit_affine_equals_least_squares() -> None:
    x, y = torch.rand(2, 50, dtype=torch.float64), torch.rand(2, 50, dtype=torch.float64)
    gain, x_mean, y_mean = fit_affine(x, y)
    for k in range(2):
        slope, intercept = np.polyfit(x[k].numpy(), y[k].numpy(), 1)
        assert gain[k].item() == pytest.approx(slope)
        assert (y_mean - gain * x_mean)[k].item() == pytest.approx(intercept)
    constant = torch.full((1, 50), 0.3)
    assert fit_affine(constant, torch.rand(1, 50), prior=1e-3)[0].item() == pytest.approx(1)


def test_the_energy_score_is_least_for_the_law_of_the_image() -> None:
    """Noise of another size, none, or none but the image itself score worse."""
    torch.manual_seed(0)
    clean = torch.rand(4, 1, 64, 64)
    clean = torch.nn.functional.avg_pool2d(clean, 9, 1, 4)

    def noisy(size: float) -> torch.Tensor:
        return clean + size * torch.randn_like(clean)

    scores = {size: energy_score(noisy(size), noisy(size), noisy(0.1), clean) for size in SIZES}
    assert min(scores, key=lambda size: float(scores[size])) == 0.1
    assert energy_score(noisy(0.1), noisy(0.1), noisy(0.1), clean) < 0.8 * scores[0.0]
    assert energy_score(clean, clean, clean, noisy(0.1)) < 0.02


SIZES = (0.0, 0.05, 0.1, 0.2)


@pytest.mark.parametrize("axis", [2, 3])
def test_unpaired_statistics_tell_lines_from_pixels(axis: int) -> None:
    """Noise by row or column and as much of it by pixel are told apart; two draws are not."""
    torch.manual_seed(0)

    def drawn(by_line: bool) -> torch.Tensor:
        clean = torch.nn.functional.avg_pool2d(torch.rand(8, 1, 64, 64), 9, 1, 4)
        noise = torch.randn(8, 1, 64, 64)
        return clean + 0.1 * (noise.narrow(axis, 0, 1).expand_as(noise) if by_line else noise)

    real = drawn(by_line=True)
    alike, other = unpaired_distance(drawn(True), real), unpaired_distance(drawn(False), real)
    assert alike < 0.15 * other


def test_images_of_one_kind_are_not_apart() -> None:
    torch.manual_seed(0)
    distances = [
        unpaired_distance(torch.rand(8, 1, 64, 64), torch.rand(8, 1, 64, 64)) for _ in range(4)
    ]
    assert abs(float(torch.stack(distances).mean())) < 0.1
