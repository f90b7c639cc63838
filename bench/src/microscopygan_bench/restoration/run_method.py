"""The process of one job for methods that run in this program's own environment.

``python -m microscopygan_bench.restoration.run_method FOLDER``; `peers.job` says what the folder
holds. The process sees nothing else of the data.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from microscopygan_bench.peers.job import Arrays, Job, Trained, perform, read_job

PACKAGES = {
    "input": ["numpy"],
    "classical": ["scipy", "scikit-image"],
    "cubic": ["scipy"],
    "baseline": ["torch"],
    "ours": ["torch", "onnxruntime"],
}


def trainer(options: dict[str, Any]) -> Callable[[Job, Arrays, Path], Trained]:
    """Return what trains the method of these options.

    Its libraries are loaded here, before the clock starts.
    """
    if options["kind"] == "ours":
        from microscopygan_bench.restoration.ours import train_ours

        return train_ours
    if options["kind"] == "baseline":
        return _baseline(
            importlib.import_module(f"microscopygan_bench.baselines.{options['module']}")
        )
    restore = _untrained(options["kind"])

    def train(job: Job, images: Arrays, work: Path) -> Trained:
        return Trained(lambda planes: np.stack([restore(p, job["task"]) for p in planes]), 0, 0)

    return train


def _untrained(kind: str) -> Callable[[np.ndarray, str], np.ndarray]:
    """Return a function of a plane and its task."""
    if kind == "classical":
        from microscopygan.evaluate.classical import classical

        return classical
    if kind == "cubic":
        from microscopygan_bench.restoration.interpolation import cubic

        return lambda plane, task: cubic(plane)
    return lambda plane, task: plane


def _baseline(module: Any) -> Callable[[Job, Arrays, Path], Trained]:
    def train(job: Job, images: Arrays, work: Path) -> Trained:
        inputs, targets = (list(images[f"{job['task']}/{side}"]) for side in ("input", "target"))
        trained: Trained = module.train(inputs, targets, seconds=job["seconds"], seed=job["seed"])
        return trained

    return train


if __name__ == "__main__":
    options = read_job(Path(sys.argv[1]))["options"]
    perform(trainer(options), PACKAGES[options["kind"]])
