"""The models that ship, a row each: ``--model NAME`` on the command line and in the API."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

_WEIGHTS = Path(str(files("microscopygan") / "weights"))


@dataclass(frozen=True)
class ShippedModel:
    """A model that ships.

    Attributes
    ----------
    path
        Its ``.onnx`` file.
    parameters
        Number of its weights.
    page
        What it was trained on and how well it restores, a page of the repository.
    """

    path: Path
    parameters: int
    page: str


GENERALIST = "generalist"  # the model that restores where none is named
MODELS = {
    GENERALIST: ShippedModel(_WEIGHTS / "generalist.onnx", 408_097, "docs/generalist.md"),
}
