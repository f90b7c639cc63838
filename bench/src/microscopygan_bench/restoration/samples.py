"""Shipped images with the defects of the tasks, which every cell restores beside its test images.

The test images may not be shown; these may. No method has seen one of them: they are in no task's
training images, and the network that ships was trained without them. They have no part in scores.
"""

from __future__ import annotations

import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import microscopygan
from microscopygan.defects.axial import Axial
from microscopygan.defects.base import Defect
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.image.intensity import percentile_map

Planes = NDArray[np.float32]

SIDE = 128  # pixels, as of the tasks' images
SAMPLES = {  # first row and column of the field
    "neubias_neuron": (90, 20),
    "neubias_bacteria_thick": (40, 70),
    "dsb2018_124": (96, 20),
}
DEFECTS: dict[str, Defect] = {  # about those of the tasks
    "noise": Noise(photons=11, read_noise=1),
    "axial": Axial(sigma_z=1.5, step=6),
    "lowres": LowResolution(sigma=2.2, binning=2, photons=500),
}


def clean() -> Planes:
    """Return the clean fields, (3, SIDE, SIDE), about 0..1 by the percentiles of each."""
    folder = Path(str(files("microscopygan") / "samples" / "clean"))
    fields = []
    for name, (y, x) in SAMPLES.items():
        field = microscopygan.read(folder / f"{name}.tif").array[y : y + SIDE, x : x + SIDE]
        fields.append(percentile_map(field).apply(field))
    return np.stack(fields).astype(np.float32)


def spoilt(task: str) -> Planes:
    """Return the fields with the defect of a task, on 0..1 as its test images are.

    Parameters
    ----------
    task
        One of `DEFECTS`.
    """
    rng = np.random.default_rng(zlib.crc32(task.encode()))
    planes = [np.asarray(DEFECTS[task].apply(plane, rng), np.float32) for plane in clean()]
    return np.stack([percentile_map(plane).apply(plane) for plane in planes]).astype(np.float32)
