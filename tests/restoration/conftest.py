"""Two small restorers with random weights, and images to restore."""

from pathlib import Path

import numpy as np
import pytest
import torch

from microscopygan.gan.networks import build_restorer
from microscopygan.model_card import ModelCard
from microscopygan.restoration.model import Restorer
from microscopygan.settings import make_settings
from microscopygan.training.export_onnx import export_restorer, receptive_field


def export(path: Path, preset: str, channels: tuple[int, int, int], blocks: int) -> Path:
    torch.manual_seed(0)
    changes = {"channels": channels, "blocks": blocks}
    architecture = make_settings(preset, "scratch").restorer.architecture
    network = build_restorer(architecture.model_copy(update=changes))
    if network.tileable:
        torch.nn.init.normal_(network.last.weight, std=0.1)
    halo = receptive_field(network, 4) if network.tileable else (0, 0)
    card = ModelCard(
        program="0", halo=halo, multiple=4, tileable=network.tileable, defects=("noise", "axial")
    )
    assert export_restorer(network, path, card) <= 1e-4
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default network with few channels."""
    return export(tmp_path_factory.mktemp("model") / "restorer.onnx", "default", (4, 6, 8), 2)


@pytest.fixture(scope="session")
def restorer(model: Path) -> Restorer:
    """The default network, open."""
    return Restorer(model, threads=1)


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the preset "paper" with few channels: whole planes only."""
    return export(tmp_path_factory.mktemp("model") / "paper.onnx", "paper", (4, 4, 4), 1)


@pytest.fixture(scope="session")
def stack() -> np.ndarray:
    """(T, Z, C, Y, X) of different intensities: uint16."""
    rng = np.random.default_rng(5)
    levels = rng.integers(50, 900, (2, 1, 3, 1, 1))
    return (levels + rng.integers(0, 300, (2, 4, 3, 48, 70))).astype(np.uint16)
