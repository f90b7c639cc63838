"""A restorer's training weights: one safetensors file that says how the network is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..settings import RestorerSettings
from .networks import ResNetRestorer, UNetRestorer, build_restorer
from .tensors import read_network, write_tensors

ARCHITECTURE = ("network", "channels", "blocks", "hints")  # fields of `RestorerSettings`


def save_restorer(path: Path, network: UNetRestorer | ResNetRestorer) -> None:
    """Write a restorer's weights with its settings, whole or not at all."""
    settings = network.settings.model_dump(mode="json")
    write_tensors(path, network.state_dict(), {"settings": settings})


def load_restorer(path: Path) -> UNetRestorer | ResNetRestorer:
    """Read what `save_restorer` wrote; its ``settings`` are those it was trained with.

    Raises
    ------
    ValueError
        Damaged file, another format version or another architecture.
    """
    return read_network(path, "the weights of a restorer", _build)[1]


def _build(about: dict[str, Any]) -> UNetRestorer | ResNetRestorer:
    return build_restorer(RestorerSettings.model_validate(about["settings"]))
