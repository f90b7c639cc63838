"""MicroscopyGAN within a budget of seconds: the stages of `gan.training`, their steps set to fit.

Timing the steps counts, as do calibrating the physics and writing the model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from microscopygan.datasets.folder import Dataset, Pair, Sample
from microscopygan.gan.networks import build_restorer
from microscopygan.restoration.model import Restorer
from microscopygan.settings import Settings
from microscopygan.training.fine_tuning import as_generalist, generator_for
from microscopygan.training.run_folder import read_pace
from microscopygan.training.split import Material, calibrate_physics, gather
from microscopygan.training.stages import (
    needs_defects,
    needs_physics,
    train_defects,
    train_restorer,
)
from microscopygan.training.time_budget import Clock, fit_defects, with_steps
from microscopygan.training.validation import read_judgements
from microscopygan_bench.peers.job import Arrays, Job, Trained

_SIDES = ("input", "target")
_STAGES = ("defects", "restorer")
_WITHOUT_END = 10_000_000  # steps


def train_ours(job: Job, given: Arrays, work: Path) -> Trained:
    """Train one network for all the tasks of a job and export it."""
    chosen = Settings.model_validate(job["settings"])
    run = work / "run"
    run.mkdir(exist_ok=True)
    material = gather_given(job, given, chosen)
    steps = train_within(material, chosen, run, job["seconds"])
    restorer = Restorer(run / "restorer.onnx", threads=job["threads"])
    return Trained(
        lambda planes: np.stack([restorer.restore_plane(plane) for plane in planes]),
        sum(p.numel() for p in build_restorer(chosen.restorer.architecture).parameters()),
        steps,
    )


def gather_given(job: Job, given: Arrays, chosen: Settings) -> Material:
    """Give each image of a job its role in training.

    Unpaired clean images are known to be of their task's kind, as the halves of `gather` are.
    """
    inputs, targets = ({t: given[f"{t}/{side}"] for t in job["tasks"]} for side in _SIDES)
    if job["setting"] == "A":
        pairs = {t: _pairs(t, inputs[t], targets[t]) for t in job["tasks"]}
        return gather(Dataset([], {}, pairs, {}), chosen)
    clean = {t: _samples(t, targets[t]) for t in job["tasks"]}
    defective = {t: _samples(t, inputs[t]) for t in job["tasks"]}
    every = [sample for some in clean.values() for sample in some]
    material = gather(Dataset(every, defective, {}, {}), chosen)
    held = {id(plane) for some in material.spare.values() for plane in some}
    own, spare = (
        {t: [s.plane for s in some if (id(s.plane) in held) == back] for t, some in clean.items()}
        for back in (False, True)
    )
    return replace(material, own_clean=own, spare=spare)


def _pairs(task: str, inputs: np.ndarray, targets: np.ndarray) -> list[Pair]:
    both = enumerate(zip(inputs, targets, strict=True))
    return [Pair(a, b, f"{task}#{k}", f"{task}#{k}") for k, (a, b) in both]


def _samples(task: str, planes: np.ndarray) -> list[Sample]:
    return [Sample(plane, f"{task}#{k}", f"{task}#{k}") for k, plane in enumerate(planes)]


def train_within(material: Material, chosen: Settings, run: Path, seconds: float) -> int:
    """Train both stages in about so many seconds; return the steps of the restorer.

    From scratch the restorer takes all the time that is left; an adaptation ends by itself.
    """
    clock, accelerator = Clock(seconds), Accelerator()
    adapted = chosen.start == "generalist"
    chosen = as_generalist(chosen) if adapted else with_steps(chosen, "restorer", _WITHOUT_END)
    if needs_physics(chosen):
        material = replace(material, physics=calibrate_physics(material, chosen.seed))
    if needs_defects(material, chosen):
        count = fit_defects(chosen.defects, material, accelerator, clock)
        some = with_steps(chosen, "defects", min(count, chosen.defects.steps))
        start = generator_for(material) if adapted else None
        train_defects(material, run, _quiet(some), accelerator, start=start, quiet=True)
    train_restorer(material, run, _quiet(chosen), accelerator, clock, quiet=True)
    taken = read_judgements(run / "restorer")
    return int(taken[-1]["step"] if taken else read_pace(run)["restorer"])


def _quiet(chosen: Settings) -> Settings:
    """Return settings that keep states and pictures at the end of a stage only."""
    end = {"save_every": _WITHOUT_END, "picture_every": _WITHOUT_END}
    stages = {name: getattr(chosen, name).model_copy(update=end) for name in _STAGES}
    return chosen.model_copy(update=stages)
