"""A restorer's training weights: one safetensors file that says how the network is built."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..settings import RestorerSettings
from .loop import FORMAT_VERSION, read_tensors
from .networks import ResNetRestorer, UNetRestorer, build_restorer

ARCHITECTURE = ("network", "channels", "blocks", "hints")  # fields of `RestorerSettings`


def save_restorer(path: Path, network: UNetRestorer | ResNetRestorer) -> None:
    """Write a restorer's weights with its settings, whole or not at all."""
    about = {"format": FORMAT_VERSION, "settings": network.settings.model_dump(mode="json")}
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    save_file(tensors, partial, {"microscopygan": json.dumps(about)})
    partial.replace(path)


def load_restorer(path: Path) -> UNetRestorer | ResNetRestorer:
    """Read what `save_restorer` wrote; its ``settings`` are those it was trained with.

    Raises
    ------
    ValueError
        Damaged file, another format version or another architecture.
    """
    about: Any
    about, tensors = read_tensors(path)
    try:
        network = build_restorer(RestorerSettings.model_validate(about["settings"]))
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError, ValueError):
        raise ValueError(
            f"{path}: expected the weights of a restorer, got another architecture; train again"
        ) from None
    return network
