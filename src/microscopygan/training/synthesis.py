"""A run's defects put into clean images: by its CIN-GAN, or by its physics where it has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..gan.cin_gan import degrade, load_defects
from ..gan.networks import DefectGenerator
from ..image.atomic import whole
from ..image.intensity import AffineMap, percentile_map
from .batches import draft_of, draw_field, draw_physics
from .run_folder import read_physics
from .split import Material

_DRAWS = 24  # synthetic fields of each defect kept for the realism measures


def save_draws(
    path: Path, generator: nn.Module | None, material: Material, seed: int, first: int = 0
) -> None:
    """Keep synthetic fields with their clean and physical origins, to compare with real ones.

    Each clean field gets the defect twice, from another draft each time. `first` is the
    generator's index of the material's first defect; without a generator, the physics that all
    defects have then makes the synthetic fields.
    """
    rng, again = (np.random.default_rng([seed, stream]) for stream in (3, 4))
    noise = torch.Generator().manual_seed(seed)
    if generator is not None:
        generator = generator.cpu()
    arrays = {}
    for number, name in enumerate(material.defects, first):
        fields = [draw_field(material, name, 128, rng, own_share=1.0) for _ in range(_DRAWS)]
        draft = np.stack([a for a, _ in fields]).astype(np.float32)
        clean = np.stack([b for _, b in fields]).astype(np.float32)
        other = np.stack([draft_of(material, name, b, again)[0] for _, b in fields])
        arrays[f"{name}/clean"] = clean
        if generator is not None:
            arrays[f"{name}/physics"] = draft
        for draw, made in (("synthetic1", draft), ("synthetic2", other.astype(np.float32))):
            if generator is not None:
                made = degrade(generator, made, number, noise)
            arrays[f"{name}/{draw}"] = made
    with whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


class Degrader:
    """A run's CIN-GAN, or its physics where it has none, to put a defect into clean planes.

    Parameters
    ----------
    run
        Run folder.
    defect
        Name of the defect.

    Attributes
    ----------
    generator
        CIN-GAN's; None where the run has none.

    Raises
    ------
    FileNotFoundError
        The run has neither a trained CIN-GAN nor calibrated physics.
    ValueError
        It does not know the defect.
    """

    def __init__(self, run: Path, defect: str) -> None:
        saved, physics = run / "defects.safetensors", read_physics(run)
        if not (saved.exists() or physics):
            raise FileNotFoundError(f"{saved} is missing: train with --stage defects first")
        self.generator: DefectGenerator | None = None
        names = tuple(physics)
        if saved.exists():
            self.generator, names = load_defects(saved)
        if defect not in names:
            raise ValueError(f"defect: expected one of {', '.join(names)}, got {defect!r}")
        self.index, self.physics = names.index(defect), physics.get(defect, [])

    def __call__(
        self, clean: np.ndarray, rng: np.random.Generator, noise: torch.Generator
    ) -> np.ndarray:
        """Degrade clean planes (N, Y, X), float32 on about 0..1; another draw at each call."""
        _, draft, scale = self._draft(clean, rng)
        return scale.undo(self._finished(scale.apply(draft), noise))

    def with_draft(
        self, clean: np.ndarray, rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (clean, physical draft, result), all on the scale of a defective image."""
        partner, draft, scale = self._draft(clean, rng)
        draft = scale.apply(draft)
        return scale.apply(partner), draft, self._finished(draft, noise)

    def _draft(
        self, clean: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, AffineMap]:
        """Return the clean partners of drafts, the drafts, and the scale of these."""
        partner = draft = clean.astype(np.float32)
        if self.physics:
            known = draw_physics(self.physics, rng)
            draft = np.stack([known.apply(plane, rng) for plane in draft]).astype(np.float32)
            partner = np.stack([known.target(plane) for plane in partner])
        return partner, draft, percentile_map(draft)

    def _finished(self, draft: np.ndarray, noise: torch.Generator) -> np.ndarray:
        if self.generator is None:
            return draft
        return degrade(self.generator, draft, self.index, noise)
