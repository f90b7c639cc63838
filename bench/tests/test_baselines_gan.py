"""The GAN baselines: networks and losses as their papers state them, and what they learn."""

import doctest
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from microscopygan.defects.specimens import membranes, nuclei
from microscopygan_bench.baselines import cyclegan, deblurgan, pix2pix, training
from microscopygan_bench.baselines.networks import (
    PatchDiscriminator,
    ResNetGenerator,
    UNetGenerator,
    initialise,
)

METHODS = [pix2pix, deblurgan, cyclegan]
PAIRED = [pix2pix, deblurgan]


def specimens(kind, count: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [kind((64, 64), rng)[:side, :side] for _ in range(count)]


def psnr(images: list[np.ndarray], targets: list[np.ndarray]) -> float:
    """Mean over images, for a range of 0..1."""
    errors = [np.mean((a - b) ** 2) for a, b in zip(images, targets, strict=True)]
    return float(np.mean(-10 * np.log10(errors)))


def flat(targets: list[np.ndarray]) -> list[np.ndarray]:
    """Return the best images without any content."""
    return [np.full_like(target, target.mean()) for target in targets]


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("build", "millions"),
    [  # as their authors' PyTorch code prints them, for colour images
        (lambda: UNetGenerator(8), 54.414),
        (lambda: ResNetGenerator(9, dropout=True), 11.378),
        (lambda: ResNetGenerator(6), 7.838),
        (lambda: PatchDiscriminator(2, affine=True), 2.769),
        (lambda: PatchDiscriminator(1), 2.765),
    ],
)
def test_networks_have_the_published_size(build, millions: float) -> None:
    with torch.device("meta"):
        network = build()
    assert parameters(network) / 1e6 == pytest.approx(millions, rel=3e-3)


def test_patch_discriminator_sees_70_pixels() -> None:
    network = PatchDiscriminator(1, 2).double()
    for index, layer in enumerate(network.layers):
        if isinstance(layer, nn.InstanceNorm2d):  # its statistics would see the whole image
            network.layers[index] = nn.Identity()
    image = torch.zeros(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    scores = network(image)
    assert scores.shape == (1, 1, 18, 18)
    scores[0, 0, 9, 9].backward()
    seen = image.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


@pytest.mark.parametrize("depth", [5, 7, 8])
def test_u_net_halves_down_to_one_pixel_and_drops_in_full_width_blocks(depth: int) -> None:
    network = UNetGenerator(depth, 2)
    coarsest = []
    network.down[-1].register_forward_hook(lambda _, __, out: coarsest.append(out.shape[2:]))
    assert network(torch.zeros(1, 1, 2**depth, 2**depth)).shape == (1, 1, 2**depth, 2**depth)
    assert coarsest == [(1, 1)]
    dropouts = [any(isinstance(x, nn.Dropout) for x in block) for block in network.up]
    assert dropouts == [k < min(3, depth - 4) for k in range(depth - 1)]


def test_u_net_passes_detail_around_the_bottleneck() -> None:
    network = UNetGenerator(5, 2).eval()
    for block in network.up:
        nn.init.zeros_(block[1].weight)
    first, second = torch.rand(2, 1, 1, 32, 32)
    assert not torch.equal(network(first), network(second))


def test_weights_start_as_published() -> None:
    network = PatchDiscriminator(1, 32, affine=True)
    initialise(network)
    convolution, norm = network.layers[5], network.layers[6]
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert norm.weight.mean().item() == pytest.approx(1.0, abs=0.01)
    assert not norm.bias.any()


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


@given(st.integers(1, 200))
def test_rate_is_constant_then_falls_to_zero(constant: int) -> None:
    rates = [training.rate_factor(step, constant) for step in range(2 * constant + 1)]
    assert rates[:constant] == [1.0] * constant
    steps = np.diff(rates[constant - 1 :])
    assert np.allclose(steps, -1 / (constant + 1))
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert training.rate_factor(10**6, None) == 1


@settings(deadline=None)  # the first optimiser imports a lot
@given(st.floats(0.1, 10), st.floats(1, 100), st.floats(0, 0.5))
def test_budget_is_kept_and_halved(cost: float, seconds: float, before: float) -> None:
    now = [0.0]
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    budget = training.Budget(seconds, clock=lambda: now[0])
    now[0] += before * seconds  # what is made ready counts too
    rates = []

    def step() -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        now[0] += cost

    done = budget.spend(step, optimizer)
    assert done == len(rates) >= 1
    assert done == 1 or now[0] <= seconds + 1e-9
    constant = rates.count(2.0)
    assert rates == [2 * training.rate_factor(k, constant) for k in range(done)]
    assert done <= 2 * constant
    if done == 2 * constant or done == 1:
        return
    assert now[0] + cost > seconds - 1e-9


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_steps_end_a_training(steps: int) -> None:
    budget = training.Budget(math.inf, steps)
    calls = itertools.count()
    assert budget.spend(lambda: next(calls)) == next(calls) == steps


@pytest.mark.parametrize(("seconds", "steps"), [(0, None), (-1, 3), (math.inf, None), (5, 0)])
def test_budget_of_nothing_is_refused(seconds: float, steps: int | None) -> None:
    with pytest.raises(ValueError, match=r"^expected seconds above 0.*try seconds=300$"):
        training.Budget(seconds, steps)


def test_pairs_are_cut_alike_mirrored_and_never_turned() -> None:
    rows, columns = np.mgrid[:50, :60].astype(np.float32)
    scale = training.SignedScale(-1, 1)  # leaves intensities as they are
    groups = [[rows + 1000 * k, columns + 1000 * k] for k in range(4)]
    drawn = list(itertools.islice(training.crops(groups, 32, scale, 3), 40))
    slopes = set()
    for y, x in (pair for pair in drawn):
        assert y.shape == x.shape == (1, 1, 32, 32)
        assert (y.diff(dim=2) == 1).all()
        assert (y.diff(dim=3) == 0).all()
        slopes |= set(x.diff(dim=3).flatten().tolist())
        assert (y // 1000 == x // 1000).all()
    assert slopes == {-1, 1}
    kinds = [int(y[0, 0, 0, 0]) // 1000 for y, _ in drawn]
    assert all(sorted(kinds[k : k + 4]) == [0, 1, 2, 3] for k in range(0, 40, 4))


@given(st.floats(-5, 5), st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_scale_reaches_the_images_whatever_their_range(
    offset: float, gain: float, seed: int
) -> None:
    plane = offset + gain * np.random.default_rng(seed).random((40, 50))
    spotted = plane.copy()
    spotted[3, 4] += 1000 * gain
    scale = training.signed_scale([plane, plane[:33]])
    assert np.abs(scale.signed(plane)).max() < 1
    assert np.ptp(scale.signed(plane)) > 1
    assert np.allclose(scale.inverse(scale.signed(spotted)), spotted)
    assert np.ptp(training.signed_scale([spotted] * 3).signed(plane)) > 1


def test_scale_of_a_constant_image() -> None:
    scale = training.signed_scale([np.full((32, 32), 7.0)])
    assert scale.signed(np.float64(7)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (64, 32), (7, 129)])
def test_any_size_is_restored_the_same_each_time(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    network = UNetGenerator(5, 2)
    trained = training.finish(network, training.SignedScale(0, 1), 32, 0, 1)
    plane = np.random.default_rng(0).random(shape, np.float32)
    before, state = plane.copy(), torch.get_rng_state()
    (restored,) = trained.restore(plane[None])
    assert restored.shape == shape
    assert restored.dtype == np.float32
    assert np.array_equal(restored, trained.restore(plane[None])[0])
    assert np.array_equal(plane, before)
    assert torch.equal(state, torch.get_rng_state())
    assert trained.parameters == parameters(network)


@pytest.mark.parametrize("method", METHODS)
def test_training_is_a_function_of_seed_and_steps(method) -> None:
    rng = np.random.default_rng(0)
    inputs, targets = rng.random((2, 3, 33, 40), np.float32)
    plane = rng.random((35, 32), np.float32)
    state = torch.get_rng_state()
    first, again, other = (
        method.train(inputs, targets, seconds=1e9, steps=3, seed=seed, width=2)
        for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert first.steps == 3
    assert np.array_equal(first.restore(plane[None]), again.restore(plane[None]))
    assert not np.array_equal(first.restore(plane[None]), other.restore(plane[None]))


@pytest.mark.parametrize("method", METHODS)
def test_time_ends_a_training(method) -> None:
    planes = np.random.default_rng(0).random((2, 32, 32), np.float32)
    assert method.train(planes, planes, seconds=1e-6, seed=0, width=2).steps == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "inputs", [[], [np.zeros((31, 64))], [np.zeros(64)], [np.zeros((1, 64, 64))]]
)
def test_unfit_planes_are_refused_in_one_line(method, inputs: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"^expected [^\n]*; [^\n]*$"):
        method.train(inputs, inputs, seconds=1, seed=0)


@pytest.mark.parametrize("method", PAIRED)
@pytest.mark.parametrize("shapes", [[(32, 33)], [(32, 32), (32, 32)]])
def test_unequal_pairs_are_refused(method, shapes: list[tuple[int, int]]) -> None:
    targets = [np.zeros(shape) for shape in shapes]
    with pytest.raises(ValueError, match=r"^expected pairs .* try cyclegan$"):
        method.train([np.zeros((32, 32))], targets, seconds=1, seed=0)


def test_pix2pix_learns_to_remove_noise() -> None:
    clean = specimens(membranes, 14, 64)
    rng = np.random.default_rng(1)
    noisy = [(x + rng.normal(0, 0.3, x.shape)).astype(np.float32) for x in clean]
    trained = pix2pix.train(noisy[:10], clean[:10], seconds=1e9, steps=120, seed=0, width=8)
    restored = trained.restore(np.stack(noisy[10:]))
    assert psnr(restored, clean[10:]) > psnr(noisy[10:], clean[10:]) + 4
    assert psnr(restored, clean[10:]) > psnr(flat(clean[10:]), clean[10:]) + 2


def test_deblurgan_learns_to_remove_background_light() -> None:
    clean = specimens(membranes, 14, 32)
    bright = [x + np.float32(0.5) for x in clean]
    trained = deblurgan.train(bright[:10], clean[:10], seconds=1e9, steps=50, seed=0, width=8)
    restored = trained.restore(np.stack(bright[10:]))
    assert psnr(restored, clean[10:]) > psnr(bright[10:], clean[10:]) + 2
    kept = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(restored, clean[10:], strict=True)
    ]
    assert min(kept) > 0.95


def test_cyclegan_learns_the_intensities_of_the_clean_images_and_keeps_content() -> None:
    clean = specimens(nuclei, 14, 32)
    faded = [0.4 * x + np.float32(0.5) for x in clean]
    trained = cyclegan.train(faded[:5], clean[5:10], seconds=1e9, steps=160, seed=0, width=8)
    restored = trained.restore(np.stack(faded[10:]))
    gap = abs(np.mean(restored) - np.mean(clean[5:10]))
    assert gap < 0.2 * abs(np.mean(faded[10:]) - np.mean(clean[5:10]))
    assert psnr(restored, clean[10:]) > psnr(faded[10:], clean[10:]) + 4
    assert psnr(restored, clean[10:]) > psnr(flat(clean[10:]), clean[10:]) + 0.5


def test_docstrings_hold() -> None:
    assert doctest.testmod(training).failed == 0
