"""CIN-GAN: its generator on disk, what its losses prefer, what learns faster."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from microscopygan.defects.base import Defect
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.gan.checkpoints import read_tensors
from microscopygan.gan.cin_gan import CinGan, load_defects, save_defects
from microscopygan.gan.losses import GENERATOR_TERMS, Generated, measure, weight_of
from microscopygan.gan.networks import Corrector, build_generator, defect_rows
from microscopygan.settings import DefectSettings, GeneratorArchitecture, make_settings
from microscopygan.training.loop import set_rates

EARLIER = Path(__file__).parents[1] / "earlier_run"  # written by version 0.1.0
DEFAULT, PAPER = make_settings("default", "scratch").defects, make_settings("paper").defects


@pytest.mark.parametrize("network", ["dilated", "compact", "resnet"])
def test_a_generator_comes_back_with_its_architecture_and_names(
    tmp_path: Path, network: str
) -> None:
    before = build_generator(GeneratorArchitecture(network=network, channels=4, blocks=2), 2)
    save_defects(tmp_path / "d.safetensors", before, ("rows", "noise"))
    after, names = load_defects(tmp_path / "d.safetensors")
    assert names == ("rows", "noise")
    assert after.architecture == before.architecture
    assert all(torch.equal(v, after.state_dict()[k]) for k, v in before.state_dict().items())
    about, _ = read_tensors(tmp_path / "d.safetensors")
    assert set(about) == {"format", "defects", "architecture"}


def test_generators_of_earlier_versions_are_read() -> None:
    older, names = load_defects(EARLIER / "defects.safetensors")
    assert older.architecture == GeneratorArchitecture(channels=4, blocks=1)
    assert names == ("dust", "lowres", "noise")


def test_what_ships_is_shared_weights_and_the_codes_of_laboratories() -> None:
    path = Path(str(files("microscopygan") / "weights")) / "generalist_defects.safetensors"
    shipped, names = load_defects(path)
    assert isinstance(shipped, Corrector)
    assert (shipped.architecture, names) == (DEFAULT.architecture, ())
    assert shipped.laboratories.any(1).all()
    assert path.stat().st_size < 4_000_000


def narrow(chosen: DefectSettings) -> CinGan:
    architecture = chosen.architecture.model_copy(update={"channels": 4, "blocks": 1})
    small = chosen.model_copy(update={"architecture": architecture})
    return CinGan(small, ("a",), Accelerator(cpu=True), seed=0)


@pytest.mark.parametrize("chosen", [DEFAULT, PAPER], ids=["default", "paper"])
@pytest.mark.parametrize("defect", [Noise(photons=20), LowResolution(sigma=2.0, binning=2)])
def test_a_real_defect_costs_less_than_the_clean_image(
    chosen: DefectSettings, defect: Defect
) -> None:
    """Else the best that a generator can do is to change nothing."""
    rng = np.random.default_rng(0)
    clean = [nuclei((64, 64), rng) for _ in range(4)]
    made, real = ([defect.apply(x, rng) for x in part] for part in (clean[:2], clean[2:]))
    batch = {name: _stack(some) for name, some in (("clean", clean[:2]), ("real", real))}
    batch["defect"] = torch.zeros(2, dtype=torch.int64)
    costs = [distance(x, batch, chosen) for x in (_stack(made), batch["clean"])]
    assert costs[0] < 0.8 * costs[1]


def distance(image: torch.Tensor, batch: dict[str, torch.Tensor], chosen: DefectSettings) -> float:
    """The loss of the generator without the critic."""
    names = ("clean", "real", "defect")
    images = Generated(image, *(batch[name] for name in names), chosen, lambda x: x)
    terms = measure(GENERATOR_TERMS, images, leave_out="adversarial")
    return float(sum(weight_of(name, chosen) * term for name, term in terms.items()))


def test_rows_train_at_a_rate_of_their_own() -> None:
    gan = narrow(PAPER)
    generator = gan.networks["generator"]
    set_rates(gan, PAPER.model_copy(update={"steps": 10**6}), 100)
    rates = {
        id(parameter): group["lr"]
        for group in gan.optimizers["generator"].param_groups
        for parameter in group["params"]
    }
    rows = defect_rows(generator)
    for name, parameter in generator.named_parameters():
        wanted = PAPER.row_rate if name in rows else PAPER.learning_rate
        assert rates[id(parameter)] == pytest.approx(wanted, rel=1e-3)


def _stack(planes: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(planes)).float()[:, None]


def test_a_resnet_of_an_earlier_version_makes_the_same_images() -> None:
    generator, names = load_defects(EARLIER / "resnet_defects.safetensors")
    assert names == ("noise", "lowres")
    torch.manual_seed(1)
    clean, noise = torch.rand(1, 1, 16, 16), torch.randn(1, 1, 16, 16)
    image = generator(clean, noise, torch.tensor([1]))[0, 0, :2, :3]
    wanted = [[3.034631, 0.125600, 0.425608], [2.432191, -0.189514, 0.583633]]
    torch.testing.assert_close(image, torch.tensor(wanted), atol=1e-5, rtol=0)
