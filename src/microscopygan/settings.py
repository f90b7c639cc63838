"""Settings of a training: one frozen tree, every field bounded and described.

The command line, the run folder (``settings.json``) and the report all read this one file.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

PRESETS = ("default", "paper")
STARTS = ("generalist", "scratch")

Hint = Literal["noise", "axial", "lowres", "haze"]  # defects that the generalist may be told of
HINTS: tuple[str, ...] = get_args(Hint)
Channels = Annotated[int, Field(ge=1, le=1024)]
Weight = Annotated[float, Field(ge=0.0, le=1000.0)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageSettings(_Settings):
    """What the two trainings have in common."""

    steps: int = Field(ge=1, le=10_000_000, description="generator updates")
    batch: int = Field(ge=1, le=1024, description="patches a step and process")
    patch: int = Field(ge=32, le=512, multiple_of=16, description="side of a patch in pixels")
    learning_rate: float = Field(gt=0, le=0.1, description="peak rate of the generator's Adam")
    critic_rate: float = Field(gt=0, le=0.1, description="peak rate of the critic's Adam")
    ema: float = Field(ge=0, lt=1, description="decay of the averaged weights a step; 0 = off")
    save_every: int = Field(ge=1, description="steps between two saved states")
    log_every: int = Field(ge=1, description="steps between two rows of log.csv")
    picture_every: int = Field(ge=1, description="steps between two picture grids")


class DefectSettings(StageSettings):
    """Stage one: CIN-GAN, clean images to defective ones."""

    generator: Literal["compact", "resnet"] = Field(description="compact: no down-sampling")
    channels: int = Field(ge=4, le=256, description="channels of the first convolution")
    blocks: int = Field(ge=1, le=32, description="residual blocks")
    physics: bool = Field(description="start from a calibrated physical draft of the defect")
    adversarial: Literal["hinge", "wgan-gp"] = Field(description="adversarial loss of the critic")
    critic_steps: int = Field(ge=1, le=10, description="critic updates a generator update")
    penalty: Weight = Field(description="weight of R1 (hinge) or of the gradient penalty (wgan-gp)")
    augment: bool = Field(description="DiffAugment: shift and cut out what the critic sees")
    adversarial_weight: Weight = Field(description="weight of the adversarial loss")
    content_weight: Weight = Field(description="VGG16 distance to the clean input, coarse scale")
    style_weight: Weight = Field(description="Gram distance to unpaired defective images")
    spectrum_weight: Weight = Field(description="log power spectrum distance to the same images")
    content_scale: int = Field(ge=1, le=16, description="pixels averaged before the content term")


class RestorerSettings(StageSettings):
    """Stage two: cGAN, defective images to restored ones."""

    network: Literal["unet", "resnet"] = Field(description="resnet holds instance statistics")
    channels: tuple[Channels, Channels, Channels] = Field(
        description="channels at full, half, quarter size"
    )
    blocks: int = Field(ge=1, le=32, description="residual blocks at the coarsest scale")
    hints: tuple[Hint, ...] = Field(
        description="defects that the network may be told of; unet only"
    )
    discriminator: Literal["patch", "dense"] = Field(description="patch by patch, or the whole")
    adversarial: Literal["hinge", "bce"] = Field(description="adversarial loss")
    adversarial_weight: Weight = Field(description="weight of the adversarial loss; 0 = none")
    adversarial_start: float = Field(ge=0, le=1, description="fraction of steps before it counts")
    content_weight: Weight = Field(description="VGG16 block3_conv3 distance to the clean target")
    content_fraction: float = Field(gt=0, le=1, description="share of a batch it is measured on")
    pixel_weight: Weight = Field(description="log RMSE to the clean target, sample by sample")
    error_floor: float = Field(gt=0, le=1, description="RMSE below which errors lose weight")


class Settings(_Settings):
    """All that a run can be told, beside the data.

    Examples
    --------
    >>> make_settings("default").restorer.network
    'unet'
    """

    preset: Literal["default", "paper"] = Field(description="what the other fields started from")
    start: Literal["generalist", "scratch"] = Field(description="weights that training starts from")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, draws and splits")
    alpha: float = Field(0.5, ge=0, le=1, description="share of synthetic pairs; 1 = no real pairs")
    cin_gan: float = Field(
        0.0, ge=0, le=1, description="share of synthetic pairs by CIN-GAN where physics is known"
    )
    pairs: int | None = Field(None, ge=0, description="real pairs of each defect; None = all")
    validation: float = Field(0.1, ge=0, le=0.5, description="share of images held back")
    match_pairs: bool = Field(True, description="fit the gain and offset of a pair's target")
    specimens: int = Field(24, ge=0, le=1000, description="simulated specimens if few are clean")
    defects: DefectSettings
    restorer: RestorerSettings


def make_settings(
    preset: str = "default", start: str = "generalist", **changes: object
) -> Settings:
    """Return the settings of a preset.

    Parameters
    ----------
    preset
        ``default`` (sized for a laptop's CPU; the restorer minimises its error alone) or
        ``paper`` (the 2019 networks and losses).
    start
        ``generalist`` (adapt the networks that ship, in some minutes) or ``scratch``. The preset
        ``paper`` has networks of its own and always starts from scratch.
    changes
        Fields of `Settings` to set otherwise.

    Raises
    ------
    ValueError
        Unknown preset or start, unknown field, or a value out of bounds.
    """
    for name, value, known in (("preset", preset, PRESETS), ("start", start, STARTS)):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    chosen: dict[str, object] = {"preset": preset, "start": start}
    if preset == "paper":
        chosen |= {"start": "scratch", "defects": _PAPER_DEFECTS, "restorer": _PAPER_RESTORER}
    elif start == "scratch":
        chosen |= {"defects": _DEFAULT_DEFECTS, "restorer": _DEFAULT_RESTORER}
    else:
        restorer = _DEFAULT_RESTORER.model_copy(update=_ADAPTATION)
        defects = _DEFAULT_DEFECTS.model_copy(update={"learning_rate": 3e-3})  # rows alone
        chosen |= {"defects": defects, "restorer": restorer}
    return Settings.model_validate(chosen | changes)


_DEFAULT_DEFECTS = DefectSettings(
    steps=400,
    batch=12,
    patch=64,
    learning_rate=2e-4,
    critic_rate=4e-4,
    ema=0.99,
    save_every=100,
    log_every=10,
    picture_every=200,
    generator="compact",
    channels=24,
    blocks=3,
    physics=True,
    adversarial="hinge",
    critic_steps=1,
    penalty=1.0,
    augment=True,
    adversarial_weight=0.3,
    content_weight=0.05,
    style_weight=1.0,
    spectrum_weight=0.3,
    content_scale=4,
)

_DEFAULT_RESTORER = RestorerSettings(
    steps=12_000,
    batch=8,
    patch=64,
    learning_rate=1e-3,
    critic_rate=2e-4,
    ema=0.995,
    save_every=250,
    log_every=25,
    picture_every=500,
    network="unet",
    channels=(16, 32, 96),
    blocks=2,
    hints=(),
    discriminator="patch",
    adversarial="hinge",
    adversarial_weight=0.0,
    adversarial_start=0.5,
    content_weight=0.0,
    content_fraction=0.125,
    pixel_weight=1.0,
    error_floor=0.003,
)

_ADAPTATION = {"steps": 4000, "error_floor": 0.01, "hints": HINTS}

_PAPER_DEFECTS = DefectSettings(
    steps=20_000,
    batch=1,
    patch=128,
    learning_rate=1e-4,
    critic_rate=1e-4,
    ema=0.0,
    save_every=100,
    log_every=10,
    picture_every=500,
    generator="resnet",
    channels=64,
    blocks=9,
    physics=False,
    adversarial="wgan-gp",
    critic_steps=5,
    penalty=10.0,
    augment=False,
    adversarial_weight=1.0,
    content_weight=100.0,
    style_weight=100.0,
    spectrum_weight=0.0,
    content_scale=1,
)

_PAPER_RESTORER = RestorerSettings(
    steps=20_000,
    batch=1,
    patch=128,
    learning_rate=1e-4,
    critic_rate=1e-4,
    ema=0.0,
    save_every=100,
    log_every=10,
    picture_every=500,
    network="resnet",
    channels=(64, 128, 256),
    blocks=12,
    hints=(),
    discriminator="dense",
    adversarial="bce",
    adversarial_weight=1.0,
    adversarial_start=0.0,
    content_weight=100.0,
    content_fraction=1.0,
    pixel_weight=0.0,
    error_floor=0.003,
)
