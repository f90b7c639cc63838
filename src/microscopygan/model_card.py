"""What a restorer's ``.onnx`` file says of itself, as JSON under one metadata key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

KEY = "microscopygan"
FORMAT_VERSION = 1


class ModelCard(BaseModel):
    """Metadata of a restorer file.

    Examples
    --------
    >>> card = ModelCard(halo=24, multiple=4, defects=("noise",), program="0.1.0")
    >>> ModelCard.from_json(card.model_dump_json(), "m.onnx") == card
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    program: str = Field(description="version of MicroscopyGAN that wrote the file")
    halo: int = Field(ge=0, description="measured receptive field to each side, in pixels")
    multiple: int = Field(ge=1, description="both sides of the input are multiples of this")
    tileable: bool = Field(True, description="False: instance statistics, whole planes only")
    low: float = Field(1.0, ge=0, le=100, description="percentile that maps to intensity 0")
    high: float = Field(99.8, ge=0, le=100, description="percentile that maps to intensity 1")
    defects: tuple[str, ...] = Field(description="defects that the training data held")
    hints: tuple[str, ...] = Field((), description="defects that the network may be told of")
    training: dict[str, object] = Field(default_factory=dict, description="summary of the run")
    licence: str = "MIT (weights); the training data keep their own licences"

    @classmethod
    def from_json(cls, text: str, name: str) -> ModelCard:
        """Read a card; `name` is the file's, for the message of a ``ValueError``."""
        try:
            card = cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "metadata"
            raise ValueError(
                f"{name}: expected a MicroscopyGAN model of format {FORMAT_VERSION}, but its "
                f"{where} is not valid ({problem['msg']}); update MicroscopyGAN or export again"
            ) from None
        if card.format_version != FORMAT_VERSION:
            raise ValueError(
                f"{name}: expected model format {FORMAT_VERSION}, got {card.format_version}; "
                "update MicroscopyGAN or export the model again"
            )
        return card
