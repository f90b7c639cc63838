"""Who gets which images: the draws of training images, and the images to restore.

A draw is a function of the data, the setting, the number of pairs and the number of the draw
alone, the same for all methods; fewer pairs of one draw are the first of more of them.

======= ============================================================================
setting given to the methods, for each task
======= ============================================================================
A       some pairs, each target fitted to its input by a gain and an offset
B       no pairs: inputs of one half of the training images, targets of the other half
======= ============================================================================
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microscopygan.datasets.folder import Pair, load_dataset
from microscopygan.defects.noise import Noise
from microscopygan.image.intensity import percentile_map
from microscopygan_bench.peers.job import read_arrays, write_arrays

Arrays = dict[str, np.ndarray]

SETTINGS = ("A", "B")
NOISE = "noise"  # the task whose defect is put on top of the others' for the two-defect images
_NOISE_IMAGES = 60  # noisy training images that the noise of two-defect images is taken from


@dataclass(frozen=True)
class BenchmarkData:
    """Training and test pairs by task, normalised.

    Attributes
    ----------
    pairs, test
        Pairs by task: inputs on about 0..1 by their own percentiles, targets fitted to them.
    digest
        Of all pixels; results of other data are not mixed with these.
    """

    pairs: dict[str, list[Pair]]
    test: dict[str, list[Pair]]
    digest: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, noise first: it is the last defect, so the first to be undone."""
        return tuple(sorted(self.pairs, key=lambda name: (name != NOISE, name)))

    def targets(self, name: str) -> list[Pair]:
        """Return the test pairs behind the images `name`; of ``noise+lowres`` those of lowres."""
        return self.test[name.rpartition("+")[2]]


def read_data(folder: Path) -> BenchmarkData:
    """Read training and test pairs of every layout that `load_dataset` reads.

    Raises
    ------
    ValueError
        A task without test pairs, with fewer than two training pairs, or of several sizes.
    """
    data = load_dataset(folder)
    if not data.pairs:
        raise ValueError(f"{folder}: expected training pairs, got none; see docs/benchmark.md")
    for name, pairs in data.pairs.items():
        test = data.test.get(name, [])
        if not test or len(pairs) < 2:
            raise ValueError(
                f"{name}: expected two training pairs and a test pair at least, got {len(pairs)} "
                f"and {len(test)}; add some, or take the task out of {folder}"
            )
        shapes = sorted({p.input.shape for p in pairs}), sorted({p.input.shape for p in test})
        if max(map(len, shapes)) > 1:
            raise ValueError(f"{name}: expected planes of one size, got {shapes}; crop them first")
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(data.pairs):
        for pair in data.pairs[name] + data.test[name]:
            digest.update(pair.input.round(3).tobytes() + pair.target.round(3).tobytes())
    return BenchmarkData(
        data.pairs, {name: data.test[name] for name in data.pairs}, digest.hexdigest()
    )


def training_images(
    data: BenchmarkData, task: str, setting: str, pairs: int | None, draw: int
) -> Arrays:
    """Return what a method may train on for one task: ``TASK/input`` and ``TASK/target``.

    Parameters
    ----------
    data
        The data.
    task
        Which task.
    setting
        ``A`` or ``B``.
    pairs
        Number of pairs in setting A, None for all; setting B gives no pairs but all images.
    draw
        Number of the draw.

    Returns
    -------
    dict
        (N, Y, X) and (M, Y, X) float32; in setting A the same N fields, in B different images.

    Raises
    ------
    ValueError
        More pairs than there are.
    """
    available = data.pairs[task]
    rng = np.random.default_rng([zlib.crc32(task.encode()), SETTINGS.index(setting), draw])
    if setting == "B":
        return _unpaired(task, available, rng)
    if pairs is not None and pairs > len(available):
        raise ValueError(f"pairs: expected at most {len(available)} ({task}), got {pairs}; try all")
    drawn = [available[i] for i in rng.permutation(len(available))[:pairs]]
    return {
        f"{task}/input": _stack([p.input for p in drawn]),
        f"{task}/target": _stack([p.target for p in drawn]),
    }


def _unpaired(task: str, available: list[Pair], rng: np.random.Generator) -> Arrays:
    """Split by image, and forget which input a target was fitted to."""
    images = sorted({p.image for p in available})
    half = {images[i] for i in rng.permutation(len(images))[: len(images) // 2]}
    targets = [p.target for p in available if p.image not in half]
    return {
        f"{task}/input": _stack([p.input for p in available if p.image in half]),
        f"{task}/target": _stack([percentile_map(x).apply(x) for x in targets]),
    }


def inputs_to_restore(data: BenchmarkData, task: str) -> np.ndarray:
    """Return the test inputs of a task, (K, Y, X) float32."""
    return _stack([p.input for p in data.test[task]])


def two_defects(data: BenchmarkData, cache: Path) -> Arrays:
    """Put noise on the test inputs of all other tasks: ``noise+TASK`` to (K, Y, X) float32.

    The noise is the physical model's, of the strengths found in the training images of the task
    ``noise``, and the result is normalised by its own percentiles, as an image from a microscope
    would be. Without such a task there are none. Kept in `cache`, as calibration takes a while.
    """
    others = [name for name in data.tasks if name != NOISE]
    if NOISE not in data.pairs or not others:
        return {}
    if cache.exists():
        return read_arrays(cache)
    rng = np.random.default_rng(0)
    pairs = data.pairs[NOISE]
    noises = Noise.calibrate(
        [p.target for p in pairs], [p.input for p in pairs][:_NOISE_IMAGES], rng
    )
    images = {}
    for name in others:
        planes = [noises[rng.integers(len(noises))].apply(p.input, rng) for p in data.test[name]]
        images[f"{NOISE}+{name}"] = normalised(np.stack(planes))
    write_arrays(cache, images)
    return images


def normalised(planes: np.ndarray) -> np.ndarray:
    """Bring each plane of (K, Y, X) to about 0..1 by its own percentiles, float32."""
    return _stack([percentile_map(plane).apply(plane) for plane in planes])


def _stack(planes: list[np.ndarray]) -> np.ndarray:
    return np.stack(planes).astype(np.float32)
