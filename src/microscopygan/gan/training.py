"""A whole run, stage after stage: `train` reads as the list of what happens."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from .. import __version__
from ..image.dataset import Dataset
from ..image.intensity import AffineMap, percentile_map
from ..modelfile import ModelCard
from ..settings import Settings
from .cgan import CGan
from .cin_gan import CinGan, degrade, load_defects, save_defects
from .export import export_restorer, receptive_field
from .loop import train as run_loop
from .networks import DefectGenerator, add_defect, build_restorer
from .patches import (
    DefectBatches,
    Material,
    PairBatches,
    calibrate_physics,
    draft_of,
    draw_field,
    draw_physics,
    gather,
)
from .run import open_run, read_physics, write_json, write_physics

_DRAWS = 24  # synthetic fields of each defect kept for the realism measures


def train(
    dataset: Dataset,
    run: Path,
    settings: Settings,
    *,
    stage: str = "all",
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Train CIN-GAN, then the restorer, into the folder `run`.

    Parameters
    ----------
    dataset
        The images.
    run
        Gets ``settings.json``, ``run.json``, ``defects/``, ``defects.safetensors``,
        ``restorer/`` and ``restorer.onnx``.
    settings
        All settings.
    stage
        ``all``, ``defects`` (CIN-GAN only) or ``restorer`` (takes the run's CIN-GAN).
    resume
        Go on with an interrupted run of the same settings; without a saved state, start.
    overwrite
        Replace an existing run.
    quiet
        Show no progress.

    Raises
    ------
    FileExistsError
        The run exists, and neither `resume` nor `overwrite` is set.
    ValueError
        Unknown stage, unfit dataset, or settings other than those of the run to resume.
    FileNotFoundError
        Stage ``restorer`` without a trained CIN-GAN.
    """
    accelerator = Accelerator()
    material = gather(dataset, settings)
    saved = run / "defects.safetensors"
    if stage == "restorer" and needs_defects(settings) and not saved.exists():
        raise FileNotFoundError(f"{saved} is missing: run --stage defects first, or set --alpha 0")
    if accelerator.is_main_process:
        open_run(run, settings, stage, resume=resume, overwrite=overwrite)
    accelerator.wait_for_everyone()
    material = _with_physics(material, settings, run, accelerator)
    seconds = {}
    if stage in ("all", "defects") and needs_defects(settings):
        begun = time.perf_counter()
        train_defects(material, run, settings, accelerator, resume=resume, quiet=quiet)
        seconds["defects"] = time.perf_counter() - begun
    if stage in ("all", "restorer"):
        begun = time.perf_counter()
        train_restorer(material, run, settings, accelerator, resume=resume, quiet=quiet)
        seconds["restorer"] = time.perf_counter() - begun
    if accelerator.is_main_process:
        _describe(run, dataset, material, settings, seconds)


def needs_defects(settings: Settings) -> bool:
    """Tell whether a run uses synthetic pairs, and so CIN-GAN."""
    return settings.alpha > 0


def _with_physics(
    material: Material, settings: Settings, run: Path, accelerator: Accelerator
) -> Material:
    """Calibrate the physical drafts once a run; every process reads the same ones."""
    if not (settings.defects.physics and needs_defects(settings)):
        return material
    path = run / "physics.json"
    if accelerator.is_main_process and not path.exists():
        write_physics(run, calibrate_physics(material, settings.seed))
    accelerator.wait_for_everyone()
    return replace(material, physics=read_physics(run))


def train_defects(
    material: Material,
    run: Path,
    settings: Settings,
    accelerator: Accelerator,
    *,
    known: tuple[str, ...] = (),
    extend: DefectGenerator | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> None:
    """Stage one: train CIN-GAN and keep its averaged generator and some of its draws.

    `extend` is a generator trained on the defects `known`, with rows for the material's too.
    """
    stage, names = settings.defects, known + material.defects
    gan = CinGan(stage, names, accelerator, settings.seed, extend=extend)
    batches = DefectBatches(material, stage.batch, stage.patch, settings.seed, first=len(known))
    generator = run_loop(
        gan,
        batches,
        run / "defects",
        stage,
        seed=settings.seed,
        accelerator=accelerator,
        resume=resume,
        quiet=quiet,
    )
    if accelerator.is_main_process:
        save_defects(run / "defects.safetensors", generator, names, stage)
        save_draws(run / "draws.npz", generator, material, settings.seed, first=len(known))


def extend_defects(
    old: Path,
    dataset: Dataset,
    run: Path,
    settings: Settings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Add the defects of `dataset` to the CIN-GAN of the run `old`, as the new run `run`.

    Only new CIN rows are trained: the rows of the known defects, and every shared weight, stay
    bit-equal.

    Raises
    ------
    FileNotFoundError
        `old` has no trained CIN-GAN.
    ValueError
        It knows one of these defects already.
    FileExistsError
        As `train`.
    """
    saved = old / "defects.safetensors"
    if not saved.exists():
        raise FileNotFoundError(f"{saved} is missing: train with --stage defects first")
    generator, known = load_defects(saved)
    settings = _with_architecture(settings, generator)
    material, accelerator = gather(dataset, settings), Accelerator()
    twice = sorted(set(known) & set(material.defects))
    if twice:
        raise ValueError(f"{old} knows {', '.join(twice)} already; leave only new defects in")
    if accelerator.is_main_process:
        open_run(run, settings, "defects", resume=resume, overwrite=overwrite)
    material = _with_physics(material, settings, run, accelerator)
    for _ in material.defects:
        add_defect(generator)
    how = {"resume": resume, "quiet": quiet}
    train_defects(material, run, settings, accelerator, known=known, extend=generator, **how)
    if accelerator.is_main_process:
        write_physics(run, {**read_physics(old), **read_physics(run)})


def _with_architecture(settings: Settings, generator: DefectGenerator) -> Settings:
    """Return the settings with the architecture of a trained generator."""
    fields = ("generator", "channels", "blocks", "physics")
    same = {name: getattr(generator.settings, name) for name in fields}
    return settings.model_copy(update={"defects": settings.defects.model_copy(update=same)})


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


def train_restorer(
    material: Material,
    run: Path,
    settings: Settings,
    accelerator: Accelerator,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> None:
    """Stage two: train the restorer on real and synthetic pairs and export it."""
    stage, generator = settings.restorer, None
    if needs_defects(settings):
        saved = run / "defects.safetensors"
        generator, known = load_defects(saved)
        if known != material.defects:
            raise ValueError(
                f"{saved}: knows the defects {', '.join(known)}, but the dataset has "
                f"{', '.join(material.defects)}; run --stage defects on this dataset first"
            )
    gan = CGan(stage, accelerator, settings.seed, generator)
    batches = PairBatches(material, stage.batch, stage.patch, settings.alpha, settings.seed)
    restorer = run_loop(
        gan,
        batches,
        run / "restorer",
        stage,
        seed=settings.seed + 1,
        accelerator=accelerator,
        resume=resume,
        quiet=quiet,
    )
    if accelerator.is_main_process:
        export_restorer(restorer, run / "restorer.onnx", model_card(material, settings))


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


def model_card(material: Material, settings: Settings) -> ModelCard:
    """Return what a restorer's file says of itself."""
    network = build_restorer(settings.restorer)
    halo = receptive_field(network, network.multiple) if network.tileable else 0
    return ModelCard(
        program=__version__,
        halo=halo,
        multiple=network.multiple,
        tileable=network.tileable,
        defects=material.defects,
        training={
            "preset": settings.preset,
            "alpha": settings.alpha,
            "steps": settings.restorer.steps,
            "seed": settings.seed,
            "pairs": {name: len(pairs) for name, pairs in material.pairs.items()},
            "unpaired": {name: len(planes) for name, planes in material.defective.items()},
        },
    )


def _describe(
    run: Path, dataset: Dataset, material: Material, settings: Settings, seconds: dict[str, float]
) -> None:
    """Write ``run.json``: what was trained on what, with which versions, for how long."""
    path = run / "run.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    libraries = ("torch", "numpy", "onnxruntime", "accelerate")
    about = {
        "program": {"microscopygan": __version__, "python": platform.python_version()}
        | {name: version(name) for name in libraries},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seed": settings.seed,
        "dataset": {
            "clean": len(material.clean),
            "alpha": settings.alpha,
            "defects": {
                name: {
                    "unpaired": len(material.defective[name]),
                    "pairs": len(material.pairs[name]),
                    "validation": len(material.validation[name]),
                    "test": len(dataset.test.get(name, [])),
                }
                for name in material.defects
            },
        },
        "parameters": {
            "restorer": sum(p.numel() for p in build_restorer(settings.restorer).parameters())
        },
        "seconds": before.get("seconds", {}) | {k: round(v, 1) for k, v in seconds.items()},
    }
    write_json(path, about)
