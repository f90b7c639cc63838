"""MicroscopyGAN within a budget: each image gets its role, and a network is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microscopygan.settings import Settings
from microscopygan_bench.peers import job as jobs
from microscopygan_bench.restoration import methods, ours
from microscopygan_bench.restoration.cells import ALL

TaskImages = Callable[[str], jobs.Arrays]

TASKS = ("spots", "rings")
TINY = {"batch": 3, "patch": 32, "log_every": 1}


OPTIONS = {
    "kind": "ours",
    "start": "scratch",
    "defects": TINY | {"architecture": {"channels": 4, "blocks": 1}},
    "restorer": TINY | {"architecture": {"channels": (4, 4, 4)}},
}


def tiny_job(setting: str, **options: object) -> jobs.Job:
    """A job of few channels and seconds."""
    chosen = methods.settings_of(OPTIONS | options, setting, 3).model_dump(mode="json")
    told = {"options": OPTIONS | options, "settings": chosen, "tasks": list(TASKS)}
    told |= {"task": ALL, "setting": setting}
    return told | {"seconds": 1.0, "seed": 3, "threads": 1}


@pytest.mark.parametrize("setting", ["A", "B"])
def test_each_image_gets_its_role(setting: str, task_images: TaskImages) -> None:
    job, images = tiny_job(setting), task_images(setting)
    chosen = Settings.model_validate(job["settings"])
    assert chosen.seed == 3
    assert chosen.restorer.architecture.channels == (4, 4, 4)
    found = ours.split_images(job, images, chosen)
    for task in job["tasks"]:
        inputs, targets = images[f"{task}/input"], images[f"{task}/target"]
        assert np.array_equal(found.defective[task], inputs)
        assert np.array_equal(found.own_clean[task], targets)
        assert len(found.pairs[task]) == (0 if setting == "B" else len(inputs))
        assert not found.validation_pairs[task]
    assert (chosen.alpha == 1) == (setting == "B")


@pytest.mark.slow
def test_ours_trains_and_restores(tmp_path: Path, task_images: TaskImages) -> None:
    """Trains and exports both networks."""
    job, images = tiny_job("B"), task_images("B")
    trained = ours.train_ours(job, images, tmp_path)
    planes = images["spots/input"][:1]
    assert trained.restore(planes).shape == planes.shape
    assert trained.steps >= 1
    assert trained.parameters > 100
