"""Our safetensors files: tensors, and what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..image.atomic import whole

FORMAT_VERSION = 1
Network = TypeVar("Network", bound=nn.Module)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
    """Write tensors and `about`, which JSON must take, to one file: whole or not at all.

    Raises
    ------
    OSError
        The disk is full, or the folder cannot be written.
    """
    said = json.dumps({"format": FORMAT_VERSION, **about})
    try:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with whole(path) as part:
            save_file(plain, part, {"microscopygan": said})
    except SafetensorError as error:
        raise OSError(
            f"{path}: cannot be written ({error}); free some space, or choose another folder"
        ) from None


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_tensors` wrote: what it says of itself, and its tensors.

    Raises
    ------
    ValueError
        Damaged file, or another format version.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("microscopygan", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected saved weights, but it is damaged ({error})") from None
    if not isinstance(about, dict):
        raise ValueError(f"{path}: expected saved weights, but what it says of itself is damaged")
    if about.get("format") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: expected format {FORMAT_VERSION} of saved weights, got "
            f"{about.get('format', 'none')}; train again or use the program version that wrote it"
        )
    return about, tensors


def read_network(
    path: Path, what: str, build: Callable[[dict[str, Any]], Network]
) -> tuple[dict[str, Any], Network]:
    """Read the weights of a network that `build` makes of what the file says of itself.

    Raises
    ------
    ValueError
        As `read_tensors`, or the weights of another architecture than `what`.
    """
    about, tensors = read_tensors(path)
    try:
        network = build(about)
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
        raise ValueError(
            f"{path}: expected {what}, got another architecture; train again"
        ) from None
    return about, network
