"""A step changes one network only, and of it what trains."""

import torch
from accelerate import Accelerator
from torch import nn

from microscopygan.gan.step import update


def step(network: nn.Module, loss: torch.Tensor) -> None:
    update(network, torch.optim.SGD(network.parameters(), 0.1), loss, Accelerator(cpu=True))


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def test_update_touches_only_what_it_is_given() -> None:
    one, two = nn.Linear(2, 1), nn.Linear(2, 1)
    before = weights(two)
    step(one, (one(torch.ones(1, 2)) + two(torch.ones(1, 2))).sum())
    assert all(torch.equal(a, b) for a, b in zip(two.parameters(), before, strict=True))
    assert two.weight.grad is None


def test_a_step_goes_down_the_gradient() -> None:
    network = nn.Linear(2, 1)
    weight, bias = weights(network)
    step(network, network(torch.tensor([[1.0, 2.0]])).sum())
    torch.testing.assert_close(network.weight, weight - torch.tensor([[0.1, 0.2]]))
    torch.testing.assert_close(network.bias, bias - 0.1)


def test_what_is_frozen_or_without_part_in_the_loss_stays() -> None:
    network = nn.ModuleDict({name: nn.Linear(1, 1) for name in ("used", "frozen", "unused")})
    network["frozen"].requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step(network, network["frozen"](network["used"](torch.ones(1, 1))).sum())
    changed = {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"used.weight", "used.bias"}
    assert network["frozen"].weight.grad is None
