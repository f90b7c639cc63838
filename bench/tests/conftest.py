"""What several tests share."""

from pathlib import Path

import pytest

from microscopygan.gan.networks import UNetRestorer
from microscopygan.model_card import ModelCard
from microscopygan.settings import RestorerArchitecture
from microscopygan.training.export_onnx import export_restorer, receptive_field


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer of few channels."""
    path = tmp_path_factory.mktemp("model") / "restorer.onnx"
    network = UNetRestorer(RestorerArchitecture(channels=(4, 4, 4), blocks=1))
    halo = receptive_field(network, network.multiple)
    export_restorer(network, path, ModelCard(program="0", halo=halo, multiple=4, defects=("a",)))
    return path
