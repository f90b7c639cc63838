"""Whole numbers inside a restorer: what is lost, what stays in floats, tiles."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from microscopygan.defects.specimens import nuclei
from microscopygan.gan.cgan import load_restorer
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import GENERALIST, MODELS
from microscopygan.training import quantisation
from microscopygan.training.fine_tuning import RESTORER

PLANE = nuclei((96, 128), np.random.default_rng(0)) + np.float32(0.1) * np.random.default_rng(
    1
).standard_normal((96, 128), np.float32)


def graph(channels: int) -> onnx.ModelProto:
    """A convolution that bears the name of one that is rounded, then one that does not."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    shape = ["batch", 1, "y", "x"]
    image, mean = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("image", "mean")
    )
    sizes = {"stem.weight": (channels, 1), "coarse.weight": (channels, channels)}
    sizes |= {"last.weight": (1, channels)}
    weights, nodes, before = [], [], "image"
    for name, (outputs, inputs) in sizes.items():
        kernel = rng.standard_normal((outputs, inputs, 3, 3), np.float32) / (10 * inputs)
        weights.append(onnx.numpy_helper.from_array(kernel, name))
        after = "mean" if name == "last.weight" else f"{name} applied"
        nodes.append(helper.make_node("Conv", [before, name], [after], name, pads=[1, 1, 1, 1]))
        before = after
    made = helper.make_graph(nodes, "restorer", [image], [mean], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def test_only_wide_convolutions_of_the_coarser_scales_are_rounded() -> None:
    assert quantisation.quantised(graph(4)) is None
    rounded = quantisation.quantised(graph(32))
    assert rounded is not None
    whole = [tensor for tensor in rounded.graph.initializer if tensor.data_type == 3]  # int8
    assert [tuple(tensor.dims) for tensor in whole if len(tensor.dims) == 4] == [(32, 32, 3, 3)]
    assert not rounded.metadata_props
    assert [i.name for i in rounded.graph.input] == ["image"]


def test_a_restorer_that_loses_by_it_stays_in_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantisation, "TOLERANCE", 0.0)
    assert quantisation.quantised(graph(32)) is None


def test_the_same_weights_are_rounded_alike() -> None:
    first, second = (quantisation.quantised(graph(32)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.SerializeToString() == second.SerializeToString()


@pytest.mark.parametrize("hinted", [(), ("noise",), ("haze", "noise"), ("axial",)])
def test_the_generalist_is_rounded_and_keeps_what_its_weights_give(hinted: tuple[str, ...]) -> None:
    restorer, network = Restorer(), load_restorer(RESTORER)
    assert restorer.card.precision == "int8"
    assert "QuantizeLinear" in operators(onnx.load(MODELS[GENERALIST].path))
    with torch.no_grad():
        hint = np.array([[name in hinted for name in restorer.card.hints]], np.float32)
        image = torch.from_numpy(PLANE)[None, None]
        expected = network(image, torch.from_numpy(hint))[0, 0].numpy()
    session = onnxruntime.InferenceSession(
        MODELS[GENERALIST].path, providers=["CPUExecutionProvider"]
    )
    feed = {"image": np.stack([PLANE] * 3)[None], "hint": hint}
    restored = session.run(None, feed)[0][0, 0]
    assert np.sqrt(np.mean((restored - expected) ** 2)) < quantisation.TOLERANCE
    noise = np.sqrt(np.mean((PLANE - expected) ** 2))
    assert noise > 20 * np.sqrt(np.mean((restored - expected) ** 2))


def test_the_generalist_gives_the_same_bits_in_tiles() -> None:
    restorer = Restorer()
    whole = restorer.run_windows(np.stack([PLANE] * 3)[None])[0, 0]
    tile = restorer.run_windows(np.stack([PLANE[8:88, 20:120]] * 3)[None])[0, 0]
    assert np.array_equal(tile[36:-36, 36:-36], whole[44:52, 56:84])
