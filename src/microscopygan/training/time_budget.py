"""Trainings within a time: steps are timed on networks that are thrown away, and set to fit.

One process times for all; what several lose by waiting for each other is not in it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator

from ..gan.cgan import CGan
from ..gan.cin_gan import CinGan
from ..gan.networks import DefectGenerator
from ..settings import RestorerSettings, Settings
from .batches import DefectBatches
from .loop import Adversaries, Average, Batch, prefetch, step_generator
from .split import Split

_TIMING = 0.03  # of the time, for timing steps
_WARM_UP, _TIMED = 2, 40  # steps
_WRITING = 3.0  # seconds, for measuring the halo and writing the model


@dataclass(frozen=True)
class _Alone:
    """Stands in for the accelerator where one process times steps and no other takes part."""

    device: torch.device
    num_processes: int = 1


class Clock:
    """What is left of a budget of seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds, below 0 once they are over."""
        return self._end - time.perf_counter()

    def reserve(self, seconds: float) -> None:
        """Keep some seconds for what is to come."""
        self._end -= seconds

    def spend(self, seconds: float) -> float:
        """Take from what is reserved; return the seconds that are left beside it."""
        self._end += seconds
        return self.left


def fit_defects(
    settings: Settings,
    split: Split,
    accelerator: Accelerator,
    start: DefectGenerator | None,
    clock: Clock,
) -> int:
    """Return how many steps of CIN-GAN, from a generator or none, fit its share of the time."""
    stage, alone = settings.defects, cast(Accelerator, _Alone(accelerator.device))
    own = Clock(stage.time_share * clock.left)
    gan = CinGan(stage, split.defects, alone, 0, copy.deepcopy(start))
    batches = DefectBatches(split, settings.model_copy(update={"seed": 0}))
    seconds = seconds_per_step(gan, batches, accelerator.device, 0, _TIMING * clock.left)
    return max(1, int(own.left / seconds))


def fit_restorer(
    stage: RestorerSettings,
    batches: Callable[[int, int], Batch],
    accelerator: Accelerator,
    generator: DefectGenerator | None,
    clock: Clock,
) -> int:
    """Return how many steps of the restorer fit the time left.

    The discriminator, where it counts, joins it part of the way.
    """
    gan = CGan(stage, cast(Accelerator, _Alone(accelerator.device)), 0, generator)
    first = stage.adversarial_start if stage.adversarial_weight > 0 else 1.0
    start, limit = int(first * stage.steps), _TIMING * clock.left
    seconds = 0.0
    if first > 0:
        seconds += first * seconds_per_step(gan, batches, accelerator.device, 0, limit)
    if first < 1:
        seconds += (1 - first) * seconds_per_step(gan, batches, accelerator.device, start, limit)
    writing = min(_WRITING, _TIMING * clock.left)
    return max(1, int((clock.left - writing) / seconds))


def seconds_per_step(
    gan: Adversaries,
    batches: Callable[[int, int], Batch],
    device: torch.device,
    start: int,
    limit: float,
) -> float:
    """Time steps from `start` on, for about `limit` seconds, as the training loop takes them."""
    average, begun, marks = Average(gan.networks[gan.product], 0.5), time.perf_counter(), []
    for step, batch, _ in prefetch(batches, start, start + _WARM_UP + _TIMED, 0):
        rng = step_generator(0, step, 0, device)
        tensors = {name: torch.from_numpy(a).to(device) for name, a in batch.items()}
        gan.step(tensors, rng, step)
        average.update(gan.networks[gan.product], step)
        marks.append(time.perf_counter())
        if len(marks) > _WARM_UP and marks[-1] - begun > limit:
            break
    return (marks[-1] - marks[_WARM_UP - 1]) / (len(marks) - _WARM_UP)


def with_steps(settings: Settings, stage: str, steps: int) -> Settings:
    """Return settings with the steps of a stage."""
    return settings.changed({f"{stage}.steps": steps})
