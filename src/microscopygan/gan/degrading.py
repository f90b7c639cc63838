"""A trained CIN-GAN at work: a run's defects put into clean images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..image.intensity import AffineMap, percentile_map
from .cin_gan import degrade, load_defects
from .material import Material
from .patches import draft_of, draw_field, draw_physics
from .run import read_physics

_DRAWS = 24  # synthetic fields of each defect kept for the realism measures


def save_draws(
    path: Path, generator: nn.Module, material: Material, seed: int, first: int = 0
) -> None:
    """Keep synthetic fields with their clean and physical origins, to compare with real ones.

    Each clean field gets the defect twice, from another draft each time. `first` is the
    generator's index of the material's first defect.
    """
    rng, again = (np.random.default_rng([seed, stream]) for stream in (3, 4))
    noise = torch.Generator().manual_seed(seed)
    generator = generator.cpu()
    arrays = {}
    for number, name in enumerate(material.defects, first):
        fields = [draw_field(material, name, 128, rng, own_share=1.0) for _ in range(_DRAWS)]
        draft = np.stack([a for a, _ in fields]).astype(np.float32)
        clean = np.stack([b for _, b in fields]).astype(np.float32)
        arrays[f"{name}/clean"], arrays[f"{name}/physics"] = clean, draft
        other = np.stack([draft_of(material, name, b, again)[0] for _, b in fields])
        for draw, drafts in (("synthetic1", draft), ("synthetic2", other.astype(np.float32))):
            arrays[f"{name}/{draw}"] = degrade(generator, drafts, number, noise)
    partial = path.with_name("draws.partial.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


class Degrader:
    """The CIN-GAN of a run, to put one of its defects into clean planes.

    Parameters
    ----------
    run
        Run folder.
    defect
        Name of the defect.

    Raises
    ------
    FileNotFoundError
        The run has no trained CIN-GAN.
    ValueError
        It does not know the defect.
    """

    def __init__(self, run: Path, defect: str) -> None:
        saved = run / "defects.safetensors"
        if not saved.exists():
            raise FileNotFoundError(f"{saved} is missing: train with --stage defects first")
        self.generator, names = load_defects(saved)
        if defect not in names:
            raise ValueError(f"defect: expected one of {', '.join(names)}, got {defect!r}")
        self.index, self.physics = names.index(defect), read_physics(run).get(defect, [])

    def __call__(
        self, clean: np.ndarray, rng: np.random.Generator, noise: torch.Generator
    ) -> np.ndarray:
        """Degrade clean planes (N, Y, X), float32 on about 0..1; another draw at each call."""
        draft, scale = self._draft(clean, rng)
        return scale.undo(degrade(self.generator, scale.apply(draft), self.index, noise))

    def with_draft(
        self, clean: np.ndarray, rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (clean, physical draft, result), all on the scale of a defective image."""
        draft, scale = self._draft(clean, rng)
        draft = scale.apply(draft)
        return scale.apply(clean), draft, degrade(self.generator, draft, self.index, noise)

    def _draft(self, clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, AffineMap]:
        draft = clean.astype(np.float32)
        if self.physics:
            known = draw_physics(self.physics, rng)
            draft = np.stack([known.apply(plane, rng) for plane in draft]).astype(np.float32)
        return draft, percentile_map(draft)
