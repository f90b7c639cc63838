"""The network that reads a set of images and says which defect spoils them.

It is trained on virtual laboratories and ships as ONNX: `microscopygan.diagnosis` runs it without
torch.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diagnosis.features import SIDE, count
from ..diagnosis.parameters import STAGES, parameters
from ..diagnosis.sessions import KEY
from ..image.atomic import whole

_WIDTHS = (24, 48, 96, 128)  # channels at full size, a half, a quarter, an eighth
_EMBEDDING = 256
_HIDDEN = 512
_LARGE = 4096  # numbers of a weight from which it is stored in half precision


def outputs() -> int:
    """Return how many numbers the encoder gives: a logit a stage, one a bin of each parameter."""
    return len(STAGES) + sum(parameter.bins for parameter in parameters())


class SetEncoder(nn.Module):
    """Some images of one laboratory, and clean ones where there are any, to logits.

    Each image is looked at through convolutions, of which the mean, the spread and the spreads
    of row and column means are kept at each scale; through its log power spectrum; and through
    the numbers of `diagnosis.features`. What all images of a set share beside their content, as a
    camera's pattern, shows in the mean of their high-pass residuals.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        for inputs, width in pairwise((2, *_WIDTHS)):
            self.convolutions.append(
                nn.Sequential(
                    nn.Conv2d(inputs, width, 3, padding=1),
                    nn.ReLU(),
                    nn.Conv2d(width, width, 3, padding=1),
                    nn.ReLU(),
                )
            )
        self.spectrum = nn.Sequential(
            *(layer for pair in pairwise((1, 24, 32, 48, 48)) for layer in _halving(*pair)),
            nn.Flatten(),
            nn.Linear(48 * (SIDE // 16) * (SIDE // 16), _EMBEDDING),
        )
        self.numbers = nn.Sequential(nn.Linear(count(), 256), nn.ReLU(), nn.Linear(256, 128))
        self.embed = nn.Sequential(
            nn.Linear(4 * sum(_WIDTHS) + _EMBEDDING + 128, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _EMBEDDING),
        )
        self.head = nn.Sequential(
            nn.Linear(3 * _EMBEDDING + 2, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, outputs()),
        )
        places = torch.arange(SIDE, dtype=torch.float32)
        turns = 2 * torch.pi * (places[:, None] * places[None, :] % SIDE) / SIDE
        self.register_buffer("cosine", torch.cos(turns))
        self.register_buffer("sine", torch.sin(turns))
        self.register_buffer("window", torch.hann_window(SIDE, periodic=False))

    def forward(
        self, images: Tensor, numbers: Tensor, alike: Tensor, alike_numbers: Tensor
    ) -> Tensor:
        """Logits (L, outputs) of L sets.

        Parameters
        ----------
        images
            (L, N, 128, 128), as `diagnosis.features.scaled` gives them; the same part of the
            field of view in each.
        numbers
            (L, N, count()) of `diagnosis.features.features`.
        alike, alike_numbers
            (L, M, 128, 128), (L, M, count()): clean images; all 0 where there are none.
        """
        ours = self._embedded(images, self.shared(images), numbers)
        theirs = self._embedded(alike, torch.zeros_like(alike), alike_numbers)
        known = (alike.abs().sum((1, 2, 3)) > 0).to(images.dtype)[:, None]
        return self.judged(ours, theirs, known)

    def judged(self, ours: Tensor, theirs: Tensor, known: Tensor) -> Tensor:
        """Logits (L, outputs) of sets.

        From their embeddings (L, N, E), those of clean images (L, M, E), and 1 where there are
        such, (L, 1).
        """
        mean = ours.mean(1)
        spread = (ours - mean[:, None]).pow(2).mean(1).add(1e-6).sqrt()
        count = torch.log(torch.ones_like(ours[:, :, 0]).sum(1, keepdim=True))
        return self.head(torch.cat((mean, spread, known * theirs.mean(1), known, count), 1))  # type: ignore[no-any-return]

    def shared(self, images: Tensor) -> Tensor:
        """What the images of a set share beside their content, (L, N, Y, X); 0 for a single one."""
        smooth = F.avg_pool2d(images, 5, 1, 2, count_include_pad=False)
        residual = (images - smooth).clamp(-0.5, 0.5)
        residual = residual / residual.pow(2).mean((2, 3), keepdim=True).add(1e-6).sqrt()
        count = torch.ones_like(images[:, :, :1, :1]).sum(1, keepdim=True)
        shared = residual.mean(1, keepdim=True) * count.sqrt() * (count > 1).to(images.dtype)
        return shared.expand_as(images)

    def _embedded(self, images: Tensor, shared: Tensor, numbers: Tensor) -> Tensor:
        return self.embedded(self.seen(images, shared), numbers)

    def seen(self, images: Tensor, shared: Tensor) -> Tensor:
        """What convolutions see in each image, and in what a set shares: (L, N, numbers)."""
        x = torch.stack((images.flatten(0, 1), shared.flatten(0, 1)), 1)  # (LN, 2, Y, X)
        spectrum = self.spectrum(self._log_power(x[:, :1]))
        found = []
        for index, convolutions in enumerate(self.convolutions):
            x = convolutions(F.avg_pool2d(x, 2) if index else x)
            found.append(_summary(x))
        flat = torch.cat((*found, spectrum), 1)
        return flat.reshape(images.shape[0], images.shape[1], -1)

    def embedded(self, seen: Tensor, numbers: Tensor) -> Tensor:
        """Join what was seen and measured: (L, N, embedding)."""
        return self.embed(torch.cat((seen, self.numbers(numbers)), 2))  # type: ignore[no-any-return]

    def _log_power(self, image: Tensor) -> Tensor:
        """Log power spectrum (B, 1, Y, X) with frequency 0 at the centre, by a matrix product."""
        with torch.autocast(image.device.type, enabled=False):
            x = image.float() - image.float().mean((2, 3), keepdim=True)
            x = x * self.window[:, None] * self.window[None, :]
            real, imaginary = self.cosine @ x, self.sine @ x
            power = (real @ self.cosine - imaginary @ self.sine).pow(2)
            power = power + (real @ self.sine + imaginary @ self.cosine).pow(2)
            logs = torch.log(power / self.window.pow(2).sum() ** 2 + 1e-7) / 4
            half = SIDE // 2
            logs = torch.cat((logs[:, :, half:], logs[:, :, :half]), 2)
            return torch.cat((logs[:, :, :, half:], logs[:, :, :, :half]), 3) + 1.5

    window: Tensor
    cosine: Tensor
    sine: Tensor


def _halving(inputs: int, width: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.ReLU()


def _summary(x: Tensor) -> Tensor:
    """(B, C, Y, X) to (B, 4 C): mean, spread, and spreads of the means of rows and columns."""
    x = x.float()
    mean = x.mean((2, 3))

    def spread(values: Tensor) -> Tensor:
        apart = values.flatten(2) - values.flatten(2).mean(2, keepdim=True)
        return apart.pow(2).mean(2).add(1e-6).sqrt()

    return torch.cat((mean, spread(x), spread(x.mean(3)), spread(x.mean(2))), 1)


def encoder_loss(logits: Tensor, strength: Tensor, position: Tensor, faint: float) -> Tensor:
    """Cross-entropies of the stages and of the bins of the parameters of those that are there.

    Parameters
    ----------
    logits
        (B, outputs).
    strength
        (B, stages), dB, as of a `Laboratory`. A stage that is there but leaves a PSNR above
        `faint` counts neither as there nor as absent.
    position
        (B, parameters), 0 to 1; NaN where absent.
    faint
        PSNR in dB.
    """
    there = torch.zeros_like(strength)
    stage_of = [STAGES.index(parameter.stage) for parameter in parameters()]
    known = torch.isfinite(position)  # (B, P)
    there[:, stage_of] = torch.maximum(there[:, stage_of], known.to(there.dtype))
    counts = 1 - there * (strength > faint).to(there.dtype)
    stages = F.binary_cross_entropy_with_logits(
        logits[:, : len(STAGES)].float(), there, weight=counts, reduction="sum"
    )
    total, first = stages, len(STAGES)
    for index, parameter in enumerate(parameters()):
        bins = logits[:, first : first + parameter.bins].float()
        first += parameter.bins
        wanted = (position[:, index].nan_to_num(0) * parameter.bins).long()
        wanted = wanted.clamp(max=parameter.bins - 1)
        weight = known[:, index] & (strength[:, stage_of[index]] <= faint)
        wrong = F.cross_entropy(bins, wanted, reduction="none")
        total = total + 0.3 * (wrong * weight).sum()
    return total / len(logits)


def export_encoder(network: SetEncoder, path: Path) -> None:
    """Write a set encoder as ONNX, its weights in half precision, and what its outputs mean.

    Parameters
    ----------
    network
        A trained encoder.
    path
        The ``.onnx`` file, which appears whole or not at all.
    """
    shapes = ((1, 2, SIDE, SIDE), (1, 2, count()), (1, 3, SIDE, SIDE), (1, 3, count()))
    names = ["images", "numbers", "alike", "alike_numbers"]
    free = {name: {0: "places", 1: name.split("_")[0]} for name in names}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter speaks of its own successor
        torch.onnx.export(
            network.cpu().eval(),
            tuple(torch.rand(shape) for shape in shapes),
            Path(folder) / "encoder.onnx",
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**free, "logits": {0: "places"}},
            opset_version=17,
            dynamo=False,
        )
        graph = onnx.load(Path(folder) / "encoder.onnx")
    stages = [
        {"name": stage, "parameters": {p.name: p.bins for p in parameters() if p.stage == stage}}
        for stage in STAGES
    ]
    _halve(graph)
    onnx.helper.set_model_props(graph, {KEY: json.dumps(stages)})
    onnx.checker.check_model(graph)
    with whole(path) as part:
        part.write_bytes(graph.SerializeToString())


def _halve(model: onnx.ModelProto) -> None:
    """Store the large weights of a model in half precision; they are cast when it is loaded."""
    graph = model.graph
    for weight in list(graph.initializer):
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _LARGE:
            continue
        stored = onnx.numpy_helper.from_array(values.astype(np.float16), f"{weight.name}.half")
        cast = onnx.helper.make_node(
            "Cast", [stored.name], [weight.name], to=onnx.TensorProto.FLOAT
        )
        graph.initializer.remove(weight)
        graph.initializer.append(stored)
        graph.node.insert(0, cast)
