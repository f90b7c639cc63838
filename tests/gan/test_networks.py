"""Laws of the networks: CIN against a reference, what is shared, sizes, reach."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from microscopygan.gan.networks import (
    ConditionalInstanceNorm,
    DefectCritic,
    DefectGenerator,
    UNetRestorer,
    build_discriminator,
    build_restorer,
    choose_rows,
    defect_rows,
)
from microscopygan.settings import GeneratorArchitecture, make_settings

DEFAULT, PAPER = make_settings("default", "scratch"), make_settings("paper")


def random_generator(defects: int = 3) -> DefectGenerator:
    torch.manual_seed(0)
    generator = DefectGenerator(GeneratorArchitecture(channels=6, blocks=2), defects)
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    return generator


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


def test_a_mixed_batch_equals_each_defect_alone() -> None:
    generator = random_generator()
    simulated, noise = torch.rand(3, 1, 16, 16), torch.randn(3, 1, 16, 16)
    defect = torch.tensor([1, 0, 2])
    together = generator(simulated, noise, defect)
    for k in range(3):
        alone = generator(simulated[k : k + 1], noise[k : k + 1], defect[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-5, rtol=1e-5)


def test_a_defect_touches_its_own_rows_only() -> None:
    generator = random_generator()
    simulated, noise = torch.rand(2, 1, 16, 16), torch.randn(2, 1, 16, 16)
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
    for settings in (DEFAULT.defects, PAPER.defects):
        generator = DefectGenerator(settings.architecture, 3)
        convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d)]
        norms = [m for m in generator.modules() if isinstance(m, ConditionalInstanceNorm)]
        assert len(norms) == len(convolutions) - 1
        assert all(norm.gamma.shape[0] == 3 for norm in norms)


def test_another_noise_map_gives_another_image() -> None:
    generator = random_generator()
    simulated, defect = torch.rand(1, 1, 16, 16), torch.tensor([0])
    first, second = (generator(simulated, torch.randn(1, 1, 16, 16), defect) for _ in range(2))
    assert (first - second).abs().max() > 1e-3


def test_an_untrained_generator_returns_its_simulated() -> None:
    simulated = torch.rand(1, 1, 16, 16)
    made = DefectGenerator(DEFAULT.defects.architecture, 2)(
        simulated, torch.randn_like(simulated), torch.tensor([1])
    )
    torch.testing.assert_close(made, simulated)


def test_new_rows_keep_every_other_weight() -> None:
    generator = random_generator()
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    choose_rows(generator, [0, 1, 2, 1, None])
    rows = defect_rows(generator)
    for name, value in generator.state_dict().items():
        kept = value[:3] if name in rows else value
        assert torch.equal(kept, before[name])
        if name in rows:
            assert torch.equal(value[3], before[name][1])
            new = torch.zeros(3) if name == "gain" else before[name].mean(0)
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
    generator = DefectGenerator(PAPER.defects.architecture, 1)
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
