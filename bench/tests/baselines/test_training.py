"""The one training of the GAN baselines: crops, scale, budget; a function of seed and steps."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from microscopygan_bench.baselines import cyclegan, deblurgan, pix2pix, training
from microscopygan_bench.baselines.networks import UNetGenerator

METHODS = [pix2pix, deblurgan, cyclegan]


PAIRED = [pix2pix, deblurgan]


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


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
