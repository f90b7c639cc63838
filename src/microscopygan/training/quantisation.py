"""Whole numbers of eight bits inside a restorer: half as long, at a loss that is measured.

The convolutions of the coarser scales take most of the time, and what they give is refined at full
resolution afterwards. Their inputs and weights are rounded to eight bits; what runs beside them,
and all that happens at full resolution, stays in float32. Processors multiply such numbers two to
four times as fast. An intensity far above those of the virtual laboratories that the steps are
measured on is cut off inside these layers alone, so that it is restored less, and kept.

Channels differ in range, but share their steps. So each is divided by a factor before it is
rounded, and the weights that take it are multiplied by that: the same function, with finer steps.

Static quantisation: Jacob et al. 2018, arXiv 1712.05877, done by ONNX Runtime; factors of channels:
SmoothQuant, Xiao et al. 2023, arXiv 2211.10438.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from ..settings import LaboratorySettings
from .laboratories import Specimens, draw_laboratory

TOLERANCE = 0.0025  # RMS in parts of the range; a restorer that loses more stays in float32
_PARTS = ("coarse.", "middle_up.")  # of the U-Net: weights whose names begin so
_NARROW = 32  # channels; convolutions of fewer are not faster in whole numbers
_FAINTEST = np.float32(0.02)  # of the largest factor of a layer's channels, the smallest
_DRAWN, _IMAGES = 12, 2  # laboratories, and images of each
_DONE = {"onnx.quant.pre_process": "onnxruntime.quant"}  # sizes are free: no shapes to infer
Feed = dict[str, NDArray[np.float32]]
Factors = NDArray[np.floating[Any]]  # of channels


def quantised(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Round what the coarser scales of a restorer multiply to eight bits.

    Parameters
    ----------
    model
        Of `training.export_onnx`: (B, planes, Y, X) and, where it takes one, a hint (B, H).

    Returns
    -------
    onnx.ModelProto or None
        The same inputs and outputs; None where no part of it gains, or where the first output
        differs by more than `TOLERANCE` from what it was, on virtual laboratories.
    """
    prepared = copy.deepcopy(model)
    convolutions, rectifiers = _coarse(prepared)
    if not convolutions:
        return None
    feeds = _feeds(model)
    _even_out(prepared, convolutions, rectifiers, feeds)
    onnx.helper.set_model_props(prepared, _DONE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            prepared,
            path,
            _Reader(iter(feeds)),
            per_channel=True,
            reduce_range=True,  # else sums overflow where a processor has no instruction for them
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[node.name for node in (*convolutions, *rectifiers)],
        )
        rounded = onnx.load(path)
    del rounded.metadata_props[:]
    return rounded if _difference(model, rounded, feeds) <= TOLERANCE else None


def _coarse(model: onnx.ModelProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Return the convolutions that whole numbers make faster, and their rectifiers.

    A rectifier is rounded with its convolution, so that no step is spent on what it cuts off.
    """
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    wide = {t.name for t in weights if t.name.startswith(_PARTS) and t.dims[1] >= _NARROW}
    convolutions = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in wide]
    outputs = {node.output[0] for node in convolutions}
    rectifiers = [n for n in model.graph.node if n.op_type == "Relu" and n.input[0] in outputs]
    return convolutions, rectifiers


def _even_out(
    model: onnx.ModelProto,
    convolutions: list[onnx.NodeProto],
    rectifiers: list[onnx.NodeProto],
    feeds: list[Feed],
) -> None:
    """Give the channels that go in and out of convolutions about the same range; in place."""
    largest = _largest(model, [t for c in convolutions for t in (c.input[0], c.output[0])], feeds)
    before = {c.output[0]: c for c in convolutions}
    before = {r.output[0]: before[r.input[0]] for r in rectifiers}  # what a rectifier hands on
    rectified = {r.input[0] for r in rectifiers}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in convolutions:
        taken, given = node.input[0], node.output[0]
        strongest = np.abs(onnx.numpy_helper.to_array(weights[node.input[1]])).max((0, 2, 3))
        factor = _relative(np.sqrt(largest[taken] / np.maximum(strongest, _FAINTEST)))
        if taken in before:
            _scale_outputs(before[taken], weights, 1 / factor)
        else:
            _multiply(model, node, 1 / factor, after=False)
        _scale(weights[node.input[1]], factor[None, :, None, None])
        if given not in rectified:
            factor = _relative(largest[given])
            _scale_outputs(node, weights, 1 / factor)
            _multiply(model, node, factor, after=True)


def _relative(factor: Factors) -> Factors:
    relative: Factors = np.maximum(factor / np.maximum(factor.max(), _FAINTEST), _FAINTEST)
    return relative


def _scale(tensor: onnx.TensorProto, factor: Factors) -> None:
    scaled = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor) * factor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(scaled, tensor.name))


def _scale_outputs(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], factor: Factors
) -> None:
    """Multiply what a convolution gives, its constant included, channel by channel."""
    _scale(weights[node.input[1]], factor[:, None, None, None])
    for bias in node.input[2:]:
        _scale(weights[bias], factor)


def _multiply(
    model: onnx.ModelProto, node: onnx.NodeProto, factor: Factors, *, after: bool
) -> None:
    """Multiply the channels that a convolution takes, or those that it gives, by a node beside."""
    graph, place = model.graph, list(model.graph.node).index(node)
    name = f"{node.name} {'after' if after else 'before'}"
    graph.initializer.append(onnx.numpy_helper.from_array(factor[None, :, None, None], name))
    if after:
        plain = f"{node.output[0]} plain"
        added = onnx.helper.make_node("Mul", [plain, name], [node.output[0]], name=name)
        node.output[0] = plain
    else:
        added = onnx.helper.make_node("Mul", [node.input[0], name], [f"{name} taken"], name=name)
        node.input[0] = added.output[0]
    graph.node.insert(place + after, added)


def _largest(model: onnx.ModelProto, tensors: list[str], feeds: list[Feed]) -> dict[str, Factors]:
    """Return the largest absolute value of each channel of tensors inside the network."""
    inside = copy.deepcopy(model)
    for name in dict.fromkeys(tensors):
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        inside.graph.output.append(value)
    session = _session(inside)
    found = [
        [np.abs(values).max((0, 2, 3)) for values in session.run(tensors, feed)] for feed in feeds
    ]
    return {name: np.max(values, 0) for name, *values in zip(tensors, *found, strict=True)}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the images to ONNX Runtime, one after the other."""

    def __init__(self, feeds: Iterator[Feed]) -> None:
        self._feeds = feeds

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _feeds(model: onnx.ModelProto) -> list[Feed]:
    """Return what the network is run on to find its steps: images without a hint, with one, two.

    A hint moves all that a channel holds, so that ranges without it do not hold with it.
    """
    sizes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    planes = sizes["image"][1]
    images = _fields() if planes == 3 else _fields()[:, 1:2].repeat(planes, axis=1)
    if "hint" not in sizes:
        return [{"image": image[None]} for image in images]
    one = np.eye(sizes["hint"][1], dtype=np.float32)[np.arange(len(images)) % sizes["hint"][1]]
    hints = (np.zeros_like(one), one, np.maximum(one, np.roll(one, 3, axis=0)))
    return [
        {"image": image[None], "hint": row[None]}
        for given in hints
        for image, row in zip(images, given, strict=True)
    ]


@lru_cache(maxsize=1)
def _fields() -> NDArray[np.float32]:
    """Draw (N, 3, Y, X): images of simulated specimens with the planes next to them."""
    settings = LaboratorySettings(
        images=_IMAGES, alike=0, measured=False, simulated=1.0, common=1.0
    )
    rng, specimens = np.random.default_rng(0), Specimens((), settings)
    drawn = [draw_laboratory(specimens, settings, rng) for _ in range(_DRAWN)]
    return np.concatenate([np.stack((d.before, d.defective, d.after), 1) for d in drawn])


def _difference(model: onnx.ModelProto, rounded: onnx.ModelProto, feeds: list[Feed]) -> float:
    """Return the RMS of what rounding changes of the first output."""
    before, after = _session(model), _session(rounded)
    squares = [
        np.mean((before.run(None, feed)[0] - after.run(None, feed)[0]) ** 2) for feed in feeds
    ]
    return float(np.sqrt(np.mean(squares)))


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
