"""Trainings within a time."""

import time
from typing import ClassVar

import pytest
import torch
from torch import nn

from microscopygan.settings import make_settings
from microscopygan.training.time_budget import Clock, seconds_per_step, with_steps


def test_steps_are_timed_as_they_are() -> None:
    class Slow:
        product = "network"
        networks: ClassVar[dict[str, nn.Module]] = {"network": nn.Linear(1, 1)}

        def step(self, batch: object, rng: object, step: int) -> dict[str, float]:
            time.sleep(0.3 if step < 7 + 2 else 0.02)  # the first two warm up
            return {}

    begun = time.perf_counter()
    pace = seconds_per_step(Slow(), lambda *_: {}, torch.device("cpu"), 7, 0.8)  # type: ignore[arg-type]
    assert 0.02 <= pace < 0.1
    assert time.perf_counter() - begun > 0.8


def test_a_clock_runs_out() -> None:
    clock = Clock(0.05)
    assert 0 < clock.left <= 0.05
    time.sleep(0.06)
    assert clock.left < 0


def test_reserved_seconds_are_not_left() -> None:
    clock = Clock(10)
    clock.reserve(4)
    assert 5 < clock.left <= 6


@pytest.mark.parametrize("stage", ["defects", "restorer"])
def test_steps_of_one_stage_change(stage: str) -> None:
    before = make_settings()
    after = with_steps(before, stage, 7)
    assert getattr(after, stage).steps == 7
    same = getattr(before, stage).steps
    assert with_steps(after, stage, same) == before


def test_what_is_spent_of_the_reserve_takes_nothing_from_the_rest() -> None:
    clock = Clock(10)
    clock.reserve(4)
    assert 6 < clock.spend(1) <= 7
