"""A further defect for a trained CIN-GAN, which keeps all that it knows."""

from __future__ import annotations

from pathlib import Path

from ..datasets.folder import Dataset
from ..gan.cin_gan import load_defects
from ..gan.networks import DefectGenerator, choose_rows, train_rows
from ..settings import Settings
from .loop import join_processes
from .run_folder import begun, open_run, read_physics, read_run_settings, write_physics
from .split import gather
from .stages import train_defects, with_physics


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

    Only the rows of new defects are trained: those of the known ones, and every shared weight,
    stay bit-equal.

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
    settings = _as_trained(settings, old, generator)
    accelerator = join_processes()
    material = gather(dataset, settings.model_copy(update={"start": "scratch"}))
    twice = sorted(set(known) & set(material.defects))
    if twice:
        raise ValueError(f"{old} knows {', '.join(twice)} already; leave only new defects in")
    if accelerator.is_main_process:
        open_run(run, settings, "defects", resume=resume, overwrite=overwrite)
    material = with_physics(material, settings, run, accelerator)
    choose_rows(generator, [*range(len(known)), *(None for _ in material.defects)])
    how = {"resume": resume, "quiet": quiet}
    train_rows(generator)
    train_defects(material, run, settings, accelerator, known=known, start=generator, **how)
    if accelerator.is_main_process:
        write_physics(run, {**read_physics(old), **read_physics(run)})


def _as_trained(settings: Settings, run: Path, generator: DefectGenerator) -> Settings:
    """Return the settings with a generator's architecture, and what its run began from."""
    changes: dict[str, object] = {
        "defects.architecture": generator.architecture.model_dump(),
    }
    if begun(run):
        changes["defects.physics"] = read_run_settings(run).defects.physics
    return settings.changed(changes)
