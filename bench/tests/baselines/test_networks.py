"""Networks of the GAN baselines, as their papers state them."""

import pytest
import torch
from torch import nn

from microscopygan_bench.baselines.networks import (
    PatchDiscriminator,
    ResNetGenerator,
    UNetGenerator,
    initialise,
)


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
