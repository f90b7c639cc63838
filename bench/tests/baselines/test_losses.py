"""Losses of the GAN baselines, as their papers weigh them."""

import pytest
import torch

from microscopygan_bench.baselines import cyclegan, deblurgan, training


def test_gradient_penalty_vanishes_at_slope_one() -> None:
    weights = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    weights /= weights.norm()
    gan = object.__new__(deblurgan.DeblurGAN)
    gan.critic = lambda image: (image * weights).sum((1, 2, 3), keepdim=True)
    target, made = torch.randn(2, 1, 1, 8, 8, dtype=torch.float64)
    wasserstein = (weights * (made - target)).sum()
    assert gan.critic_loss(target, made).item() == pytest.approx(wasserstein.item())
    weights *= 3  # ten times (3 - 1)²
    assert gan.critic_loss(target, made).item() == pytest.approx(3 * wasserstein.item() + 40)


def test_cycle_gan_losses_have_the_published_weights() -> None:
    gan = object.__new__(cyclegan.CycleGAN)
    gan.clean_critic = gan.spoilt_critic = torch.ones_like  # both are deceived
    spoilt, clean = torch.rand(2, 1, 1, 4, 4)

    def loss(cleaner, spoiler) -> float:
        gan.cleaner, gan.spoiler = cleaner, spoiler
        return gan.generator_loss(spoilt, clean, cleaner(spoilt), spoiler(clean)).item()

    assert loss(lambda x: x, lambda x: x) == 0
    assert loss(lambda x: x + 1, lambda x: x - 1) == pytest.approx(5 * (1 + 1))
    assert loss(lambda x: x + 1, lambda x: x + 1) == pytest.approx(10 * (2 + 2) + 5 * (1 + 1))
    gan.clean_critic = torch.zeros_like  # one is not
    assert loss(lambda x: x, lambda x: x) == 1


def test_least_squares_are_halved_for_discriminators() -> None:
    one, zero = torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    assert cyclegan.halved_critic_loss(one, zero) == 0
    assert cyclegan.halved_critic_loss(zero, one) == 1
    assert cyclegan.halved_critic_loss(zero, zero) == 0.5


def test_image_pool_keeps_fifty_and_shows_older_ones_half_of_the_time() -> None:
    pool = cyclegan.ImagePool()
    with training.seeded(0):
        shown = [int(pool.swap(torch.tensor(float(k)))) for k in range(650)]
    assert shown[:50] == list(range(50))
    assert len(pool.images) == 50
    older = [given for made, given in enumerate(shown) if given < made]
    assert 0.4 * 600 < len(older) < 0.6 * 600
    assert len(set(older)) == len(older)  # what was shown again has left the pool
