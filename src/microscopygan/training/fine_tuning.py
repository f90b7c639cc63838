"""From the generalist to one laboratory's restorer: what training starts from, what judges it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from ..defects import all_defects
from ..defects.specimens import draw_specimen
from ..gan.cgan import load_restorer
from ..gan.cin_gan import degrade, load_defects
from ..gan.networks import DefectGenerator, ResNetRestorer, UNetRestorer, choose_rows, train_rows
from ..settings import Settings
from .batches import draft_of, flip
from .split import Material, judged_on
from .validation import (
    FIELD,
    FIELDS,
    Held,
    affine_error,
    cut_fields,
    held,
    kept_row,
    mean_gain,
    read_judgements,
)

_WEIGHTS = Path(str(files("microscopygan") / "weights"))
RESTORER = _WEIGHTS / "generalist.safetensors"
DEFECTS = _WEIGHTS / "generalist_defects.safetensors"
_CLEAN = 40.0  # dB to the clean image, above which no defect is to be seen


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


def generator_for(material: Material) -> DefectGenerator:
    """Return the CIN-GAN that ships with a row for each defect of the material.

    A defect that it knows starts from its own γ and β, another one from the mean of all. Where
    physics makes a draft of every defect, only the rows are to train, from a gain of 0: each
    starts as its draft. Rows alone cannot make a defect out of clean images: where one has no
    draft, all weights are to train, and its gain is 1.
    """
    generator, known = load_defects(DEFECTS)
    names = material.defects
    choose_rows(generator, [known.index(name) if name in known else None for name in names])
    undrafted = torch.tensor([name not in material.physics for name in names])
    generator.gain.data[:] = undrafted[:, None]
    if undrafted.any():
        generator.requires_grad_(True)
    else:
        train_rows(generator)
    return generator


def judges(
    material: Material, settings: Settings, generator: DefectGenerator | None
) -> dict[str, Held]:
    """Return the images that judge an adaptation, by defect.

    They are the held-back pairs of a defect. One without gets its physics, or CIN-GAN's
    `generator` where it has none, put into clean images held back, or into simulated specimens
    where there are none.

    Raises
    ------
    ValueError
        A defect has neither held-back pairs nor what could put it into clean images, or CIN-GAN
        has not learned to.
    """
    rng, found = np.random.default_rng([settings.seed, 6]), {}
    for number, name in enumerate(material.defects):
        if pairs := material.validation[name]:
            fields = cut_fields([[pair.input, pair.target] for pair in pairs], rng)
            found[name] = held((image, target) for image, target in fields)
            continue
        if generator is None and name not in material.physics:
            raise ValueError(
                f"{name}: expected pairs to judge an adaptation by, got none held back"
            )
        spare = material.spare[name] or [draw_specimen((FIELD, FIELD), rng) for _ in range(FIELDS)]
        planes = [flip(field, name, rng)[0] for field in cut_fields([[p] for p in spare], rng)]
        made = held(draft_of(material, name, plane, rng) for plane in planes)
        if generator is not None and name not in material.physics:
            noise = torch.Generator().manual_seed(settings.seed)
            made = made._replace(image=degrade(generator, made.image, number, noise))
            _check_learned(name, made)
        found[name] = made
    return found


def _check_learned(name: str, made: Held) -> None:
    """Check that images of CIN-GAN are defective: from others a restorer learns to do nothing."""
    image, target = (torch.from_numpy(side)[:, None] for side in made)
    psnr = float(-10 * affine_error(image, target).log10().mean())
    if psnr > _CLEAN:
        raise ValueError(
            f"{name}: expected CIN-GAN to learn the defect, got images that are clean (PSNR "
            f"{psnr:.0f} dB); add pairs/{name}/ and set --alpha 0, or give more images or "
            f"--minutes; if it is one of {', '.join(all_defects())}, name its folder so"
        )


def verdict(folder: Path, material: Material) -> dict[str, object] | None:
    """Say what held-back images said of an adaptation: mean gains over the input, in dB.

    Noisy images rank the states, but are too noisy themselves for a gain to mean anything.
    """
    rows = read_judgements(folder)
    if not rows:
        return None
    kept = kept_row(rows)
    said = {"kept_after_steps": int(kept["step"]), "judged_on": judged_on(material)}
    gains = {"generalist_gain_db": mean_gain(rows[0]), "kept_gain_db": mean_gain(kept)}
    return said | ({k: round(v, 2) for k, v in gains.items()} if material.clean else {})
