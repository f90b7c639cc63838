"""What several tests share."""

from pathlib import Path

import hypothesis
import pytest

from microscopygan.gan.networks import UNetRestorer
from microscopygan.model_card import ModelCard
from microscopygan.settings import RestorerArchitecture
from microscopygan.training.export_onnx import export_restorer, receptive_field

hypothesis.settings.register_profile("busy", deadline=None)  # machines may be busy
hypothesis.settings.load_profile("busy")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer of few channels."""
    return export(tmp_path_factory.mktemp("model") / "restorer.onnx", 1)


@pytest.fixture(scope="session")
def deep_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer of few channels that sees three planes."""
    return export(tmp_path_factory.mktemp("model") / "deep.onnx", 3)


def export(path: Path, planes: int) -> Path:
    network = UNetRestorer(RestorerArchitecture(channels=(4, 4, 4), blocks=1, planes=planes))
    halo = receptive_field(network, network.multiple, planes)
    card = ModelCard(program="0", planes=planes, halo=halo, multiple=4, defects=("a",))
    export_restorer(network, path, card)
    return path
