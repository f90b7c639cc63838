"""A defect of your own: hot pixels, as the one class that it takes.

Put such a class into a file of ``src/microscopygan/defects/``, and it is found there: a folder
``hot_pixels/`` of a training set then means this defect, and the synthetic pairs are made with it.
"""

from importlib.resources import files
from typing import ClassVar

import numpy as np
from pydantic import Field

import microscopygan
from microscopygan.defects.base import Composition, Defect, Place, Range
from microscopygan.defects.noise import Noise
from microscopygan.image.intensity import percentile_map


class HotPixels(Defect):
    """Single pixels that are always bright."""

    name: ClassVar[str] = "hot_pixels"  # of its folder in a training set
    place: ClassVar[Place] = Place.SENSOR  # where in the light path it arises
    ranges: ClassVar[dict[str, Range]] = {"share": Range(1e-4, 1e-2, "log")}  # drawn from these
    share: float = Field(ge=0, le=0.1, description="part of the pixels that are hot")

    def apply(self, plane, rng):
        """Put it into a clean plane (Y, X), float32 on about 0 to 1."""
        hot = rng.random(plane.shape) < self.share
        return np.where(hot, rng.uniform(1, 2, plane.shape), plane).astype(np.float32)

    def describe(self):
        """Say it in words, for the report."""
        return f"hot pixels: {1e6 * self.share:.0f} of a million"


sample = files("microscopygan") / "samples" / "clean" / "dsb2018_095.tif"
pixels = microscopygan.read(str(sample)).array
clean = percentile_map(pixels).apply(pixels)

rng = np.random.default_rng(0)
drawn = HotPixels.draw(rng)
both = Composition(steps=(Noise(photons=30), drawn))
print(both.describe())

for name, plane in (
    ("clean", clean),
    ("hot", drawn.apply(clean, rng)),
    ("both", both.apply(clean, rng)),
):
    microscopygan.write(f"{name}.tif", microscopygan.Image(np.asarray(plane, np.float32), "YX", {}))
