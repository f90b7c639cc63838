"""CIN-GAN's generator on disk."""

from importlib.resources import files
from pathlib import Path

import torch

from microscopygan.gan.checkpoints import read_tensors
from microscopygan.gan.cin_gan import load_defects, save_defects
from microscopygan.gan.networks import DefectGenerator
from microscopygan.settings import HINTS, GeneratorArchitecture

EARLIER = Path(__file__).parents[1] / "earlier_run"  # written by version 0.1.0


def test_a_generator_comes_back_with_its_architecture_and_names(tmp_path: Path) -> None:
    before = DefectGenerator(GeneratorArchitecture(channels=4, blocks=2), 2)
    save_defects(tmp_path / "d.safetensors", before, ("rows", "noise"))
    after, names = load_defects(tmp_path / "d.safetensors")
    assert names == ("rows", "noise")
    assert after.architecture == before.architecture
    assert all(torch.equal(v, after.state_dict()[k]) for k, v in before.state_dict().items())
    about, _ = read_tensors(tmp_path / "d.safetensors")
    assert set(about) == {"format", "defects", "architecture"}


def test_generators_of_earlier_versions_are_read() -> None:
    weights = Path(str(files("microscopygan") / "weights"))
    shipped, names = load_defects(weights / "generalist_defects.safetensors")
    assert (shipped.architecture, names) == (GeneratorArchitecture(), HINTS)
    older, names = load_defects(EARLIER / "defects.safetensors")
    assert older.architecture == GeneratorArchitecture(channels=4, blocks=1)
    assert names == ("dust", "lowres", "noise")
