"""CAREamics' CARE or Noise2Void at their defaults, trained within a budget of seconds.

The defaults: 30 epochs, patches of 64 x 64 pixels in batches of 8 (as in its quick start), its
augmentations (without turns for the axial task, whose axis 0 is the scan axis), for CARE early
stopping and the best checkpoint. The images are repeated within an epoch so that 30 epochs fit;
a callback ends the training when the time is over. Noise2Void gets the inputs alone.
"""

from __future__ import annotations

import math
import sys
import time
import types
import warnings
from pathlib import Path

import lightning.pytorch as lightning  # looks for torchvision itself: before the stand-in
import numpy as np
from job import Arrays, Job, Trained, perform, split

# CAREamics imports torchvision for networks other than these; the package index has no build of
# it that fits PyTorch's CPU build.
for _name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
    sys.modules.setdefault(_name, types.ModuleType(_name))
sys.modules["torchvision"].__version__ = "0"  # type: ignore[attr-defined]

from careamics import CAREamist  # noqa: E402
from careamics.config import create_advanced_care_config, create_advanced_n2v_config  # noqa: E402

EPOCHS, BATCH, PATCH = 30, 8, 64
TIMED = 6  # steps, after one that does not count
TIMING = 0.1  # of the time, at most
RESERVE = 0.03  # of the time, for the last validation and checkpoint
STEPPING = 0.9  # of the time, for steps; the rest is for validation after each epoch


class Deadline(lightning.Callback):
    """Notes the time of each step, and ends the training when the time is over."""

    def __init__(self, end: float) -> None:
        self.end, self.marks = end, list[float]()

    def on_train_batch_end(self, trainer: lightning.Trainer, *unused: object) -> None:
        """Note the time of a step; stop after the deadline."""
        self.marks.append(time.perf_counter())
        trainer.should_stop = trainer.should_stop or self.marks[-1] > self.end


def train(job: Job, images: Arrays, work: Path) -> Trained:
    """Train within the job's seconds: steps are timed first, in a training thrown away."""
    end = time.perf_counter() + (1 - RESERVE) * job["seconds"]
    training, validation = split(len(images[f"{job['task']}/input"]), job["seed"])
    seconds = seconds_per_step(job, images, training, validation, work)
    steps = STEPPING * (end - time.perf_counter()) / EPOCHS / seconds
    repeats = repeats_of(images[f"{job['task']}/input"][training], steps)
    deadline = Deadline(end)
    careamist = start(job, work / "run", EPOCHS, {}, deadline)
    careamist.train(**training_data(job, images, np.tile(training, repeats), validation))
    parameters = sum(p.numel() for p in careamist.model.parameters())
    checkpoint = None  # CAREamics' own choice: for CARE the best epoch
    if job["options"]["algorithm"] == "n2v":  # the last state, which it may not have saved
        checkpoint = work / "last.ckpt"
        careamist.trainer.save_checkpoint(checkpoint)

    def restore(planes: np.ndarray) -> np.ndarray:
        how = {"axes": "SYX", "data_type": "array", "batch_size": 1, "checkpoint": checkpoint}
        restored, _ = careamist.predict(planes, **how)
        return np.stack(restored).reshape(planes.shape)

    return Trained(restore, parameters, len(deadline.marks))


def start(
    job: Job, work: Path, epochs: int, limits: dict[str, object], deadline: Deadline
) -> CAREamist:
    """Configure the algorithm that the job's options name."""
    create = {"care": create_advanced_care_config, "n2v": create_advanced_n2v_config}
    config = create[job["options"]["algorithm"]](
        experiment_name="benchmark",
        data_type="array",
        axes="SYX",
        patch_size=(PATCH, PATCH),
        batch_size=BATCH,
        augmentations=["x_flip", "y_flip"] if job["task"] == "axial" else None,
        num_epochs=epochs,
        trainer_params=limits,
        seed=job["seed"] + 1,  # 0 is refused
    )
    return CAREamist(config, work_dir=work, callbacks=[deadline], enable_progress_bar=False)


def training_data(
    job: Job, images: Arrays, training: np.ndarray, validation: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the images to train and to validate on; targets for CARE alone."""
    inputs, targets = (images.get(f"{job['task']}/{side}") for side in ("input", "target"))
    data = {"train_data": inputs[training], "val_data": inputs[validation]}
    if job["options"]["algorithm"] == "care":
        data |= {"train_data_target": targets[training], "val_data_target": targets[validation]}
    return data


def seconds_per_step(
    job: Job, images: Arrays, training: np.ndarray, validation: np.ndarray, work: Path
) -> float:
    """Time a few steps of a training that is thrown away."""
    begun = time.perf_counter()
    steps, deadline = 1 + TIMED, Deadline(begun + TIMING * job["seconds"])
    limits: dict[str, object] = {"limit_train_batches": steps}
    careamist = start(job, work / "timing", 1, limits, deadline)
    enough = np.tile(training, repeats_of(images[f"{job['task']}/input"][training], steps))
    careamist.train(**training_data(job, images, enough, validation))
    first, *rest = deadline.marks
    return (rest[-1] - first) / len(rest) if rest else first - begun


def repeats_of(planes: np.ndarray, steps: float) -> int:
    """Return how often the images have to come in an epoch of so many steps."""
    count, height, width = planes.shape
    patches: int = count * -(-height // PATCH) * -(-width // PATCH)
    return max(1, math.ceil(steps * BATCH / patches))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    perform(train, ["careamics", "lightning", "torch"])
