"""What there was before: classical methods, and programs dedicated to a defect.

Each takes the parameters that its makers suggest, or a few of them. The tables show the best on
the test images themselves, so the choice is in favour of these methods.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import denoise_tv_chambolle

from microscopygan.defects.classical import non_local_means
from microscopygan.evaluate.classical import classical
from microscopygan_bench.odd.families import Family, Plane, blurred
from microscopygan_bench.odd.fields import FamilyImages, Planes
from microscopygan_bench.peers.job import read_arrays, write_arrays, write_json
from microscopygan_bench.processes import last_words, run_process, threaded
from microscopygan_bench.restoration.methods import PEERS

Restore = Callable[[NDArray[np.float32]], NDArray[np.generic]]
Results = dict[str, Planes]  # by method

PEER = "dedicated"  # virtual environment of `IN_PEER`
IN_PEER = ("destripe", "wavelet", "basic")
_ITERATIONS = (5, 10, 20, 40)
_WEIGHTS = (0.03, 0.06, 0.12)
_OUTLIER = 6.0  # robust standard deviations from its neighbours' median
_SMOOTH = 2.0  # pixels; σ of what counts as light where a fixed pattern is measured
_LIMIT = 3600.0  # seconds that a peer may take


def methods(family: Family, images: FamilyImages, kernel: Plane | None) -> dict[str, Restore]:
    """Return the methods that run here, by what the tables call them."""
    found: dict[str, Restore] = {"non-local means": non_local_means}
    for stage in family.stages:
        found[f"classical: {stage}"] = partial(classical, defect=stage)
    if len(family.stages) > 1:  # what arises last is undone first
        found["classical: all"] = partial(one_by_one, stages=family.stages[::-1])
    if "median" in family.methods:
        found["median of outliers"] = median_of_outliers
    if "tv" in family.methods:
        found |= {
            f"total variation {weight}": partial(denoise_tv_chambolle, weight=weight)
            for weight in _WEIGHTS
        }
    if "richardson-lucy" in family.methods and kernel is not None:
        found |= {
            f"Richardson-Lucy, true kernel, {n}": partial(deconvolved, kernel=kernel, count=n)
            for n in _ITERATIONS
        }
    if "fixed" in family.methods:
        found |= fixed_pattern(list(images.defective.values()))
    return found


def restore_all(
    family: Family,
    images: FamilyImages,
    kernel: Plane | None,
    python: Path | str | None,
    work: Path,
) -> tuple[Results, str]:
    """Restore the test images by every method that applies.

    Parameters
    ----------
    family, images
        What to restore, and the hundred images that some methods learn from.
    kernel
        The true point spread function, if there is one.
    python
        Interpreter of the dedicated programs, or the reason why there is none.
    work
        Folder for files.

    Returns
    -------
    results
        Restored planes by method.
    said
        Why some methods are missing; else nothing.
    """
    results: Results = {
        name: {
            image: np.asarray(restore(plane), np.float32) for image, plane in images.test.items()
        }
        for name, restore in methods(family, images, kernel).items()
    }
    wanted = [name for name in family.methods if name in IN_PEER]
    if not wanted or isinstance(python, str):
        return results, f"{', '.join(wanted)}: {python}" if wanted else ""
    return results | _dedicated(wanted, family.lines, images, python, work), ""


def one_by_one(plane: NDArray[np.float32], stages: Iterable[str]) -> NDArray[np.float32]:
    """Undo defects one after the other by their classical methods."""
    return reduce(classical, stages, plane)


def median_of_outliers(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace pixels that lie apart from the median of the 3 x 3 around them by that."""
    middle = ndimage.median_filter(plane, 3)
    apart = np.abs(plane - middle)
    return np.where(apart > _OUTLIER * 1.4826 * np.median(apart) + 1e-6, middle, plane)


def deconvolved(plane: NDArray[np.float32], kernel: Plane, count: int) -> Plane:
    """Deconvolve by Richardson-Lucy with a known kernel, `count` iterations."""
    floor = float(np.percentile(plane, 0.5))
    data = np.maximum(plane.astype(np.float64) - floor, 0) + 1e-3
    estimate, mirrored = data.copy(), kernel[::-1, ::-1]
    for _ in range(count):
        ratio = data / np.maximum(blurred(estimate, kernel), 1e-6)
        estimate = np.maximum(estimate * blurred(ratio, mirrored), 0)
    return estimate + floor


def fixed_pattern(images: list[NDArray[np.float32]]) -> dict[str, Restore]:
    """Measure the pattern that images share; return what takes it out.

    Light is what a Gaussian leaves of an image. The offset of a pixel is the median of what it
    reads more than that; or its gain and offset are a straight line fitted to all images.
    """
    stack = np.stack(images).astype(np.float64)
    light = np.stack([ndimage.gaussian_filter(image, _SMOOTH) for image in stack])
    offset = np.median(stack - light, axis=0)
    centred = light - light.mean(axis=0)
    gain = (centred * stack).sum(axis=0) / np.maximum((centred**2).sum(axis=0), 1e-9)
    gain = np.clip(gain, 0.5, 2)
    straight = stack.mean(axis=0) - gain * light.mean(axis=0)
    corrections: dict[str, Callable[[NDArray[np.float32]], Plane]] = {
        "shared offsets": lambda plane: plane - offset,
        "shared gains and offsets": lambda plane: (plane - straight) / gain,
    }

    def and_denoised(plane: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        return non_local_means(np.asarray(corrections[name](plane), np.float32))

    return {
        **corrections,
        **{f"{name}, non-local means": partial(and_denoised, name=name) for name in corrections},
    }


def _dedicated(
    wanted: list[str], lines: int, images: FamilyImages, python: Path | None, work: Path
) -> Results:
    """Let the dedicated programs restore the test images, in their own environment.

    Raises
    ------
    RuntimeError
        The process failed.
    """
    folder = work / PEER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "job.json", {"methods": wanted, "lines": lines})
    for file, planes in (("training", images.defective), ("test", images.test)):
        write_arrays(folder / f"{file}.npz", {"images": _stack(planes)})
    command = [str(python), str(PEERS / f"run_{PEER}.py"), str(folder.resolve())]
    with (folder / "log.txt").open("w") as log:
        code = run_process(command, threaded(1, python), log, _LIMIT, 1)
    if code:
        raise RuntimeError(last_words(folder / "log.txt"))
    restored = read_arrays(folder / "restored.npz")
    return {n: dict(zip(images.test, stack, strict=True)) for n, stack in restored.items()}


def _stack(planes: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack(list(planes.values()))
