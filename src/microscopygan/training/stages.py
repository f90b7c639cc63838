"""A whole run, stage after stage: `train` reads as the list of what happens."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from .. import __version__
from ..datasets.folder import Dataset
from ..defects import all_defects
from ..gan.cgan import CGan
from ..gan.cin_gan import CinGan, load_defects, save_defects
from ..gan.networks import DefectGenerator, build_restorer, place
from ..model_card import ModelCard
from ..settings import Settings
from . import neighbor2neighbor
from .batches import DefectBatches, PairBatches
from .export_onnx import export_restorer, receptive_field
from .fine_tuning import as_generalist, generalist, generator_for, judges, verdict
from .loop import Batch, join_processes
from .loop import train as run_loop
from .run_folder import (
    keep_minutes,
    keep_steps,
    open_run,
    read_pace,
    read_physics,
    write_json,
    write_physics,
)
from .split import Material, calibrate_physics, gather
from .synthesis import save_draws
from .time_budget import Clock, fit_defects, fit_restorer, with_steps
from .validation import Held, HeldBack

_WAY = 0.85  # from the generalist to the trained weights, where what is kept lies
_JUDGEMENTS = 10  # by held-back images, in an adaptation
_PATIENCE = 5  # judgements that end it where none of them is to be kept


def train(
    dataset: Dataset,
    run: Path,
    settings: Settings,
    *,
    stage: str = "all",
    minutes: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Train CIN-GAN, where it is needed, then the restorer, into the folder `run`.

    Physics makes the synthetic pairs of the defects that it describes, CIN-GAN those of others,
    and of all in a share ``settings.cin_gan``. Where ``settings.start`` is ``generalist``, the
    networks that ship are adapted: of CIN-GAN the rows of the dataset's defects only. Weights
    between the restorer that ships and its states on the way are judged by held-back images, which
    say what is kept, be it those that ship. From noisy images alone, without a clean one, the
    restorer is adapted by self-supervision.

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
        ``all``, ``defects`` (CIN-GAN, needed or not) or ``restorer`` (takes the run's CIN-GAN).
    minutes
        Both stages' steps are lowered so that they take this long at most, in all.
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
    accelerator, begun = join_processes(), time.perf_counter()
    if settings.start == "generalist":
        settings = as_generalist(settings)
    material = gather(dataset, settings)
    synthetic = needs_defects(material, settings)
    if stage == "defects" and not (material.clean and settings.alpha > 0):
        raise ValueError("CIN-GAN needs clean images and alpha above 0; leave --stage out")
    saved = run / "defects.safetensors"
    if stage == "restorer" and synthetic and not saved.exists():
        raise FileNotFoundError(f"{saved} is missing: run --stage defects first, or set --alpha 0")
    if accelerator.is_main_process:
        open_run(run, settings, stage, resume=resume, overwrite=overwrite)
        keep_minutes(run, minutes)
    accelerator.wait_for_everyone()
    minutes = read_pace(run).get("minutes")
    clock = None if minutes is None else Clock(60 * minutes - time.perf_counter() + begun)
    material = with_physics(material, settings, run, accelerator)
    seconds = {}
    if stage == "defects" or (stage == "all" and synthetic):
        begun = time.perf_counter()
        fit = partial(fit_defects, settings.defects, material, accelerator)
        settings = _fitted(run, "defects", settings, fit, accelerator, clock)
        start = generator_for(material) if settings.start == "generalist" else None
        train_defects(material, run, settings, accelerator, start=start, resume=resume, quiet=quiet)
        seconds["defects"] = time.perf_counter() - begun
    elif stage == "all" and material.physics and accelerator.is_main_process:
        save_draws(run / "draws.npz", None, material, settings.seed)
    if stage in ("all", "restorer"):
        begun = time.perf_counter()
        train_restorer(material, run, settings, accelerator, clock, resume=resume, quiet=quiet)
        seconds["restorer"] = time.perf_counter() - begun
    if accelerator.is_main_process:
        _describe(run, dataset, material, settings, seconds)


def needs_defects(material: Material, settings: Settings) -> bool:
    """Tell whether a restorer needs CIN-GAN: for synthetic pairs, unless physics makes them all."""
    known = settings.defects.physics and all(name in all_defects() for name in material.defects)
    return bool(material.clean) and settings.alpha > 0 and not (known and settings.cin_gan == 0)


def needs_physics(settings: Settings) -> bool:
    """Tell whether a run calibrates physics, for synthetic pairs and what CIN-GAN starts from."""
    return settings.alpha > 0 and settings.defects.physics


def _fitted(
    run: Path,
    stage: str,
    settings: Settings,
    fit: Callable[[Clock], int],
    accelerator: Accelerator,
    clock: Clock | None,
) -> Settings:
    """Lower the steps of a stage to what fits: timed once a run, the same for every process."""
    if clock is not None and stage not in read_pace(run) and accelerator.is_main_process:
        keep_steps(run, stage, min(fit(clock), getattr(settings, stage).steps))
    accelerator.wait_for_everyone()
    steps = read_pace(run).get(stage)
    return settings if steps is None else with_steps(settings, stage, int(steps))


def with_physics(
    material: Material, settings: Settings, run: Path, accelerator: Accelerator
) -> Material:
    """Return the material with its physics, calibrated once a run: all processes read the same."""
    if not (needs_physics(settings) and material.clean):
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
    start: DefectGenerator | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> None:
    """Stage one: train CIN-GAN and keep its averaged generator and some of its draws.

    `start` is a trained generator with rows for the defects `known`, which stay as they are, and
    for the material's; see `CinGan`.
    """
    stage, names = settings.defects, known + material.defects
    gan = CinGan(stage, names, accelerator, settings.seed, start=start)
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
        assert isinstance(generator, DefectGenerator)
        save_defects(run / "defects.safetensors", generator, names)
        save_draws(run / "draws.npz", generator, material, settings.seed, first=len(known))
    accelerator.wait_for_everyone()  # the others read what was saved


def train_restorer(
    material: Material,
    run: Path,
    settings: Settings,
    accelerator: Accelerator,
    clock: Clock | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> None:
    """Stage two: train the restorer on real and synthetic pairs and export it.

    With a `clock`, its steps are lowered to what is left of the time.
    """
    way = _WAY if material.clean else neighbor2neighbor.WAY
    if not material.clean:
        settings = with_steps(
            settings, "restorer", min(neighbor2neighbor.STEPS, settings.restorer.steps)
        )
    stage = settings.restorer
    generator = _generator(run, material) if needs_defects(material, settings) else None
    start = generalist() if settings.start == "generalist" else None
    batches, held = _pairs(material, settings, start, generator)
    judge = None
    if start is not None:
        judge = HeldBack(held, run / "restorer", patience=_PATIENCE, start=start, way=way)
        if accelerator.is_main_process and judge.kept_step is None:
            judge(place(start, accelerator.device), 0)
        if clock is not None:
            clock.reserve(_JUDGEMENTS * judge.seconds)
    fit = partial(fit_restorer, stage, batches, accelerator, generator)
    stage = _fitted(run, "restorer", settings, fit, accelerator, clock).restorer
    if judge is not None:
        judge.every = max(1, stage.steps // _JUDGEMENTS)
    restorer = run_loop(
        CGan(stage, accelerator, settings.seed, generator, start),
        batches,
        run / "restorer",
        stage,
        seed=settings.seed + 1,
        accelerator=accelerator,
        judge=judge,
        resume=resume,
        quiet=quiet,
    )
    if accelerator.is_main_process:
        steps = stage.steps
        if judge is not None:
            restorer, steps = judge.with_kept(restorer), judge.kept_step or 0
        export_restorer(restorer, run / "restorer.onnx", model_card(material, settings, steps))


def _generator(run: Path, material: Material) -> DefectGenerator:
    """Return the run's CIN-GAN."""
    saved = run / "defects.safetensors"
    generator, known = load_defects(saved)
    if known != material.defects:
        raise ValueError(
            f"{saved}: knows the defects {', '.join(known)}, but the dataset has "
            f"{', '.join(material.defects)}; run --stage defects on this dataset first"
        )
    return generator


def _pairs(
    material: Material,
    settings: Settings,
    start: nn.Module | None,
    generator: DefectGenerator | None,
) -> tuple[Callable[[int, int], Batch], dict[str, Held]]:
    """Return the batches of the restorer and, to adapt the network `start`, what judges it."""
    stage, seed = settings.restorer, settings.seed
    if start is not None and not material.clean:
        train, spare = material.defective["noise"], material.spare["noise"]
        neighbor2neighbor.check_noise([*train, *spare], start)
        return (
            neighbor2neighbor.NeighbourBatches(
                train, stage.batch, stage.patch, seed, stage.architecture.hints
            ),
            neighbor2neighbor.noisy_judges(spare, seed),
        )
    held = {} if start is None else judges(material, settings, generator)
    batches = PairBatches(
        material,
        stage.batch,
        stage.patch,
        settings.alpha,
        seed,
        stage.architecture.hints,
        settings.cin_gan,
    )
    return batches, held


def model_card(material: Material, settings: Settings, steps: int) -> ModelCard:
    """Return what a restorer's file says of itself; `steps` it has been trained for."""
    network = build_restorer(settings.restorer.architecture)
    halo = receptive_field(network, network.multiple) if network.tileable else (0, 0)
    return ModelCard(
        program=__version__,
        halo=halo,
        multiple=network.multiple,
        tileable=network.tileable,
        defects=material.defects,
        hints=settings.restorer.architecture.hints,
        training={
            "preset": settings.preset,
            "start": settings.start,
            "alpha": settings.alpha,
            "cin_gan": settings.cin_gan,
            "steps": steps,
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
            "cin_gan": settings.cin_gan,
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
            "restorer": sum(
                p.numel() for p in build_restorer(settings.restorer.architecture).parameters()
            )
        },
        "adaptation": verdict(run / "restorer", material),
        "seconds": before.get("seconds", {}) | {k: round(v, 1) for k, v in seconds.items()},
    }
    write_json(path, about)
