"""Export of a trained restorer to one ``.onnx`` file, checked against torch."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
import tempfile
import warnings
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from ..image.atomic import whole
from ..model_card import KEY, UNSIGNED, ModelCard, signed
from .quantisation import quantised

_GENERALIST = Path(str(files("microscopygan") / "weights" / "generalist.onnx"))
_ARCHITECTURE = ("parameters", "planes", "halo", "multiple", "hints")  # which a card shows by these
_TOLERANCE = 1e-4  # of the range
_PLANE = 384  # pixels; side of the plane for which memory is measured
_SPARE, _STEP = 1.05, 20  # that memory is rounded up by 5 % and to 20 bytes, so that exports agree


def receptive_field(network: nn.Module, multiple: int, planes: int = 1) -> tuple[int, int]:
    """Compute how far an input pixel reaches in the output, to each side.

    Without biases and with equal positive weights, a single bright pixel gives at each place the
    number of its paths to there: 0 out of reach, and never 0 within. Each position within one
    down-sampling cell is tried, since strided layers treat them differently.

    Parameters
    ----------
    network
        (B, planes, Y, X) to (B, 1, Y, X); convolutions, rectifiers, sums, resampling.
    multiple
        Its down-sampling factor, in pixels.
    planes
        Number of neighbouring planes that it sees; the farthest reach of any counts.

    Returns
    -------
    y, x : int
        Pixels along each axis, exact.

    Raises
    ------
    ValueError
        A network that answers an empty image, of which this cannot be known.
    """
    probe = copy.deepcopy(network).cpu().double().eval()
    for parameter in probe.parameters():
        inputs = parameter.shape[1] if parameter.dim() > 1 else 1
        nn.init.constant_(parameter, 1 / inputs if parameter.dim() > 1 else 0)
    room = multiple * _span(probe, multiple, planes)
    y, x = (_reach(probe, multiple, planes, room, axis) for axis in (2, 3))
    return y, x


def _span(probe: nn.Module, multiple: int, planes: int) -> int:
    """Add up the sides of the kernels of all convolutions, as often as they are applied."""
    sides = [1]

    def note(layer: nn.Module, *_: object) -> None:
        if isinstance(layer, nn.modules.conv._ConvNd):
            sizes = zip(layer.kernel_size, layer.dilation, strict=True)
            sides.append(max(1 + (size - 1) * dilation for size, dilation in sizes))

    hooks = [layer.register_forward_hook(note) for layer in probe.modules()]
    with torch.no_grad():
        probe(torch.zeros(1, planes, multiple, multiple, dtype=torch.float64))
    for hook in hooks:
        hook.remove()
    return sum(sides)


def _reach(probe: nn.Module, multiple: int, planes: int, room: int, axis: int) -> int:
    """Return the farthest place along an axis that bright pixels of one cell reach."""
    while True:
        sides = {2: (2 * room + multiple, multiple), 3: (multiple, 2 * room + multiple)}[axis]
        images = torch.zeros(multiple, planes, *sides, dtype=torch.float64)
        cells = torch.arange(multiple)
        images.select(5 - axis, 0)[cells, :, room + cells] = 1.0
        with torch.no_grad():
            if probe(torch.zeros_like(images[:1])).any():
                raise ValueError("expected a network without constants, got another answer than 0")
            lit = probe(images)[:, 0].any(4 - axis)  # (cell, place along the axis)
        cell, place = lit.nonzero().T
        farthest = int((place - room - cell).abs().max())
        if farthest < room:
            return farthest
        room *= 2


def export_restorer(network: nn.Module, path: Path, card: ModelCard) -> float:
    """Write `network` and its card to `path`, which appears whole or not at all.

    Parameters
    ----------
    network
        (B, planes, Y, X) and hints (B, H) to (B, 1, Y, X) for each output of the card.
    path
        The ``.onnx`` file; one that is there is replaced.
    card
        Number of weights, memory for a pixel, precision and the digest are filled in. The coarser
        scales are in whole numbers of eight bits where `quantised` finds that nothing is lost.

    Returns
    -------
    float
        Largest difference between ONNX Runtime and torch on random images of two sizes, as a
        fraction of the range; of float32.

    Raises
    ------
    RuntimeError
        That difference is above 1e-4.
    """
    network = network.cpu().eval()
    graph = _graph(network, card)
    difference = _difference(network, graph.SerializeToString(), card)
    if difference > _TOLERANCE:
        raise RuntimeError(f"exported restorer differs from torch by {difference:.2g} of the range")
    card = card.model_copy(
        update={"parameters": sum(weight.numel() for weight in network.parameters())}
    )
    rounded = quantised(graph)
    graph = rounded or graph
    measured = {
        "bytes_per_pixel": _known_memory(card) or bytes_per_pixel(graph.SerializeToString()),
        "precision": "float32" if rounded is None else "int8",
        "sha256": UNSIGNED,
    }
    card = card.model_copy(update=measured)
    onnx.helper.set_model_props(graph, {KEY: card.model_dump_json()})
    onnx.checker.check_model(graph)
    with whole(path) as part:
        part.write_bytes(signed(graph.SerializeToString()))
    return difference


def _known_memory(card: ModelCard) -> int | None:
    """Return what the generalist takes for a pixel, of a network of its architecture.

    Two measurements differ by a few bytes; the same training is to give the same file. In float32
    such a network takes less.
    """
    properties = onnx.load(_GENERALIST).metadata_props
    stated = next(each.value for each in properties if each.key == KEY)
    shipped = ModelCard.from_json(stated, _GENERALIST.name)
    same = all(getattr(card, name) == getattr(shipped, name) for name in _ARCHITECTURE)
    return shipped.bytes_per_pixel if same else None


def bytes_per_pixel(model: bytes) -> int:
    """Measure the memory that ONNX Runtime takes for a pixel, in a process of its own.

    Parameters
    ----------
    model
        Content of an ``.onnx`` file.

    Returns
    -------
    int
        Of a plane of 384 × 384 on the CPU, what the process takes at most beyond what it took
        before, in bytes for a pixel, rounded up.

    Raises
    ------
    RuntimeError
        The process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        command = [sys.executable, "-c", _MEASURE, str(path), str(_PLANE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"memory of the exported restorer could not be measured: {reason}")
    return math.ceil(float(done.stdout) * _SPARE / _STEP) * _STEP


# A small plane is run before, so that what does not grow with the plane is not counted. ONNX
# Runtime keeps what it has taken, so that what is there after a plane is what it took at most.
_MEASURE = """
import os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime, psutil
options = onnxruntime.SessionOptions()
options.enable_mem_pattern = False
session = onnxruntime.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
def memory_after(side):
    planes = session.get_inputs()[0].shape[1]
    feed = {"image": numpy.ones((1, planes, side, side), numpy.float32)}
    for hint in session.get_inputs()[1:]:
        feed[hint.name] = numpy.zeros((1, hint.shape[1]), numpy.float32)
    restored = session.run(None, feed)
    return psutil.Process().memory_info().rss
before, side = memory_after(64), int(sys.argv[2])
print(max(1, memory_after(side) - before) / side**2)
"""


def _graph(network: nn.Module, card: ModelCard) -> onnx.ModelProto:
    """Return the network as ONNX; inputs and outputs are named, sizes and batch are free."""
    sizes = {0: "batch", 2: "y", 3: "x"}
    hint = (torch.zeros(2, len(card.hints)),) if card.hints else ()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter speaks of its own successor
        torch.onnx.export(
            network,
            (torch.rand(2, card.planes, 64, 48), *hint),
            Path(folder) / "restorer.onnx",
            input_names=["image", "hint"] if hint else ["image"],
            output_names=list(card.outputs),
            dynamic_axes={"image": sizes, "hint": {0: "batch"}}
            | {name: sizes for name in card.outputs},
            opset_version=17,
            dynamo=False,
        )
        return onnx.load(Path(folder) / "restorer.onnx")


def _difference(network: nn.Module, payload: bytes, card: ModelCard) -> float:
    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0.0
    for count, *sides in ((1, 64, 64), (2, 96, 44)):
        feed = {"image": rng.random((count, card.planes, *sides), dtype=np.float32)}
        if card.hints:
            feed["hint"] = rng.integers(2, size=(count, len(card.hints))).astype(np.float32)
        with torch.no_grad():
            wanted = network(*(torch.from_numpy(a) for a in feed.values())).numpy()
        restored = session.run(None, feed)[0]
        worst = max(worst, float(np.abs(restored - wanted).max() / (np.ptp(wanted) + 1e-12)))
    return worst
