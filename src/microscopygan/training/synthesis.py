"""A run's defects put into clean images: by its CIN-GAN, or by its physics where it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..datasets.names import stem_of
from ..gan.cin_gan import load_defects
from ..gan.cin_gan import synthesize as correct
from ..gan.networks import DefectGenerator
from ..image.atomic import whole
from ..image.axes import AXES, to_volumes
from ..image.formats import Image, read, write
from ..image.intensity import AffineMap, percentile_map, to_dtype
from ..settings import Settings
from .batches import draw_field, draw_physics, simulate
from .run_folder import read_physics
from .split import Split

_DRAWS = 24  # synthetic fields of each defect kept for the realism measures
_FIELD = 128  # their side in pixels


def save_draws(
    path: Path, generator: DefectGenerator | None, split: Split, settings: Settings, first: int = 0
) -> None:
    """Keep synthetic fields with their clean and physical origins, to compare with real ones.

    Each clean field gets the defect twice, simulated anew each time. `first` is the
    generator's index of the split's first defect; without a generator, the physics that all
    defects have then makes the synthetic fields.
    """
    rng, again = (np.random.default_rng([settings.seed, stream]) for stream in (3, 4))
    noise = torch.Generator().manual_seed(settings.seed)
    sampling = settings.sampling.model_copy(update={"own_clean": 1.0, "zoomed": 0.0})
    if generator is not None:
        generator = generator.cpu()
    arrays = {}
    for number, name in enumerate(split.defects, first):
        fields = [draw_field(split, name, _FIELD, rng, sampling) for _ in range(_DRAWS)]
        simulated = np.stack([image for image, _ in fields]).astype(np.float32)
        clean = np.stack([target for _, target in fields]).astype(np.float32)
        other = np.stack([simulate(split, name, target, again)[0] for _, target in fields])
        arrays[f"{name}/clean"] = clean
        if generator is not None:
            arrays[f"{name}/physics"] = simulated
        for draw, planes in (("synthetic1", simulated), ("synthetic2", other.astype(np.float32))):
            if generator is not None:
                planes = correct(generator, planes, number, noise)
            arrays[f"{name}/{draw}"] = planes
    with whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


class Synthesizer:
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
        """Put the defect into planes (N, Y, X), float32 on about 0..1; another draw each call."""
        _, simulated, scale = self._simulated(clean, rng)
        return scale.undo(self._corrected(scale.apply(simulated), noise))

    def with_simulated(
        self, clean: np.ndarray, rng: np.random.Generator, noise: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (target, simulated, result), all on the scale of a defective image."""
        target, simulated, scale = self._simulated(clean, rng)
        simulated = scale.apply(simulated)
        return scale.apply(target), simulated, self._corrected(simulated, noise)

    def _simulated(
        self, clean: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, AffineMap]:
        """Return the targets of simulated planes, these, and the scale of these."""
        target = simulated = clean.astype(np.float32)
        if self.physics:
            drawn = draw_physics(self.physics, rng)
            planes = [drawn.apply(plane, rng) for plane in simulated]
            simulated = np.stack(planes).astype(np.float32)
            target = np.stack([drawn.target(plane) for plane in target])
        return target, simulated, percentile_map(simulated)

    def _corrected(self, simulated: np.ndarray, noise: torch.Generator) -> np.ndarray:
        if self.generator is None:
            return simulated
        return correct(self.generator, simulated, self.index, noise)


def synthesize_files(
    run: Path,
    outputs: Sequence[tuple[Path | str, Path]],
    defect: str,
    *,
    seed: int = 0,
    draws: int = 1,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Put a learned defect into image files, `draws` times each, yielding each file written.

    Parameters
    ----------
    run
        Run folder.
    outputs
        Each clean image with the file that its defective one goes to; the defect's name and the
        draw's number are added to that name.
    defect
        One of the run's defects.
    seed
        Of all draws.
    draws
        Images made of each clean one.
    overwrite
        Replace files that exist.

    Raises
    ------
    FileExistsError
        One of the files exists and `overwrite` is not set; none is written then.
    FileNotFoundError, ValueError
        As `Synthesizer`.
    """
    synthesizer = Synthesizer(run, defect)
    files = [
        (source, _renamed(path, f"_{defect}{draw}"))
        for source, path in outputs
        for draw in range(1, draws + 1)
    ]
    for _, path in files:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; give --overwrite, or another output")
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    for source, path in files:
        image = synthesize(read(source), lambda planes: synthesizer(planes, rng, noise))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield write(path, image, overwrite=overwrite)


def _renamed(path: Path, end: str) -> Path:
    """Return the path with `end` before its suffix; ``.ome.tif`` is one."""
    stem = stem_of(path)
    return path.with_name(f"{stem}{end}{path.name[len(stem) :]}")


def synthesize(image: Image, put: Callable[[np.ndarray], np.ndarray]) -> Image:
    """Put a defect into each volume on an intensity scale of its own, as it is restored.

    `put` takes and gives planes (N, Y, X), float32 on about 0..1.
    """
    order = [image.axes.index(letter) for letter in AXES if letter in image.axes]
    volumes = []
    for volume in to_volumes(image.array, image.axes):
        scale = percentile_map(volume)
        volumes.append(scale.undo(put(scale.apply(volume))))
    ordered = np.stack(volumes).reshape([image.array.shape[k] for k in order])
    array = ordered.transpose(np.argsort(order))
    return replace(image, array=to_dtype(array, image.array.dtype))
