"""One picture for each family: a clean image, what the family makes of it, what ships restores.

The image is the neuron of the samples that ship (NEUBIAS training resources, CC BY 4.0), which the
network that ships was not trained on. No figure is taken from it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import microscopygan
from microscopygan.evaluate.report.pictures import grey, window
from microscopygan_bench.odd.families import FAMILIES, SIDE, CameraMaps, microscope
from microscopygan_bench.odd.fields import image_random, scaled

SAMPLE = "neubias_neuron"
CORNER = (85, 80)
GAP = 4  # pixels between the images


def sample() -> NDArray[np.float32]:
    """Return the clean image, (SIDE, SIDE)."""
    path = Path(str(files("microscopygan") / "samples" / "clean" / f"{SAMPLE}.tif"))
    y, x = CORNER
    return scaled(np.asarray(microscopygan.read(path).array))[y : y + SIDE, x : x + SIDE]


def picture(family: str, maps: CameraMaps) -> Image.Image:
    """Draw clean, defective and restored side by side, on the grey scale of the clean image."""
    clean = sample()
    spoilt = microscope(family, maps).image(clean, image_random(family, SAMPLE))
    defective = spoilt.astype(np.float32)
    restored = np.asarray(microscopygan.restore(defective, axes="YX"), np.float32)
    scale, white = window(clean), np.full((SIDE, GAP), 255, np.uint8)
    shown = [grey(plane, *scale) for plane in (clean, defective, restored)]
    return Image.fromarray(np.hstack([shown[0], white, shown[1], white, shown[2]]))


def write_pictures(folder: Path, maps: CameraMaps) -> list[Path]:
    """Write ``FAMILY.png`` of every family."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in FAMILIES}
    for name, path in paths.items():
        picture(name, maps).save(path, optimize=True)
    return list(paths.values())
