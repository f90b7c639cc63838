"""What a restorer's ``.onnx`` file says of itself, as JSON under one metadata key."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

KEY = "microscopygan"
FORMAT_VERSION = 2
UNSIGNED = "0" * 64  # on the card before the digest is known

# Bytes for a pixel that files of version 1 do not state, by whether tiles are possible: of the
# default network (16, 32 and 96 channels; 264 measured) and of that of the preset "paper" (1700).
_BYTES_PER_PIXEL = {True: 280, False: 1800}


class ModelCard(BaseModel):
    """Metadata of a restorer file.

    Examples
    --------
    >>> card = ModelCard(halo=(24, 24), multiple=4, defects=("noise",), program="0.1.0")
    >>> ModelCard.from_json(card.model_dump_json(), "m.onnx") == card
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[2] = 2
    name: str = Field("restorer", description="what the model is called")
    program: str = Field(description="version of MicroscopyGAN that wrote the file")
    planes: int = Field(1, ge=1, description="neighbouring planes that the network sees at once")
    outputs: tuple[str, ...] = Field(
        ("mean",), min_length=1, description="what the outputs are, in the file's order"
    )
    halo: tuple[int, int] = Field(
        description="exact reach of the receptive field to each side along Y and X, in pixels"
    )
    multiple: int = Field(ge=1, description="both sides of the input are multiples of this")
    tileable: bool = Field(True, description="False: instance statistics, whole planes only")
    bytes_per_pixel: int = Field(
        _BYTES_PER_PIXEL[True], ge=1, description="memory for a pixel that is restored, measured"
    )
    precision: Literal["float32", "int8"] = Field(
        "float32", description="what it multiplies; int8: whole numbers in the coarser scales"
    )
    parameters: int | None = Field(None, ge=0, description="number of weights, where it is known")
    low: float = Field(1.0, ge=0, le=100, description="percentile that maps to intensity 0")
    high: float = Field(99.8, ge=0, le=100, description="percentile that maps to intensity 1")
    defects: tuple[str, ...] = Field(description="defects that the training data held")
    hints: tuple[str, ...] = Field((), description="defects that the network takes as a hint")
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="digest of the file with zeros in this place"
    )
    training: dict[str, object] = Field(default_factory=dict, description="summary of the run")
    licence: str = "MIT (weights); the training data keep their own licences"

    @classmethod
    def from_json(cls, text: str, file: str) -> ModelCard:
        """Read a card of this or an earlier version.

        Parameters
        ----------
        text
            The JSON of the file's metadata.
        file
            Its name, for messages, and as the name of models of version 1, which have none.

        Raises
        ------
        ValueError
            Damaged, or of a newer version.
        """
        try:
            stated = json.loads(text)
        except ValueError:
            stated = None
        if not isinstance(stated, dict):
            raise ValueError(
                f"{file}: expected a MicroscopyGAN model, but its metadata are damaged; export it "
                "again"
            )
        version = stated.get("format_version", 1)
        if version not in (1, FORMAT_VERSION):
            raise ValueError(
                f"{file}: expected model format 1 or {FORMAT_VERSION}, got {version}; update "
                "MicroscopyGAN or export the model again"
            )
        try:
            return cls.model_validate(_upgraded(stated, file) if version == 1 else stated)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "metadata"
            raise ValueError(
                f"{file}: expected a MicroscopyGAN model of format {version}, but its {where} is "
                f"not valid ({problem['msg']}); update MicroscopyGAN or export again"
            ) from None


def signed(content: bytes) -> bytes:
    """Return a model file with its digest on its card, which states `UNSIGNED` before."""
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(UNSIGNED.encode(), digest.encode(), 1)


def check_digest(content: bytes, card: ModelCard, file: str, whole: str | None = None) -> None:
    """Raise `ValueError` where a model file is not what was exported.

    Parameters
    ----------
    content
        Of the file.
    card
        What it says of itself; those of earlier versions state no digest.
    file
        Its name, for messages.
    whole
        Digest of all of it, where it is known.
    """
    before = content.replace((card.sha256 or UNSIGNED).encode(), UNSIGNED.encode())
    unlike = [
        stated is not None and hashlib.sha256(found).hexdigest() != stated
        for stated, found in ((card.sha256, before), (whole, content))
    ]
    if any(unlike):
        raise ValueError(
            f"{file}: expected the model that was exported, but its bytes have changed since then "
            "(checksum); copy or export it again"
        )


def _upgraded(stated: dict[str, Any], file: str) -> dict[str, Any]:
    """Turn a card of version 1 (one plane, one output, one halo for Y and X) into version 2."""
    return stated | {
        "format_version": FORMAT_VERSION,
        "name": PurePath(file).stem,
        "halo": (stated.get("halo"), stated.get("halo")),
        "bytes_per_pixel": _BYTES_PER_PIXEL[bool(stated.get("tileable", True))],
    }
