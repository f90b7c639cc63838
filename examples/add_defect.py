"""A defect of your own: dust, as the one class that it takes.

Put such a class into a file of ``src/microscopygan/defects/``, and it is found there: a folder
``dust/`` of a training set then means this defect, and the synthetic pairs are made with it.
"""

from importlib.resources import files
from typing import ClassVar

import numpy as np
from pydantic import Field

import microscopygan
from microscopygan.defects.base import Defect, Place, Range
from microscopygan.defects.composition import Composition
from microscopygan.defects.noise import Noise
from microscopygan.image.intensity import percentile_map


class Dust(Defect):
    """Dark, soft shadows of dust in the light path."""

    name: ClassVar[str] = "dust"  # of its folder in a training set
    place: ClassVar[Place] = Place.GAIN  # where in the light path it arises
    ranges: ClassVar[dict[str, Range]] = {  # what is drawn, from where to where
        "depth": Range(0.2, 0.8),
        "radius": Range(4, 20, "log"),
        "count": Range(1, 9, "integer"),
    }
    depth: float = Field(ge=0, le=1, description="part of the light that a grain takes")
    radius: float = Field(gt=0, le=100, description="of a shadow (one sigma), in pixels")
    count: int = Field(ge=0, le=100, description="grains in a plane")

    def apply(self, plane, rng):
        """Put it into a clean plane (Y, X), float32 on about 0 to 1."""
        y, x = np.indices(plane.shape)
        light = np.ones(plane.shape)
        for _ in range(self.count):
            far = (y - rng.uniform(0, len(y))) ** 2 + (x - rng.uniform(0, len(x[0]))) ** 2
            light *= 1 - self.depth * np.exp(-far / (2 * self.radius**2))
        return (plane * light).astype(np.float32)

    def describe(self):
        """Say it in words, for the report."""
        return f"dust: {self.count} grains of {self.radius:.0f} pixels"


sample = files("microscopygan") / "samples" / "clean" / "dsb2018_095.tif"
pixels = microscopygan.read(str(sample)).array
clean = percentile_map(pixels).apply(pixels)

rng = np.random.default_rng(0)
drawn = Dust.draw(rng, count=8)
both = Composition(steps=(drawn, Noise(photons=30)))
print(both.describe())

for name, plane in (
    ("clean", clean),
    ("dusty", drawn.apply(clean, rng)),
    ("both", both.apply(clean, rng)),
):
    microscopygan.write(f"{name}.tif", microscopygan.Image(np.asarray(plane, np.float32), "YX", {}))
