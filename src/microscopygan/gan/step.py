"""One optimiser step of one network, the same on every process."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn


def update(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, accelerator: Accelerator
) -> None:
    """One optimiser step for `network` alone; gradients are averaged over the processes."""
    optimizer.zero_grad(set_to_none=True)
    parameters = [p for p in network.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = torch.zeros_like(parameter) if grad is None else grad
    if accelerator.num_processes > 1:
        _average_gradients(parameters, accelerator)
    optimizer.step()


def _average_gradients(parameters: list[nn.Parameter], accelerator: Accelerator) -> None:
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = accelerator.reduce(torch.cat([g.flatten() for g in grads]), reduction="mean")
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))
