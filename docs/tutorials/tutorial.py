"""Sample images, and pictures of them, for the tutorials."""

from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import microscopygan
from microscopygan.image.intensity import percentile_map

SAMPLES = files("microscopygan") / "samples" / "clean"
# The network that ships was not trained on these.
UNSEEN = (
    "neubias_neuron",
    "neubias_bacteria_thin",
    "neubias_bacteria_thick",
    "dsb2018_095",
    "dsb2018_110",
    "dsb2018_124",
    "dsb2018_168",
)


def sample(name):
    """Return a clean image that ships, (Y, X) float32 on about 0 to 1."""
    pixels = microscopygan.read(str(SAMPLES / f"{name}.tif")).array
    return percentile_map(pixels).apply(pixels)


def as_counts(plane):
    """Return a plane on about 0 to 1 as a camera counts it, in 16 bits: its dark level is 800."""
    return np.clip(plane * 4000 + 800, 0, 65535).astype(np.uint16)


def save(path, plane):
    """Write a plane on about 0 to 1 as a camera counts it, with pixels of 0.1 µm."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image = microscopygan.Image(as_counts(plane), "YX", {"Y": 0.1, "X": 0.1})
    microscopygan.write(path, image, overwrite=True)


def show(**pictures):
    """Show images side by side below their names, in the grey values of the last one."""
    low, high = np.percentile(list(pictures.values())[-1], [0.5, 99.9])
    _, places = plt.subplots(
        1, len(pictures), figsize=(10, 10 / len(pictures)), layout="constrained", dpi=110
    )
    for place, (name, pixels) in zip(places, pictures.items(), strict=True):
        place.imshow(pixels, cmap="gray", vmin=low, vmax=high)
        place.set_title(name.replace("_", " "))
        place.axis("off")
    plt.show()
