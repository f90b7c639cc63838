"""The models that ship, a row each: ``--model NAME`` on the command line and in the API."""

from __future__ import annotations

from collections.abc import Mapping
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
    sha256
        Digest of that file, hexadecimal.
    parameters
        Number of its weights.
    page
        What it was trained on and how well it restores, a page of the repository.
    psnr
        By defect: of images never trained on, before and after, in dB after an affine fit.
    """

    path: Path
    sha256: str
    parameters: int
    page: str
    psnr: Mapping[str, tuple[float, float]]


GENERALIST = "generalist"  # the model that restores where none is named
MODELS = {
    GENERALIST: ShippedModel(
        _WEIGHTS / "generalist.onnx",
        "81e74a4e6d8aed6e2406bc45ca2006386e67bd435949f3d5a84becb6815d3f3f",
        410_177,
        "docs/generalist.md",
        {"noise": (18.43, 29.14), "lowres": (25.38, 26.68), "axial": (26.29, 27.22)},
    ),
}
