"""From the generalist to one laboratory's restorer: what it starts from, what validates it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from ..defects import all_defects, parts_of
from ..defects.specimens import draw_specimen
from ..gan.cgan import load_restorer
from ..gan.cin_gan import load_defects, synthesize
from ..gan.networks import DefectGenerator, ResNetRestorer, UNetRestorer, choose_rows, train_rows
from ..settings import Settings
from .batches import flip, simulate
from .split import Split, validation_kinds
from .validation import (
    ValidationImages,
    affine_error,
    cut_fields,
    kept_row,
    mean_gain,
    read_validations,
    stack_pairs,
)

_WEIGHTS = Path(str(files("microscopygan") / "weights"))
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
    """Return the CIN-GAN that ships with a row for each defect of the split.

    A defect that it knows starts from its own γ and β, another one from the mean of all. Where
    physics simulates every defect, only the rows are to train, from a gain of 0: each starts as
    it is simulated. Rows alone cannot make a defect out of clean images: where one has no
    physics, all weights are to train, and its gain is 1.
    """
    generator, shipped = load_defects(DEFECTS)
    names = split.defects
    rows = {name: row for row, name in enumerate(shipped)}
    choose_rows(generator, [rows.get("+".join(parts_of(name))) for name in names])
    unknown = torch.tensor([name not in split.physics for name in names])
    generator.gain.data[:] = unknown[:, None]
    if unknown.any():
        generator.requires_grad_(True)
    else:
        train_rows(generator)
    return generator


def validation_images(
    split: Split, settings: Settings, generator: DefectGenerator | None
) -> dict[str, ValidationImages]:
    """Return the images that validate an adaptation, by defect.

    They are the held-back pairs of a defect. One without gets its physics, or CIN-GAN's
    `generator` where it has none, put into clean images held back, or into simulated specimens
    where there are none.

    Raises
    ------
    ValueError
        A defect has neither held-back pairs nor what could put it into clean images, or CIN-GAN
        has not learned to.
    """
    rng, images = np.random.default_rng([settings.seed, 6]), {}
    for number, name in enumerate(split.defects):
        if pairs := split.validation_pairs[name]:
            planes = [[pair.input, pair.target] for pair in pairs]
            fields = cut_fields(planes, rng, settings.adaptation)
            images[name] = stack_pairs((image, target) for image, target in fields)
            continue
        if generator is None and name not in split.physics:
            raise ValueError(
                f"{name}: expected pairs to validate an adaptation by, got none held back"
            )
        images[name] = _synthetic_images(split, settings, name, generator, number, rng)
    return images


def _synthetic_images(
    split: Split,
    settings: Settings,
    name: str,
    generator: DefectGenerator | None,
    number: int,
    rng: np.random.Generator,
) -> ValidationImages:
    """Put a defect into clean planes held back, or into specimens."""
    adaptation = settings.adaptation
    size, count = (adaptation.field, adaptation.field), adaptation.fields
    planes = split.validation_planes[name] or [draw_specimen(size, rng) for _ in range(count)]
    fields = cut_fields([[plane] for plane in planes], rng, adaptation)
    clean = [flip(field, name, rng)[0] for field in fields]
    images = stack_pairs(simulate(split, name, plane, rng) for plane in clean)
    if generator is not None and name not in split.physics:
        noise = torch.Generator().manual_seed(settings.seed)
        images = images._replace(image=synthesize(generator, images.image, number, noise))
        _check_learned(name, images, adaptation.clean_psnr)
    return images


def _check_learned(name: str, images: ValidationImages, clean_psnr: float) -> None:
    """Check that images of CIN-GAN are defective: from others a restorer learns to do nothing."""
    image, target = (torch.from_numpy(side)[:, None] for side in images)
    psnr = float(-10 * affine_error(image, target).log10().mean())
    if psnr > clean_psnr:
        raise ValueError(
            f"{name}: expected CIN-GAN to learn the defect, got images that are clean (PSNR "
            f"{psnr:.0f} dB); add pairs/{name}/ and set --alpha 0, or give more images or "
            f"--minutes; if it is one of {', '.join(all_defects())}, name its folder so"
        )


def outcome(folder: Path, split: Split, settings: Settings) -> dict[str, object] | None:
    """Say what validation said of an adaptation: mean gains over the input, in dB.

    Noisy images rank the states, but are too noisy themselves for a gain to mean anything. None
    where there was no validation.
    """
    rows = read_validations(folder)
    if not rows:
        return None
    kept = kept_row(rows, settings.adaptation.tolerance)
    said = {"kept_after_steps": int(kept["step"]), "judged_on": validation_kinds(split)}
    gains = {"generalist_gain_db": mean_gain(rows[0]), "kept_gain_db": mean_gain(kept)}
    return said | ({k: round(v, 2) for k, v in gains.items()} if split.clean else {})
