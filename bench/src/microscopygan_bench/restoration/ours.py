"""MicroscopyGAN within a budget of seconds: the stages that `microscopygan train` runs.

Timing the steps counts, as do calibrating the physics and writing the model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from microscopygan.datasets.folder import Dataset, Pair, Sample
from microscopygan.restoration.model import Restorer
from microscopygan.settings import RestorerArchitecture, Settings
from microscopygan.training.fine_tuning import as_generalist
from microscopygan.training.record import parameter_count
from microscopygan.training.split import Split, split_dataset
from microscopygan.training.stages import train_split
from microscopygan.training.validation import read_validations
from microscopygan_bench.peers.job import Arrays, Job, Trained

_SIDES = ("input", "target")
_WITHOUT_END = 10_000_000  # steps


def train_ours(job: Job, given: Arrays, work: Path) -> Trained:
    """Train one network for all the tasks of a job and export it."""
    settings, run = Settings.model_validate(job["settings"]), work / "run"
    steps = train_within(split_images(job, given, settings), settings, run, job["seconds"])
    restorer = Restorer(run / "restorer.onnx", threads=job["threads"])
    return Trained(
        lambda planes: np.stack([restorer.restore_plane(plane) for plane in planes]),
        parameter_count(_architecture(settings)),
        steps,
    )


def _architecture(settings: Settings) -> RestorerArchitecture:
    settings = as_generalist(settings) if settings.start == "generalist" else settings
    return settings.restorer.architecture


def split_images(job: Job, given: Arrays, settings: Settings) -> Split:
    """Give each image of a job its role in training.

    Unpaired clean images are known to be of their task's kind, as the halves of `split_dataset`
    are.
    """
    inputs, targets = ({t: given[f"{t}/{side}"] for t in job["tasks"]} for side in _SIDES)
    if job["setting"] == "A":
        pairs = {t: _pairs(t, inputs[t], targets[t]) for t in job["tasks"]}
        return split_dataset(Dataset([], {}, pairs, {}), settings)
    clean = {t: _samples(t, targets[t]) for t in job["tasks"]}
    defective = {t: _samples(t, inputs[t]) for t in job["tasks"]}
    every = [sample for some in clean.values() for sample in some]
    split = split_dataset(Dataset(every, defective, {}, {}), settings)
    validation = {id(plane) for some in split.validation_planes.values() for plane in some}
    own, planes = (
        {
            t: [s.plane for s in some if (id(s.plane) in validation) == back]
            for t, some in clean.items()
        }
        for back in (False, True)
    )
    return replace(split, own_clean=own, validation_planes=planes)


def _pairs(task: str, inputs: np.ndarray, targets: np.ndarray) -> list[Pair]:
    both = enumerate(zip(inputs, targets, strict=True))
    return [Pair(a, b, f"{task}#{k}", f"{task}#{k}") for k, (a, b) in both]


def _samples(task: str, planes: np.ndarray) -> list[Sample]:
    return [Sample(plane, f"{task}#{k}", f"{task}#{k}") for k, plane in enumerate(planes)]


def train_within(split: Split, settings: Settings, run: Path, seconds: float) -> int:
    """Train both stages in about so many seconds; return the steps of the restorer.

    From scratch the restorer takes all the time that is left; an adaptation ends by itself.
    """
    end = {"save_every": _WITHOUT_END, "picture_every": _WITHOUT_END}  # at the end of a stage only
    changes: dict[str, object] = {"defects": end, "restorer": end}
    if settings.start == "scratch":
        changes["restorer"] = end | {"steps": _WITHOUT_END}
    trained = train_split(split, run, settings.changed(changes), minutes=seconds / 60, quiet=True)
    validations = read_validations(run / "restorer")
    return validations[-1].step if validations else trained.settings.restorer.steps
