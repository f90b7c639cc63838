"""Settings of a training: frozen, every field bounded, described, and with a default.

What a network is made of, its *architecture*, is apart from how it is trained, and it alone is
saved with weights. The command line, a file of settings, the run folder (``settings.json``) and
the report all read this one file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

Preset = Literal["default", "paper"]
Start = Literal["generalist", "scratch"]
Stage = Literal["all", "defects", "restorer"]
PRESETS: tuple[str, ...] = get_args(Preset)
STARTS: tuple[str, ...] = get_args(Start)
STAGES: tuple[str, ...] = get_args(Stage)

COMMON: tuple[str, ...] = ("noise", "axial", "lowres", "haze")  # defects that users have most
Channels = Annotated[int, Field(ge=1, le=1024)]
Weight = Annotated[float, Field(ge=0.0, le=1000.0)]
Rate = Annotated[float, Field(gt=0, le=0.1)]
Interval = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=32, le=1024, multiple_of=4)]
Zoom = Annotated[float, Field(ge=0.25, le=4)]
Scale = Annotated[float, Field(gt=0, le=1)]
Steps = Annotated[int, Field(ge=1, le=10_000_000, description="generator updates")]
Batch = Annotated[int, Field(ge=1, le=1024, description="patches a step and process")]
Decay = Annotated[
    float, Field(ge=0, lt=1, description="decay of the averaged weights a step; 0 = off")
]


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("expected the least first")
    return ends


Zooms = Annotated[tuple[Zoom, Zoom], AfterValidator(_rising)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    former: ClassVar[Mapping[str, str]] = {}  # what fields were called in earlier files


Model = TypeVar("Model", bound=_Settings)


class GeneratorArchitecture(_Settings):
    """What CIN-GAN's generator is made of: saved with its weights.

    A field added later has the default that earlier networks had.
    """

    former: ClassVar[Mapping[str, str]] = {"network": "generator"}

    network: Literal["dilated", "compact", "resnet"] = Field(
        "compact", description="dilated: corrects what is simulated; compact: no down-sampling"
    )
    channels: int = Field(24, ge=4, le=256, description="channels of the first convolution")
    fade: bool = Field(True, description="resnet may leave its input out; earlier ones could not")
    blocks: int = Field(3, ge=1, le=32, description="residual blocks")
    codes: int = Field(32, ge=1, le=1024, description="coordinates of a defect; dilated only")


class RestorerArchitecture(_Settings):
    """What a restorer is made of: saved with its weights.

    A field added later has the default that earlier networks had.
    """

    network: Literal["unet", "resnet"] = Field(
        "unet", description="resnet holds instance statistics"
    )
    channels: tuple[Channels, Channels, Channels] = Field(
        (16, 32, 96), description="channels at full, half, quarter size"
    )
    blocks: int = Field(2, ge=1, le=32, description="residual blocks at the coarsest scale")
    fade: bool = Field(True, description="resnet may leave its input out; earlier ones could not")
    hints: tuple[str, ...] = Field(
        (), description="defects that the network takes as a hint; unet only"
    )
    planes: Literal[1, 3] = Field(
        1, description="planes it sees: one, or the one before and the one after as well; unet only"
    )

    @field_validator("planes")
    @classmethod
    def _seen_by_a_unet(cls, planes: int, info: ValidationInfo) -> int:
        if planes > 1 and info.data.get("network") == "resnet":
            raise ValueError("expected 1 for a resnet, which sees single planes")
        return planes


Architecture = TypeVar("Architecture", GeneratorArchitecture, RestorerArchitecture)


class StageSettings(_Settings):
    """What the two trainings have in common."""

    steps: Steps = 12_000
    batch: Batch = 8
    patch: int = Field(64, ge=32, le=512, multiple_of=16, description="side of a patch in pixels")
    learning_rate: Rate = Field(1e-3, description="peak rate of the generator's Adam")
    critic_rate: Rate = Field(2e-4, description="peak rate of the critic's Adam")
    warm_up: int = Field(
        50, ge=1, le=100_000, description="steps in which the rates rise to their peak"
    )
    last_rate: Share = Field(0.01, description="rate of the last step, as a part of the peak")
    ema: Decay = 0.995
    save_every: Interval = Field(250, description="steps between two saved states")
    log_every: Interval = Field(25, description="steps between two rows of log.csv")
    picture_every: Interval = Field(500, description="steps between two picture grids")


class DefectSettings(StageSettings):
    """Stage one: CIN-GAN, clean images to defective ones."""

    architecture: GeneratorArchitecture = GeneratorArchitecture(
        network="dilated", channels=48, blocks=4
    )
    steps: Steps = 300
    patch: int = Field(96, ge=32, le=512, multiple_of=16, description="side of a patch in pixels")
    learning_rate: Rate = Field(2e-4, description="peak rate of the generator's Adam")
    critic_rate: Rate = Field(4e-4, description="peak rate of the critic's Adam")
    row_rate: Rate | None = Field(
        3e-3, description="peak rate of what a defect has of its own; without, the generator's"
    )
    ema: Decay = 0.99
    save_every: Interval = Field(100, description="steps between two saved states")
    log_every: Interval = Field(10, description="steps between two rows of log.csv")
    picture_every: Interval = Field(200, description="steps between two picture grids")
    physics: bool = Field(True, description="start from a calibrated simulation of the defect")
    adversarial: Literal["hinge", "wgan-gp"] = Field(
        "hinge", description="adversarial loss of the critic"
    )
    critic_steps: int = Field(1, ge=1, le=10, description="critic updates a generator update")
    penalty: Weight = Field(
        1.0, description="weight of R1 (hinge) or of the gradient penalty (wgan-gp)"
    )
    penalty_every: int = Field(8, ge=1, le=1000, description="steps between two measures of R1")
    time_share: float = Field(
        0.33, gt=0, lt=1, description="share of a limited time that CIN-GAN may take"
    )
    augment: bool = Field(True, description="DiffAugment: shift and cut out what the critic sees")
    adversarial_weight: Weight = Field(0.0, description="weight of the adversarial loss; 0 = none")
    statistics_weight: Weight = Field(
        1.0, description="distance of spectra, differences and patches to unpaired defective images"
    )
    content_weight: Weight = Field(
        0.0, description="VGG16 distance to the clean input, coarse scale"
    )
    style_weight: Weight = Field(0.0, description="Gram distance to unpaired defective images")
    spectrum_weight: Weight = Field(
        0.0, description="log power spectrum distance to the same images"
    )
    content_scale: int = Field(
        4, ge=1, le=16, description="pixels averaged before the content term"
    )


class RestorerSettings(StageSettings):
    """Stage two: cGAN, defective images to restored ones."""

    architecture: RestorerArchitecture = RestorerArchitecture()
    discriminator: Literal["patch", "dense"] = Field(
        "patch", description="patch by patch, or the whole"
    )
    adversarial: Literal["hinge", "bce"] = Field("hinge", description="adversarial loss")
    adversarial_weight: Weight = Field(0.0, description="weight of the adversarial loss; 0 = none")
    adversarial_start: float = Field(
        0.5, ge=0, le=1, description="fraction of steps before it counts"
    )
    content_weight: Weight = Field(
        0.0, description="VGG16 block3_conv3 distance to the clean target"
    )
    content_fraction: float = Field(
        0.125, gt=0, le=1, description="share of a batch it is measured on"
    )
    pixel_weight: Weight = Field(1.0, description="log RMSE to the clean target, sample by sample")
    error_floor: float = Field(0.003, gt=0, le=1, description="RMSE below which errors lose weight")
    fit_scale: int = Field(
        8,
        ge=1,
        le=32,
        description="pixels averaged before a target follows CIN-GAN's gain and offset",
    )


class SamplingSettings(_Settings):
    """How the patches of a batch are drawn from the images."""

    field: Side = Field(
        128, description="side of the fields that a defect is simulated in, in pixels"
    )
    crops: int = Field(4, ge=1, le=64, description="patches cut from one simulated field")
    own_clean: Share = Field(
        0.75, description="how often simulation starts from the defect's own kind of clean image"
    )
    zoomed: Share = Field(
        0.5, description="how often a clean field is of another magnification than its image"
    )
    zoom: Zooms = Field((0.75, 1.5), description="least and largest magnification")
    gain_spread: Spread = Field(0.2, description="spread of the log gain given to a pair")
    offset_spread: Spread = Field(0.03, description="spread of the offset given to a pair")
    hint_share: Share = Field(0.3, description="share of samples that come with a hint")


class SplitSettings(_Settings):
    """Which images serve which part of a training."""

    few_clean: int = Field(
        50, ge=0, le=10_000, description="clean planes below which simulated specimens join them"
    )
    specimen_side: Side = Field(128, description="side of simulated specimens, in pixels")
    few_pairs: int = Field(
        3, ge=1, le=1000, description="pairs below which physics is fitted to unpaired images"
    )
    least_pairs: int = Field(
        5, ge=2, le=1000, description="images with pairs from which some are held back"
    )
    least_clean: int = Field(
        10, ge=2, le=1000, description="clean images from which some are held back"
    )
    least_side: Side = Field(
        64, description="side in pixels of the part of a noisy image that is held back, at least"
    )


class AdaptationSettings(_Settings):
    """How images held back say which state of an adaptation is kept."""

    mixing_weight: Share = Field(
        0.85, description="how far from the generalist to the trained weights the kept ones lie"
    )
    validations: int = Field(10, ge=1, le=1000, description="validations in a training")
    patience: int = Field(
        5, ge=1, le=1000, description="validations without one to keep that end the training"
    )
    tolerance: float = Field(
        0.1, ge=0, le=10, description="dB below the best that the last state may be to be kept"
    )
    field: Side = Field(128, description="side of the validation fields, in pixels")
    fields: int = Field(32, ge=1, le=1024, description="validation fields of each defect")
    clean_psnr: float = Field(
        40.0, ge=10, le=100, description="PSNR in dB above which CIN-GAN's images have no defect"
    )


class SelfSupervisionSettings(_Settings):
    """Noise learned from noisy images alone (Neighbor2Neighbor)."""

    steps: int = Field(350, ge=1, le=10_000_000, description="updates at most")
    mixing_weight: Share = Field(
        0.5, description="how far from the generalist to the trained weights the kept ones lie"
    )
    correlation: Share = Field(
        0.15, description="correlation of neighbours' noise above which it is refused"
    )


class LaboratorySettings(_Settings):
    """Virtual laboratories, which what ships is pre-trained on."""

    images: int = Field(6, ge=1, le=64, description="defective images")
    alike: int = Field(4, ge=0, le=64, description="clean images besides")
    field: Side = Field(128, description="side of the images, in pixels")
    simulated: Share = Field(0.45, description="laboratories whose specimen is simulated")
    stacks: Share = Field(0.5, description="laboratories that image stacks or movies")
    stacked: int = Field(3, ge=0, le=64, description="images of those with planes next to them")
    common: Share = Field(0.0, description="laboratories of one of the defects users have most")
    measured: bool = Field(True, description="measure the images, as a set encoder needs")


class PretrainingSettings(_Settings):
    """How what ships is pre-trained."""

    field: Side = Field(128, description="side of the clean fields, in pixels")
    scales: tuple[Scale, ...] = Field((1.0, 0.71, 0.5), description="scales of the clean images")
    noisiest: float = Field(
        0.015, gt=0, le=1, description="noise of a clean field, SD as a part of its range"
    )
    laboratories: int = Field(24, ge=1, le=1024, description="laboratories a step")
    workers: int = Field(0, ge=0, le=256, description="processes that draw them")
    restorer_rate: Rate = Field(1e-3, description="peak rate of a restorer's Adam")
    encoder_rate: Rate = Field(1e-3, description="peak rate of the set encoder's Adam")
    ema: Decay = 0.998
    warm_up: int = Field(100, ge=1, le=100_000, description="steps in which the rates rise")
    last_rate: Share = Field(0.005, description="rate of the last step, as a part of the peak")
    error_floor: float = Field(0.008, gt=0, le=1, description="RMSE below which errors lose weight")
    faint: float = Field(42.0, gt=0, le=60, description="PSNR in dB of stages too faint to count")
    hinted: Share = Field(0.3, description="share of images that come with a hint")
    log_every: Interval = Field(100, description="steps between two lines")
    save_seconds: float = Field(600.0, gt=0, description="seconds between two saved states")


class StageTreeSettings(_Settings):
    """Boosted trees that say which stages spoil images."""

    trees: int = Field(180, ge=1, le=5000, description="trees a stage")
    rate: Rate = Field(0.06, description="what each tree adds of its answer")
    leaves: int = Field(12, ge=2, le=256, description="leaves a tree")
    samples_a_leaf: int = Field(20, ge=1, description="examples in a leaf, at least")
    ridge: float = Field(2.0, ge=0, description="L2 regularisation of the leaves")
    share: float = Field(0.2, gt=0, le=1, description="share of the measures that a split tries")
    faint: float = Field(44.0, gt=0, le=60, description="PSNR in dB of stages too faint to count")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the measures that are tried")


class Settings(_Settings):
    """All settings of a run: what it depends on beside the data.

    Examples
    --------
    >>> make_settings("default").changed({"restorer.content_weight": 0.3}).restorer.content_weight
    0.3
    """

    preset: Preset = Field("default", description="what the other fields started from")
    start: Start = Field("generalist", description="weights that training starts from")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, draws and splits")
    alpha: float = Field(0.5, ge=0, le=1, description="share of synthetic pairs; 1 = no real pairs")
    cin_gan: float = Field(
        0.0, ge=0, le=1, description="share of synthetic pairs by CIN-GAN where physics is known"
    )
    pairs: int | None = Field(None, ge=0, description="real pairs of each defect; None = all")
    validation: float = Field(0.1, ge=0, le=0.5, description="share of images held back")
    specimens: int = Field(24, ge=0, le=1000, description="simulated specimens if few are clean")
    split: SplitSettings = SplitSettings()
    sampling: SamplingSettings = SamplingSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    self_supervision: SelfSupervisionSettings = SelfSupervisionSettings()
    defects: DefectSettings = DefectSettings()
    restorer: RestorerSettings = RestorerSettings()

    def changed(self, changes: Mapping[str, object]) -> Settings:
        """Return settings with other values, checked as all are.

        Parameters
        ----------
        changes
            Fields by name; those of a part by a dotted name or nested, as in a file of settings.

        Raises
        ------
        ValueError
            Unknown field, or a value out of its bounds; names the field and the bound.
        """
        content = _merged(self.model_dump(), nested(changes))
        try:
            return Settings.model_validate(content)
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    @classmethod
    def from_saved(cls, text: str) -> Settings:
        """Read ``settings.json`` of a run, also of an earlier version of the program.

        Fields that it lacks have their defaults; those that are no more are left out.

        Raises
        ------
        ValueError
            No JSON object, or a value out of its bounds.
        """
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"settings: expected a JSON object, got {type(content).__name__}")
        return from_saved(cls, content)


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
        Fields of `Settings` to set otherwise, as for `Settings.changed`.

    Raises
    ------
    ValueError
        Unknown preset or start, unknown field, a value out of bounds, or another architecture than
        the generalist's to adapt it to.
    """
    for name, value, allowed in (("preset", preset, PRESETS), ("start", start, STARTS)):
        if value not in allowed:
            raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
    if preset == "paper":
        return _PAPER.changed(changes)
    if start == "scratch":
        return Settings(start="scratch").changed(changes)
    for part in ("defects", "restorer"):
        fields = nested(changes).get(part)
        if isinstance(fields, Mapping) and "architecture" in fields:
            raise ValueError(
                f"{part}.architecture: expected none to adapt the generalist, which has its own; "
                "start from scratch to choose one"
            )
    return Settings().changed(_ADAPTATION).changed(changes)


def read_settings(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings: any of the fields of `Settings`, nested.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It is no TOML.
    """
    try:
        return nested(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected settings in TOML, got none ({error})") from None


def parse_change(text: str) -> dict[str, Any]:
    """Read ``name=value``: a dotted name, and a value as TOML writes it or a plain word.

    Examples
    --------
    >>> parse_change("restorer.content_weight=0.3")
    {'restorer': {'content_weight': 0.3}}
    >>> parse_change("restorer.adversarial = bce")
    {'restorer': {'adversarial': 'bce'}}
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (equals and value and re.fullmatch(r"\w+(\.\w+)*", name)):
        raise ValueError(f"--set: expected name=value such as restorer.steps=800, got {text!r}")
    try:
        return nested({name: tomllib.loads(f"value = {value}")["value"]})
    except tomllib.TOMLDecodeError:
        return nested({name: value})


def combine_settings(
    file: Path | None, changes: Iterable[str], options: Mapping[str, object]
) -> Settings:
    """Return the settings of a preset, a file, single changes and options of a command.

    Each overrides those before it.

    Parameters
    ----------
    file
        Of TOML, see `read_settings`; None where there is none.
    changes
        ``name=value`` each, see `parse_change`.
    options
        Fields by dotted names; one that is None was not given.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_settings`, `parse_change` and `make_settings`.
    """
    content = read_settings(file) if file is not None else {}
    for change in changes:
        content = _merged(content, parse_change(change))
    explicit = {name: value for name, value in options.items() if value is not None}
    content = _merged(content, nested(explicit))
    preset, start = content.pop("preset", "default"), content.pop("start", "generalist")
    return make_settings(preset, start, **content)


def nested(changes: Mapping[str, object]) -> dict[str, Any]:
    """Return fields by nested names from dotted ones.

    Examples
    --------
    >>> nested({"restorer.steps": 3, "restorer": {"batch": 2}})
    {'restorer': {'steps': 3, 'batch': 2}}
    """
    content: dict[str, Any] = {}
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        value = nested({rest: value}) if rest else value
        if isinstance(value, Mapping):
            value = _merged(content.get(first, {}), nested(value))
        content[first] = value
    return content


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested fields with those of `changes` in place of what they had."""
    both = dict(content)
    for name, value in changes.items():
        inner = both.get(name)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            value = _merged(inner, value)
        both[name] = value
    return both


def explain(error: ValidationError) -> str:
    """Return one line: the field, what it expects, and what came."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or "settings"
    if problem["type"] == "extra_forbidden":
        *parts, name = map(str, problem["loc"])
        return f"{'.'.join(parts) or 'settings'}: expected {_names(parts)}, got {name!r}"
    said = problem["msg"].removeprefix("Value error, ")
    said = re.sub(r"^Input should be (?=less|greater|a mult)", "expected a value ", said)
    return f"{where}: {said.replace('Input should be', 'expected')}, got {problem['input']!r}"


def _names(parts: list[str]) -> str:
    """Name the fields of a part of the settings."""
    kind: type[BaseModel] = Settings
    for part in parts:
        kind = cast(type[BaseModel], kind.model_fields[part].annotation)
    return "one of " + ", ".join(kind.model_fields)


def from_saved(kind: type[Model], content: Mapping[str, Any]) -> Model:
    """Read settings or an architecture that this or an earlier version saved.

    What `content` lacks has its default; what it has beyond is left out. Earlier files have the
    fields of an architecture among those of its training.

    Raises
    ------
    ValueError
        A value is out of its bounds.
    """
    return kind.model_validate(_still_there(kind, content))


def architecture_from_saved(kind: type[Architecture], about: Mapping[str, Any]) -> Architecture:
    """Read the architecture that saved weights say they have.

    Earlier weights say it among all settings of their training; their networks of the kind
    ``resnet`` could only add to their input.

    Raises
    ------
    KeyError, ValueError
        They say none, or one with a value out of its bounds.
    """
    if "architecture" in about:
        return from_saved(kind, about["architecture"])
    earlier = from_saved(kind, about["settings"])
    if earlier.network != "resnet":
        return earlier
    return earlier.model_copy(update={"fade": False})


def _still_there(kind: type[_Settings], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of `content` that `kind` has."""
    fields: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, _Settings):
            saved = content.get(name, content if name == "architecture" else {})
            fields[name] = _still_there(part, saved)
        elif name in content:
            fields[name] = content[name]
        elif kind.former.get(name) in content:
            fields[name] = content[kind.former[name]]
    return fields


_ADAPTATION = {
    "restorer": {"steps": 4000, "error_floor": 0.01, "architecture": {"hints": COMMON}},
}

_PAPER = Settings(
    preset="paper",
    start="scratch",
    defects=DefectSettings(
        architecture=GeneratorArchitecture(network="resnet", channels=64, blocks=9),
        steps=1000,
        batch=4,
        patch=128,
        learning_rate=1e-4,
        critic_rate=1e-4,
        row_rate=3e-3,
        ema=0.0,
        save_every=100,
        log_every=10,
        picture_every=500,
        physics=False,
        adversarial="wgan-gp",
        critic_steps=5,
        penalty=10.0,
        augment=False,
        adversarial_weight=0.1,
        statistics_weight=0.0,
        content_weight=1.0,
        style_weight=3.0,
        spectrum_weight=3.0,
        content_scale=4,
    ),
    restorer=RestorerSettings(
        architecture=RestorerArchitecture(network="resnet", channels=(64, 128, 256), blocks=12),
        steps=2500,
        batch=4,
        patch=128,
        learning_rate=2e-4,
        critic_rate=1e-4,
        ema=0.0,
        save_every=100,
        log_every=10,
        picture_every=500,
        discriminator="dense",
        adversarial="bce",
        adversarial_weight=0.01,
        adversarial_start=0.0,
        content_weight=1.0,
        content_fraction=1.0,
        pixel_weight=5.0,
        error_floor=0.003,
    ),
)
