"""CSBDeep's CARE at its defaults, trained on pairs of one task within a budget of seconds.

The default schedule is 100 epochs of 400 steps, halving the rate after ten epochs without a
better validation loss. It is kept in the number of epochs; the steps of an epoch are set so that
they fit, and a callback ends the training when the time is over. Patches are cut by CSBDeep, not
normalised again: the images are normalised, and the targets fitted to them, already.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from csbdeep.data import RawData, create_patches, no_background_patches
from csbdeep.models import CARE, Config
from job import Arrays, Job, Trained, perform, split

PATCH = 64  # pixels
PATCHES = 16  # of an image; they are cut at random, and overlap
CHECKED = 3  # images, at most: the check after each of 100 epochs would else take most of the time
TIMED = 5  # steps, after one that also compiles the network
RESERVE = 0.03  # of the time, for the last validation and loading the best weights


class Deadline(keras.callbacks.Callback):
    """Ends the training when the time is over, and counts the steps."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end, self.steps = end, 0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Count a step; stop after the deadline."""
        self.steps += 1
        if time.perf_counter() > self.end:
            self.model.stop_training = True


def train(job: Job, images: Arrays, work: Path) -> Trained:
    """Train within the job's seconds: steps are timed first, and undone."""
    begun = time.perf_counter()
    end = begun + (1 - RESERVE) * job["seconds"]
    keras.utils.set_random_seed(job["seed"])
    inputs, targets = (images[f"{job['task']}/{side}"] for side in ("input", "target"))
    training, validation = split(len(inputs), job["seed"])
    x, y = patches(inputs[training], targets[training])
    config = Config("YX", n_channel_in=1, n_channel_out=1, train_tensorboard=False)
    care = CARE(config, "care", basedir=str(work))
    validation = validation[:CHECKED]
    checked = inputs[validation][..., None], targets[validation][..., None]
    step, check = timed(care, x, y, checked)
    epoch = (end - time.perf_counter()) / config.train_epochs
    deadline = Deadline(end)
    care.prepare_for_training()
    care.callbacks.append(deadline)
    steps = max(1, math.ceil((epoch - check) / step))  # the deadline cuts the last epochs
    care.train(x, y, validation_data=checked, steps_per_epoch=steps)
    return Trained(
        lambda planes: np.stack([care.predict(p, "YX", normalizer=None) for p in planes]),
        care.keras_model.count_params(),
        deadline.steps,
    )


def patches(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut patches with CSBDeep; (N, Y, X, 1) each."""
    pairs = [(x, y, "YX", None) for x, y in zip(inputs, targets, strict=True)]
    side = min(PATCH, *(length // 4 * 4 for length in inputs.shape[1:]))
    x, y, _ = create_patches(
        RawData(lambda: iter(pairs), len(pairs), "pairs"),
        patch_size=(side, side),
        n_patches_per_image=PATCHES,
        patch_filter=no_background_patches(0),
        normalization=None,
        verbose=False,
    )
    return np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1)


def timed(
    care: CARE, x: np.ndarray, y: np.ndarray, checked: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Return the seconds of a step and of a validation; the steps are undone."""
    care.prepare_for_training()
    network = care.keras_model
    before = network.get_weights()
    batch = np.arange(care.config.train_batch_size) % len(x)
    step = seconds(lambda: network.train_on_batch(x[batch], y[batch]), TIMED)
    check = seconds(lambda: network.evaluate(*checked, verbose=0), 1)
    network.set_weights(before)
    return step, check


def seconds(run: Callable[[], object], times: int) -> float:
    """Time a call, on average, after one that does not count."""
    run()
    begun = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - begun) / times


if __name__ == "__main__":
    perform(train, ["csbdeep", "keras"])
