"""From the generalist to one laboratory's restorer: what it starts from, what validates it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from ..datasets.folder import Pair
from ..defects.specimens import draw_specimen
from ..gan.cgan import load_restorer
from ..gan.cin_gan import load_defects, synthesize
from ..gan.networks import (
    DefectGenerator,
    ResNetRestorer,
    UNetRestorer,
    choose_rows,
    train_rows,
)
from ..settings import Settings
from .batches import flip, simulate
from .likeness import RESEMBLES, Likeness
from .set_distance import NEARER, SetDistance
from .split import Split
from .validation import ValidationImages, cut_fields, joined, stack_pairs

_WEIGHTS = Path(str(files("microscopygan") / "weights"))
FEW = 4  # validation images of a defect; with fewer of them real, synthetic ones join
RESTORER = _WEIGHTS / "generalist.safetensors"
DEFECTS = _WEIGHTS / "generalist_defects.safetensors"


def generalist() -> UNetRestorer | ResNetRestorer:
    """Return the restorer that ships."""
    return load_restorer(RESTORER)


def as_generalist(settings: Settings) -> Settings:
    """Return settings with the architecture of the networks that ship."""
    generator, _ = load_defects(DEFECTS)
    return settings.changed(
        {
            "restorer.architecture": generalist().architecture.model_dump(),
            "defects.architecture": generator.architecture.model_dump(),
        }
    )


def generator_for(split: Split) -> DefectGenerator:
    """Return the CIN-GAN that ships with rows for each defect of the split, the only ones to train.

    All are 0 at first: each defect starts as it is simulated.
    """
    generator, _ = load_defects(DEFECTS)
    choose_rows(generator, [None for _ in split.defects])
    train_rows(generator)
    return generator


def validation_images(
    split: Split, settings: Settings, generator: DefectGenerator | None
) -> dict[str, ValidationImages]:
    """Return the images that validate an adaptation, by defect.

    They are the held-back pairs of a defect. Where there are fewer than `FEW` images, synthetic
    ones join them: the defect's physics, or CIN-GAN's `generator` where it has none, put into
    clean images held back; where there are none, into those of the pairs that train, or else into
    simulated specimens, which are less like the user's. A defect that has neither pairs nor
    physics, and whose images by CIN-GAN do not resemble real ones, is left out.
    """
    rng, images = np.random.default_rng([settings.seed, 6]), {}
    held_back = [pair.target for some in split.validation_pairs.values() for pair in some]
    for number, name in enumerate(split.defects):
        pairs, physics = split.validation_pairs[name], bool(split.physics.get(name))
        real = _real_images(pairs, settings, rng) if pairs else None
        if real is not None and (real.pairs >= FEW or not physics):
            images[name] = real
        elif real is not None:
            made = _synthetic_images(split, settings, name, held_back, FEW - real.pairs, rng)
            images[name] = joined(real, made)
        elif physics or generator is not None:
            planes, count = split.validation_planes[name], settings.adaptation.fields
            made = _synthetic_images(split, settings, name, planes, count, rng)
            if not physics and generator is not None:
                noise = torch.Generator().manual_seed(settings.seed)
                made = made._replace(image=synthesize(generator, made.image, number, noise))
            if physics or _resembles(split.defective[name], made, rng):
                images[name] = made
    return images


def _resembles(
    defective: list[np.ndarray], made: ValidationImages, rng: np.random.Generator
) -> bool:
    images, fields = [*made.image], [*made.target]
    if SetDistance(defective, fields, rng).share(images) > NEARER:
        return False
    return Likeness(defective, fields, generalist(), rng).unlikeness(images) <= RESEMBLES


def _real_images(
    pairs: list[Pair], settings: Settings, rng: np.random.Generator
) -> ValidationImages:
    """Cut fields of pairs held back."""
    planes = [[pair.input, pair.target] for pair in pairs]
    fields, source = cut_fields(planes, rng, settings.adaptation)
    names = [pairs[k].image for k in source]
    return stack_pairs([(image, target) for image, target in fields], names, real=True)


def _synthetic_images(
    split: Split,
    settings: Settings,
    name: str,
    planes: list[np.ndarray],
    count: int,
    rng: np.random.Generator,
) -> ValidationImages:
    """Put a defect's physics into so many fields of clean planes: see `validation_images`."""
    adaptation = settings.adaptation.model_copy(update={"fields": count})
    size = (adaptation.field, adaptation.field)
    planes = planes or [pair.target for some in split.pairs.values() for pair in some]
    planes = planes or [draw_specimen(size, rng) for _ in range(count)]
    fields, source = cut_fields([[plane] for plane in planes], rng, adaptation)
    clean = [flip(field, split.meaning[name], rng)[0] for field in fields]
    return stack_pairs([simulate(split, name, plane, rng) for plane in clean], source)
