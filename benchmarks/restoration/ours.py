"""MicroscopyGAN within a budget of seconds: the stages of `gan.training`, their steps set to fit.

Steps are timed first, on networks that are thrown away; that counts too, as does calibrating the
physics, and writing the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from benchmarks.peers.job import Arrays, Job, Trained
from microscopygan.gan.cgan import CGan
from microscopygan.gan.cin_gan import CinGan, load_defects
from microscopygan.gan.export import export_restorer
from microscopygan.gan.loop import Adversaries, Average, Batch, prefetch, step_generator
from microscopygan.gan.loop import train as run_loop
from microscopygan.gan.networks import build_restorer
from microscopygan.gan.patches import (
    DefectBatches,
    Material,
    PairBatches,
    calibrate_physics,
    gather,
)
from microscopygan.gan.training import (
    model_card,
    needs_defects,
    train_defects,
    train_restorer,
)
from microscopygan.image.dataset import Dataset, Pair, Sample
from microscopygan.restoration.restorer import Restorer
from microscopygan.settings import Settings

SHARE = 0.25  # of the time, at most, for CIN-GAN
_TIMING = 0.03  # of the time, for timing steps
_WARM_UP, _TIMED = 2, 40  # steps
_WRITING = 3.0  # seconds, for measuring the halo and writing the model
_SIDES = ("input", "target")


class Clock:
    """What is left of a budget of seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds, below 0 once they are over."""
        return self._end - time.perf_counter()


def train_ours(job: Job, given: Arrays, work: Path) -> Trained:
    """Train one network for all the tasks of a job and export it."""
    chosen = Settings.model_validate(job["settings"])
    run = work / "run"
    run.mkdir(exist_ok=True)
    material = gather_given(job, given, chosen)
    cin_gan = needs_defects(chosen) and job["options"].get("cin_gan", True)
    steps = train_within(material, chosen, run, job["seconds"], cin_gan)
    restorer = Restorer(run / "restorer.onnx", threads=job["threads"])
    return Trained(
        lambda planes: np.stack([restorer.restore_plane(plane) for plane in planes]),
        sum(p.numel() for p in build_restorer(chosen.restorer).parameters()),
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
    clean = [sample for t in job["tasks"] for sample in _samples(t, targets[t])]
    defective = {t: _samples(t, inputs[t]) for t in job["tasks"]}
    material = gather(Dataset(clean, defective, {}, {}), chosen)
    return replace(material, own_clean={t: list(targets[t]) for t in job["tasks"]})


def _pairs(task: str, inputs: np.ndarray, targets: np.ndarray) -> list[Pair]:
    both = enumerate(zip(inputs, targets, strict=True))
    return [Pair(a, b, f"{task}#{k}", f"{task}#{k}") for k, (a, b) in both]


def _samples(task: str, planes: np.ndarray) -> list[Sample]:
    return [Sample(plane, f"{task}#{k}", f"{task}#{k}") for k, plane in enumerate(planes)]


def train_within(
    material: Material, chosen: Settings, run: Path, seconds: float, cin_gan: bool
) -> int:
    """Train both stages in about so many seconds; return the steps of the restorer.

    Without `cin_gan` the physical drafts of synthetic pairs are used as they are.
    """
    clock, accelerator = Clock(seconds), Accelerator()
    if chosen.defects.physics and needs_defects(chosen):
        material = replace(material, physics=calibrate_physics(material, chosen.seed))
    if cin_gan:
        count = defect_steps(material, chosen, accelerator, Clock(min(SHARE * seconds, clock.left)))
        some = with_steps(chosen, "defects", count)
        train_defects(material, run, some, accelerator, quiet=True)
    generator = load_defects(run / "defects.safetensors")[0] if cin_gan else None
    count = restorer_steps(material, chosen, accelerator, generator, clock)
    some = with_steps(chosen, "restorer", count)
    if cin_gan or not needs_defects(chosen):
        train_restorer(material, run, some, accelerator, quiet=True)
    else:
        train_on_drafts(material, run, some, accelerator)
    return count


def defect_steps(
    material: Material, chosen: Settings, accelerator: Accelerator, clock: Clock
) -> int:
    """Return how many steps of CIN-GAN fit, never more than the preset has."""
    stage = chosen.defects
    gan = CinGan(stage, material.defects, accelerator, chosen.seed)
    batches = DefectBatches(material, stage.batch, stage.patch, chosen.seed)
    pace = seconds_per_step(gan, batches, accelerator, 0, _TIMING * clock.left / SHARE)
    return min(stage.steps, max(1, int(clock.left / pace)))


def restorer_steps(
    material: Material,
    chosen: Settings,
    accelerator: Accelerator,
    generator: nn.Module | None,
    clock: Clock,
) -> int:
    """Return how many steps of the restorer fit; the discriminator joins it part of the way."""
    stage = chosen.restorer
    gan = CGan(stage, accelerator, chosen.seed, generator)
    batches = PairBatches(material, stage.batch, stage.patch, chosen.alpha, chosen.seed)
    alone = stage.adversarial_start if stage.adversarial_weight > 0 else 1.0
    start, limit = int(alone * stage.steps), _TIMING * clock.left
    pace = 0.0
    if alone > 0:
        pace += alone * seconds_per_step(gan, batches, accelerator, 0, limit)
    if alone < 1:
        pace += (1 - alone) * seconds_per_step(gan, batches, accelerator, start, limit)
    writing = min(_WRITING, _TIMING * clock.left)
    return max(1, int((clock.left - writing) / pace))


def seconds_per_step(
    gan: Adversaries,
    batches: Callable[[int, int], Batch],
    accelerator: Accelerator,
    start: int,
    limit: float,
) -> float:
    """Time steps from `start` on, for about `limit` seconds, as the training loop takes them."""
    average, begun, marks = Average(gan.networks[gan.product], 0.5), time.perf_counter(), []
    for step, batch, _ in prefetch(batches, start, start + _WARM_UP + _TIMED, 0):
        rng = step_generator(0, step, 0, accelerator.device)
        tensors = {name: torch.from_numpy(a).to(accelerator.device) for name, a in batch.items()}
        gan.step(tensors, rng, step)
        average.update(gan.networks[gan.product], step)
        marks.append(time.perf_counter())
        if len(marks) > _WARM_UP and marks[-1] - begun > limit:
            break
    return (marks[-1] - marks[_WARM_UP - 1]) / (len(marks) - _WARM_UP)


def with_steps(chosen: Settings, stage: str, steps: int) -> Settings:
    """Return settings with the steps of a stage; states and pictures are kept at its end only."""
    end = {"steps": steps, "save_every": steps, "picture_every": steps}
    return chosen.model_copy(update={stage: getattr(chosen, stage).model_copy(update=end)})


def train_on_drafts(
    material: Material, run: Path, chosen: Settings, accelerator: Accelerator
) -> None:
    """Train the restorer as `train_restorer` does, without CIN-GAN after the physics."""
    stage = chosen.restorer
    restorer = run_loop(
        CGan(stage, accelerator, chosen.seed),
        PairBatches(material, stage.batch, stage.patch, chosen.alpha, chosen.seed),
        run / "restorer",
        stage,
        seed=chosen.seed + 1,
        accelerator=accelerator,
        quiet=True,
    )
    export_restorer(restorer, run / "restorer.onnx", model_card(material, chosen))
