"""What a training process of `microscopygan_bench.restoration` reads, does and writes.

The process is given a folder and nothing else: ``job.json``, ``training.npz`` with the images to
train on, ``test.npz`` with the images to restore, without targets, and sometimes ``samples.npz``
with more of them, which may be shown. Last of all it writes ``restored.npz``, `RESTORED_SAMPLES`
and then ``about.json``, each whole or not at all. This module needs NumPy and the standard library,
so that it runs in the virtual environment of any program.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Job = dict[str, Any]
Arrays = dict[str, np.ndarray]
RESTORED_SAMPLES = "restored_samples.npz"


@dataclass(frozen=True)
class Trained:
    """A trained method.

    Attributes
    ----------
    restore
        Planes (K, Y, X), about 0..1 and not clipped, to the restored ones: same shape and scale,
        float32. The same planes give the same result each time.
    parameters
        Of the network that restores; those needed for training only do not count.
    steps
        Updates of that network.
    """

    restore: Callable[[np.ndarray], np.ndarray]
    parameters: int
    steps: int


def perform(train: Callable[[Job, Arrays, Path], Trained], packages: Sequence[str]) -> None:
    """Do the job in the folder that the command line names.

    Parameters
    ----------
    train
        Trains on the images; gets a folder for files of its own, too. The time it takes is
        the training time.
    packages
        Whose versions to note.
    """
    leave_with_parent()
    folder = Path(sys.argv[1])
    job = read_job(folder)
    images, test = read_arrays(folder / "training.npz"), read_arrays(folder / "test.npz")
    more = folder / "samples.npz"
    samples = read_arrays(more) if more.exists() else {}
    work = folder / "work"
    work.mkdir(exist_ok=True)
    versions = {name: version(name) for name in packages}
    begun = time.perf_counter()
    trained = train(job, images, work)
    ready = time.perf_counter()
    restored = {name: trained.restore(planes) for name, planes in test.items()}
    done = time.perf_counter()
    shown = {name: trained.restore(planes) for name, planes in samples.items()}
    check_restored(test, restored)
    about = {
        "training_seconds": round(ready - begun, 3),
        "inference_seconds": round(done - ready, 3),
        "images": sum(len(planes) for planes in test.values()),
        "parameters": trained.parameters,
        "steps": trained.steps,
        "versions": versions,
    }
    write_arrays(folder / "restored.npz", restored)
    write_arrays(folder / RESTORED_SAMPLES, shown)
    write_json(folder / "about.json", about)


def check_restored(test: Arrays, restored: Arrays) -> None:
    """Check that restored images are images, of the shape of the ones they were made from.

    Raises
    ------
    ValueError
        Another shape, NaN or infinity.
    """
    for name, planes in restored.items():
        if planes.shape != test[name].shape:
            raise ValueError(f"{name}: expected {test[name].shape} restored, got {planes.shape}")
        if not np.isfinite(planes).all():
            raise ValueError(f"{name}: expected finite pixels, got NaN or infinity")


def leave_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def read_job(folder: Path) -> Job:
    """Read what a folder's job is."""
    job: Job = json.loads((folder / "job.json").read_text())
    return job


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices to train on and to validate on: a tenth, at least one.

    A single image has to serve as both.
    """
    order = np.random.default_rng(seed).permutation(count)
    validation = max(1, round(count / 10))
    return (order, order) if count == 1 else (order[validation:], order[:validation])


def read_arrays(path: Path) -> Arrays:
    """Read an ``.npz`` file."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz`` file of float32 arrays, whole or not at all."""
    partial = path.with_name(f"{path.stem}.partial.npz")
    single = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    np.savez(partial, **single)  # type: ignore[arg-type]
    partial.replace(path)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
