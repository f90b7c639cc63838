"""Seconds per training step of both GANs, peak memory, and the share of time waiting for data.

``microscopygan-bench training-speed [DATASET] [--preset default|paper] [--steps 20]``; without a
dataset, on the demo's. The first two steps are not counted.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator

from microscopygan.apps.demo import write_dataset
from microscopygan.datasets.folder import load_dataset
from microscopygan.gan.cgan import CGan
from microscopygan.gan.cin_gan import CinGan
from microscopygan.gan.networks import DefectGenerator
from microscopygan.settings import StageSettings, make_settings
from microscopygan.training.batches import DefectBatches, PairBatches
from microscopygan.training.loop import Adversaries, Batch, prefetch, step_generator
from microscopygan.training.split import calibrate_physics, split_dataset
from microscopygan_bench import machine

Batches = Callable[[int, int], Batch]

_WARM = 2


def main(arguments: list[str] | None = None) -> None:
    """Time both stages and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(arguments)
    chosen = make_settings(options.preset, "scratch")
    with tempfile.TemporaryDirectory() as folder:
        if options.dataset is None:
            write_dataset(Path(folder), np.random.default_rng(0))
        data = load_dataset(options.dataset or Path(folder))
    split = split_dataset(data, chosen)
    if chosen.defects.physics:
        split = replace(split, physics=calibrate_physics(split, chosen))
    accelerator = Accelerator()
    one = CinGan(chosen.defects, split.defects, accelerator, 0)
    generator = cast(DefectGenerator, one.networks["generator"])
    two = CGan(chosen.restorer, accelerator, 0, generator)
    d, r = chosen.defects, chosen.restorer
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'stage':10}{'batch':>12}{'s/step':>10}{'waiting':>10}{'peak GB':>10}")
    late = r.steps - options.steps  # the adversarial part, the slowest, counts
    rows: list[tuple[str, StageSettings, Adversaries, Batches, int]] = [
        ("CIN-GAN", d, one, DefectBatches(split, chosen), 0),
        ("cGAN", r, two, PairBatches(split, chosen), late),
    ]
    for name, stage, gan, batches, first in rows:
        seconds, waiting = _timed(gan, batches, first, options.steps, accelerator)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        size = f"{stage.batch}×{stage.patch}²"
        print(f"{name:10}{size:>12}{seconds:10.3f}{waiting:10.1%}{peak:10.2f}")


def _timed(
    gan: Adversaries,
    batches: Batches,
    first: int,
    steps: int,
    accelerator: Accelerator,
) -> tuple[float, float]:
    """Return the median seconds of a step and the share of all time spent waiting."""
    seconds, waits = [], []
    before = time.perf_counter()
    for step, batch, wait in prefetch(batches, first, first + steps, 0):
        tensors = {name: torch.from_numpy(a).to(accelerator.device) for name, a in batch.items()}
        gan.step(tensors, step_generator(0, step, 0, accelerator.device), step)
        now = time.perf_counter()
        seconds.append(now - before)
        waits.append(wait)
        before = now
    return median(seconds[_WARM:]), sum(waits[_WARM:]) / sum(seconds[_WARM:])


if __name__ == "__main__":
    main()
