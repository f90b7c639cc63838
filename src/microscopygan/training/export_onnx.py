"""Export of a trained restorer to one ``.onnx`` file, checked against torch."""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from ..image.atomic import whole
from ..model_card import KEY, ModelCard

_TOLERANCE = 1e-4  # of the range


def receptive_field(network: nn.Module, multiple: int, reach: int = 96) -> int:
    """Measure how far, in pixels, an input pixel can change the output.

    Each position within one down-sampling cell is perturbed, since strided layers treat them
    differently; weights are drawn at random so that no trained zero hides a path.
    """
    probe = _randomised(network)
    side = 2 * reach + multiple
    base = torch.zeros(1, 1, side, side, dtype=torch.float64)
    farthest = 0
    with torch.no_grad():
        rest = probe(base)
        for cell in range(multiple):
            moved = base.clone()
            moved[0, 0, reach + cell, reach + cell] = 1.0
            changed = (probe(moved) - rest)[0, 0].abs().amax(0).nonzero()[:, 0]
            ends = (changed - (reach + cell)).abs()
            farthest = max(farthest, int(ends.max())) if len(ends) else farthest
    return farthest


def _randomised(network: nn.Module) -> nn.Module:
    probe = copy.deepcopy(network).cpu().double()
    rng = torch.Generator().manual_seed(0)
    for parameter in probe.parameters():
        drawn = torch.rand(parameter.shape, generator=rng, dtype=torch.float64)
        fan = max(1, parameter[0].numel() if parameter.dim() > 1 else 1)
        parameter.data = (drawn + 0.5) / fan
    return probe


def export_restorer(network: nn.Module, path: Path, card: ModelCard) -> float:
    """Write `network` and its card to `path`, which appears whole or not at all.

    Returns
    -------
    float
        Largest difference between ONNX Runtime and torch on random images of two sizes, as a
        fraction of the range.

    Raises
    ------
    RuntimeError
        That difference is above 1e-4.
    """
    network = network.cpu().eval()
    payload = _onnx_bytes(network, card)
    difference = _difference(network, payload, len(card.hints))
    if difference > _TOLERANCE:
        raise RuntimeError(f"exported restorer differs from torch by {difference:.2g} of the range")
    with whole(path) as part:
        part.write_bytes(payload)
    return difference


def _onnx_bytes(network: nn.Module, card: ModelCard) -> bytes:
    sizes = {0: "batch", 2: "y", 3: "x"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter speaks of its own successor
        torch.onnx.export(
            network,
            (torch.rand(2, 1, 64, 48), *([torch.zeros(2, len(card.hints))] if card.hints else [])),
            Path(folder) / "restorer.onnx",
            input_names=["image", "hint"] if card.hints else ["image"],
            output_names=["restored"],
            dynamic_axes={"image": sizes, "restored": sizes, "hint": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        model = onnx.load(Path(folder) / "restorer.onnx")
    onnx.helper.set_model_props(model, {KEY: card.model_dump_json()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _difference(network: nn.Module, payload: bytes, hints: int) -> float:
    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0.0
    for shape in ((1, 1, 64, 64), (2, 1, 96, 44)):
        given = {"image": rng.random(shape, dtype=np.float32)}
        if hints:
            given["hint"] = rng.integers(2, size=(shape[0], hints)).astype(np.float32)
        with torch.no_grad():
            wanted = network(*(torch.from_numpy(a) for a in given.values())).numpy()
        found = session.run(None, given)[0]
        worst = max(worst, float(np.abs(found - wanted).max() / (np.ptp(wanted) + 1e-12)))
    return worst
