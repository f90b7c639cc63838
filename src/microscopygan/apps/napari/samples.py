"""Sample data for napari: images that ship, with a simulated defect, and the same without."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import numpy as np

from ...defects import Defect
from ...defects.axial import Axial
from ...defects.lowres import LowResolution
from ...defects.noise import Noise
from ...image.formats import read
from ...image.intensity import percentile_map, to_dtype

LayerData = tuple[np.ndarray, dict[str, Any], str]
_COUNTS = (1_000.0, 40_000.0)  # what intensities 0 and 1 become
_STEP = 4  # lateral pixels between the planes of the stack
_PIXEL = 0.1  # µm, of the stack


def noisy_nuclei() -> list[LayerData]:
    """Return nuclei with photon and read-out noise, and the same without."""
    return _with_defect("dsb2018_095", Noise(photons=15))


def blurred_neuron() -> list[LayerData]:
    """Return a neuron in low resolution, and the same in full."""
    return _with_defect("neubias_neuron", LowResolution(sigma=1.5, binning=2))


def sparse_stack() -> list[LayerData]:
    """Return a stack whose planes are four lateral pixels apart, for the task ``axial``.

    Its XZ planes are a real image that the axial defect has been put into; it is shifted from one
    row to the next.
    """
    plane = Axial(sigma_z=1.5, step=_STEP).apply(_plane("neubias_tubulin"), _generator())[::_STEP]
    stack = np.stack([np.roll(plane, 2 * k, axis=1) for k in range(96)], axis=1)
    sizes = (_STEP * _PIXEL, _PIXEL, _PIXEL)
    about = {"name": "stack with few planes", "scale": sizes, "units": ["um"] * 3}
    return [(_as_counts(stack), about | {"axis_labels": ("z", "y", "x")}, "image")]


def _with_defect(name: str, defect: Defect) -> list[LayerData]:
    clean = _plane(name)
    bad = defect.apply(clean, _generator())
    return [
        (_as_counts(clean), {"name": f"{name} clean", "visible": False}, "image"),
        (_as_counts(bad), {"name": f"{name} {defect.name}"}, "image"),
    ]


def _plane(name: str) -> np.ndarray:
    with as_file(files("microscopygan") / "samples" / "clean" / f"{name}.tif") as path:
        pixels = read(path).array
    return percentile_map(pixels).apply(pixels)


def _as_counts(plane: np.ndarray) -> np.ndarray:
    offset, scale = _COUNTS
    return to_dtype(plane * scale + offset, np.dtype(np.uint16))


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)
