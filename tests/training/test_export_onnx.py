"""Export: the reach of the network, exactly; memory for a pixel; the file and its card."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from microscopygan.gan.cgan import load_restorer
from microscopygan.gan.networks import UNetRestorer, build_restorer
from microscopygan.model_card import KEY, ModelCard
from microscopygan.restoration.model import Restorer
from microscopygan.settings import make_settings
from microscopygan.training import export_onnx
from microscopygan.training.export_onnx import bytes_per_pixel, export_restorer, receptive_field
from microscopygan.training.fine_tuning import RESTORER

DEFAULT = make_settings("default", "scratch").restorer.architecture


def unet(blocks: int) -> nn.Module:
    """The default network with few channels."""
    return build_restorer(DEFAULT.model_copy(update={"channels": (1, 2, 2), "blocks": blocks}))


@pytest.mark.parametrize("blocks", range(1, 17))
def test_the_reach_of_the_u_net_is_that_of_theory(blocks: int) -> None:
    # 1 + 2 + 2 + 1 at full size, (2 + 2) · 2 at half, 2 · blocks · 4 at a quarter, and up to 3
    # pixels from the place within a cell of 4.
    reach = 14 + 8 * blocks + 3
    assert receptive_field(unet(blocks), UNetRestorer.multiple) == (reach, reach)


def test_the_reach_is_that_of_each_axis() -> None:
    assert receptive_field(nn.Conv2d(1, 1, 5, padding=2), 1) == (2, 2)
    assert receptive_field(nn.Conv2d(1, 1, (3, 7), padding=(1, 3)), 1) == (1, 3)
    one = nn.Conv2d(1, 1, 5, padding=2)
    assert receptive_field(nn.Sequential(one, one), 1) == (4, 4)
    dilated = nn.Conv2d(1, 1, (1, 3), padding=(0, 150), dilation=(1, 150))
    assert receptive_field(nn.Sequential(dilated, nn.ReLU(), dilated), 1) == (0, 300)


def test_weights_of_zero_or_of_either_sign_hide_no_path() -> None:
    network = unet(2)
    nn.init.zeros_(network.last.weight)
    nn.init.constant_(network.stem.bias, -3.0)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    assert receptive_field(network, 4) == (33, 33)
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


def test_a_network_that_answers_an_empty_image_is_refused() -> None:
    with pytest.raises(ValueError, match="without constants"):
        receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid()), 1)


def test_the_halo_of_the_model_that_ships_is_exact() -> None:
    card = Restorer().card
    shipped = build_restorer(DEFAULT.model_copy(update={"hints": card.hints}))
    assert receptive_field(shipped, card.multiple) == card.halo


def test_neighbouring_planes_go_into_the_file(tmp_path: Path) -> None:
    small = DEFAULT.model_copy(update={"channels": (2, 2, 2), "blocks": 1, "planes": 3})
    network = build_restorer(small)
    nn.init.normal_(network.last.weight)
    assert receptive_field(network, 4, planes=3) == receptive_field(unet(1), 4)
    wide = nn.Conv2d(3, 1, 5, padding=2)
    nn.init.zeros_(wide.weight[:, 1])
    assert receptive_field(wide, 1, planes=3) == (2, 2)
    card = ModelCard(program="0", planes=3, halo=(25, 25), multiple=4, defects=("noise",))
    assert export_restorer(network, tmp_path / "restorer.onnx", card) <= 1e-4
    restorer = Restorer(tmp_path / "restorer.onnx")
    assert restorer.card.planes == 3
    windows = np.random.default_rng(0).random((2, 3, 40, 52), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(restorer.run_windows(windows), expected, atol=1e-4)


def test_the_file_says_what_was_measured(tmp_path: Path) -> None:
    network = unet(1)
    card = ModelCard(program="0", halo=(25, 25), multiple=4, defects=("noise",))
    path = tmp_path / "restorer.onnx"
    assert export_restorer(network, path, card) <= 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    stated = session.get_modelmeta().custom_metadata_map[KEY]
    written = ModelCard.from_json(stated, "restorer.onnx")
    assert written.parameters == sum(weight.numel() for weight in network.parameters())
    assert written.bytes_per_pixel % 20 == 0
    assert 20 <= written.bytes_per_pixel <= 1000
    assert [output.name for output in session.get_outputs()] == ["mean"]
    assert written.sha256 is not None
    kept = written.model_copy(update={"parameters": None, "bytes_per_pixel": 280, "sha256": None})
    assert kept == card
    assert list(tmp_path.iterdir()) == [path]


def test_memory_for_a_pixel_is_that_of_the_default_network() -> None:
    """Its coarser scales in whole numbers of eight bits; in float32 it takes 257 to 269 bytes."""
    measured = {bytes_per_pixel(Restorer().path.read_bytes()) for _ in range(2)}
    assert max(measured) - min(measured) <= 20
    assert 280 <= min(measured) <= max(measured) <= 380


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_adapted_generalist_states_the_memory_of_the_one_that_ships(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "float32":
        monkeypatch.setattr(export_onnx, "quantised", lambda graph: None)
    card = Restorer().card
    path = tmp_path / "restorer.onnx"
    export_restorer(load_restorer(RESTORER), path, card.model_copy(update={"bytes_per_pixel": 1}))
    again = Restorer(path).card
    assert again.precision == precision
    assert again.bytes_per_pixel == card.bytes_per_pixel


def test_a_model_that_does_not_run_has_no_memory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="could not be measured"):
        bytes_per_pixel(b"no model")


def test_outputs_are_taken_by_name(tmp_path: Path) -> None:
    path = tmp_path / "restorer.onnx"
    card = ModelCard(program="0", halo=(25, 25), multiple=4, defects=("noise",))
    export_restorer(unet(1), path, card)
    wide = onnx.load(path)
    for name, factor in (("lower", 0.5), ("upper", 2.0)):
        value = onnx.numpy_helper.from_array(np.float32(factor), f"{name}_factor")
        wide.graph.initializer.append(value)
        node = onnx.helper.make_node("Mul", ["mean", f"{name}_factor"], [name])
        wide.graph.node.append(node)
        output = onnx.ValueInfoProto()
        output.CopyFrom(wide.graph.output[0])
        output.name = name
        wide.graph.output.insert(0, output)
    stated = card.model_copy(update={"outputs": ("upper", "lower", "mean")})
    onnx.helper.set_model_props(wide, {KEY: stated.model_dump_json()})
    onnx.save(wide, tmp_path / "wide.onnx")
    plane = np.random.default_rng(0).random((40, 52), dtype=np.float32)
    expected = Restorer(path).restore_plane(plane)
    assert np.array_equal(Restorer(tmp_path / "wide.onnx").restore_plane(plane), expected)
