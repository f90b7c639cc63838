"""A process gets its task alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from microscopygan_bench.peers.job import Arrays, Trained
from microscopygan_bench.restoration import run_method


def test_a_baseline_gets_its_task_alone(
    tmp_path: Path, task_images: Callable[[str], Arrays]
) -> None:
    seen = {}

    class Baseline:
        @staticmethod
        def train(
            inputs: list[np.ndarray], targets: list[np.ndarray], *, seconds: float, seed: int
        ) -> Trained:
            seen.update(inputs=inputs, targets=targets, seconds=seconds, seed=seed)
            return Trained(lambda planes: planes.swapaxes(1, 2), 5, 6)

    told = {"task": "rings", "seconds": 2.0, "seed": 4}
    images = task_images("A")
    trained = run_method._baseline(Baseline)(told, images, tmp_path)
    assert np.array_equal(seen["inputs"], images["rings/input"])
    assert np.array_equal(seen["targets"], images["rings/target"])
    assert (seen["seconds"], seen["seed"]) == (2.0, 4)
    planes = images["rings/input"]
    assert np.array_equal(trained.restore(planes), planes.swapaxes(1, 2))
    assert (trained.parameters, trained.steps) == (5, 6)
