"""Laws of the networks: CIN against a reference, what is shared, sizes, reach."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from microscopygan.gan.networks import (
    ConditionalInstanceNorm,
    Corrector,
    DefectCritic,
    DefectGenerator,
    UNetRestorer,
    _moved,
    build_discriminator,
    build_generator,
    build_restorer,
    choose_rows,
    defect_rows,
)
from microscopygan.settings import DefectSettings, GeneratorArchitecture, make_settings

DEFAULT, PAPER = make_settings("default", "scratch"), make_settings("paper")


GENERATORS = pytest.mark.parametrize("network", ["dilated", "compact"])


def random_generator(network: str, defects: int = 3) -> DefectGenerator:
    torch.manual_seed(0)
    architecture = GeneratorArchitecture(network=network, channels=6, blocks=2)
    generator = build_generator(architecture, defects)
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    return generator


def draw(generator: DefectGenerator, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    simulated = torch.rand(shape[0], 1, *shape[1:])
    return simulated, generator.draw_noise(simulated, torch.Generator().manual_seed(1))


def test_cin_equals_instance_norm_with_the_same_weights() -> None:
    torch.manual_seed(0)
    ours = ConditionalInstanceNorm(5, 3)
    nn.init.normal_(ours.gamma)
    nn.init.normal_(ours.beta)
    x = torch.randn(4, 5, 9, 7)
    defect = torch.tensor([2, 0, 1, 2])
    found = ours(x, defect)
    for k in range(4):
        theirs = nn.InstanceNorm2d(5, affine=True)
        theirs.weight.data, theirs.bias.data = ours.gamma[defect[k]], ours.beta[defect[k]]
        torch.testing.assert_close(found[k : k + 1], theirs(x[k : k + 1]))


@GENERATORS
def test_a_mixed_batch_equals_each_defect_alone(network: str) -> None:
    generator = random_generator(network)
    simulated, noise = draw(generator, 3, 16, 16)
    defect = torch.tensor([1, 0, 2])
    together = generator(simulated, noise, defect)
    for k in range(3):
        alone = generator(simulated[k : k + 1], noise[k : k + 1], defect[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-4, rtol=1e-4)


@GENERATORS
def test_a_defect_touches_its_own_rows_only(network: str) -> None:
    generator = random_generator(network)
    simulated, noise = draw(generator, 2, 16, 16)
    defect = torch.tensor([1, 1])
    before = generator(simulated, noise, defect)
    before.square().mean().backward()
    for rows in defect_rows(generator).values():
        assert rows.grad is not None
        assert rows.grad[1].abs().sum() > 0
        assert rows.grad[[0, 2]].abs().sum() == 0
        rows.data[[0, 2]] += 1.0
    torch.testing.assert_close(generator(simulated, noise, defect), before, atol=0, rtol=0)


def test_every_convolution_but_the_last_has_cin() -> None:
    generator = build_generator(PAPER.defects.architecture, 3)
    convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in generator.modules() if isinstance(m, ConditionalInstanceNorm)]
    assert len(norms) == len(convolutions) - 1
    assert all(norm.gamma.shape[0] == 3 for norm in norms)


@GENERATORS
def test_another_noise_map_gives_another_image(network: str) -> None:
    generator = random_generator(network)
    simulated, defect = torch.rand(1, 1, 16, 16), torch.tensor([0])
    rng = torch.Generator().manual_seed(0)
    draws = [generator(simulated, generator.draw_noise(simulated, rng), defect) for _ in range(2)]
    assert (draws[0] - draws[1]).abs().max() > 1e-3


@pytest.mark.parametrize("chosen", [DEFAULT.defects, PAPER.defects], ids=["default", "paper"])
def test_an_untrained_generator_returns_its_simulated(chosen: DefectSettings) -> None:
    generator = build_generator(chosen.architecture, 2)
    simulated, noise = draw(generator, 1, 32, 32)
    torch.testing.assert_close(generator(simulated, noise, torch.tensor([1])), simulated)


def test_a_corrector_without_code_and_rows_changes_no_bit() -> None:
    """Whatever its shared weights: a correction that is not kept leaves what physics simulates."""
    generator = random_generator("dilated")
    choose_rows(generator, [0, None])
    simulated, noise = draw(generator, 2, 48, 40)
    made = generator(simulated, noise, torch.tensor([0, 1]))
    assert torch.equal(made[1], simulated[1])
    assert not torch.allclose(made[0], simulated[0])


def test_the_corrector_sees_sixty_pixels_and_more() -> None:
    """As far as its convolutions reach, normalisations apart: their statistics see it all."""
    generator = Corrector(DEFAULT.defects.architecture, 1)
    convolutions = [generator.stem, *generator.wide, *generator.near, generator.last]
    assert 2 * (1 + 2 * sum(layer.dilation[0] for layer in convolutions)) >= 60


def test_noise_maps_are_by_pixel_row_column_and_coarse() -> None:
    generator = Corrector(DEFAULT.defects.architecture, 1)
    noise = draw(generator, 8, 96, 64)[1]
    assert noise.shape == (8, 8, 96, 64)
    torch.testing.assert_close(noise.std((0, 2, 3)), torch.ones(8), atol=0.2, rtol=0)
    for maps, axis in ((noise[:, 2:4], 3), (noise[:, 4:6], 2)):
        assert maps.diff(dim=axis).abs().max() == 0
        assert maps.diff(dim=5 - axis).abs().mean() > 1
    for coarse in noise[:, 6:].unbind(1):
        assert coarse.diff(dim=1).abs().mean() < 0.3


def test_a_corrector_moves_rows() -> None:
    image = torch.rand(1, 1, 3, 16)
    moved = _moved(image, torch.tensor([0.0, 2.0, -0.5])[None, None, :, None].expand(1, 1, 3, 16))
    assert torch.equal(moved[0, 0, 0], image[0, 0, 0])
    torch.testing.assert_close(moved[0, 0, 1, :12], image[0, 0, 1, 2:14], atol=0.05, rtol=0)
    half = (image[0, 0, 2, :-1] + image[0, 0, 2, 1:]) / 2
    torch.testing.assert_close(moved[0, 0, 2, 1:], half, atol=0.02, rtol=0)


@GENERATORS
def test_new_rows_keep_every_other_weight(network: str) -> None:
    generator = random_generator(network)
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    choose_rows(generator, [0, 1, 2, 1, None])
    rows = defect_rows(generator)
    for name, value in generator.state_dict().items():
        kept = value[:3] if name in rows else value
        assert torch.equal(kept, before[name])
        if name in rows:
            assert torch.equal(value[3], before[name][1])
            zero = name in ("gain", "code", "rows")
            new = torch.zeros_like(before[name][0]) if zero else before[name].mean(0)
            torch.testing.assert_close(value[4], new)


def test_the_default_restorer_fits_a_laptop() -> None:
    restorer = build_restorer(DEFAULT.restorer.architecture)
    with FlopCounterMode(display=False) as counter:
        restorer(torch.rand(1, 1, 128, 128))
    assert sum(p.numel() for p in restorer.parameters()) <= 1_500_000
    assert counter.get_total_flops() / 2 <= 1.5e9


def test_the_paper_preset_has_the_2019_sizes() -> None:
    assert PAPER.defects.architecture.blocks == 9
    assert PAPER.restorer.architecture.blocks == 12
    assert PAPER.restorer.architecture.channels == (64, 128, 256)
    assert not build_restorer(PAPER.restorer.architecture).tileable


def test_an_untrained_paper_restorer_returns_its_input() -> None:
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(build_restorer(PAPER.restorer.architecture)(image), image)


def test_the_paper_restorer_follows_gain_and_offset() -> None:
    torch.manual_seed(0)
    narrow = PAPER.restorer.architecture.model_copy(update={"channels": (4, 4, 4), "blocks": 1})
    restorer = build_restorer(narrow)
    nn.init.normal_(restorer.layers[-1].weight)
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        found, wanted = restorer(3 * image - 1), 3 * restorer(image) - 1
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    assert (wanted - 3 * image + 1).abs().max() > 0.1


def test_the_paper_networks_can_leave_their_input_out() -> None:
    """By a constant of the last layer; it need not come through a quarter of the size."""
    image = torch.rand(1, 1, 32, 32)
    restorer = build_restorer(PAPER.restorer.architecture)
    restorer.layers[-1].bias.data[1] = 1.0
    generator = build_generator(PAPER.defects.architecture, 1)
    generator.last.bias.data[3] = 1.0
    made = generator(image, torch.randn_like(image), torch.tensor([0]))
    for flat in (restorer(image), made):
        torch.testing.assert_close(flat, image.mean().expand_as(image), atol=1e-5, rtol=1e-5)


def test_the_restorer_holds_no_statistics_of_the_image() -> None:
    kinds = {type(m).__name__ for m in UNetRestorer(DEFAULT.restorer.architecture).modules()}
    assert not any("Norm" in kind for kind in kinds)


@pytest.mark.parametrize("chosen", [DEFAULT.restorer, PAPER.restorer])
def test_discriminators_score_pairs(chosen) -> None:
    chosen = chosen.model_copy(update={"patch": 32})
    image = torch.rand(2, 1, 32, 32)
    assert build_discriminator(chosen)(image, image).shape[0] == 2


def test_the_critic_is_told_the_defect() -> None:
    torch.manual_seed(0)
    critic, image = DefectCritic(2), torch.rand(1, 1, 32, 32)
    assert not torch.equal(critic(image, torch.tensor([0])), critic(image, torch.tensor([1])))
