"""Make a stack isotropic: as fine along the axis as it is in the plane.

The stack is a stand-in: copies of a plane that grow dark towards both ends. The pixel size says how
far apart its planes are; without it the axial task cannot know how many are missing.
"""

from importlib.resources import files

import numpy as np

import microscopygan

sample = files("microscopygan") / "samples" / "clean" / "dsb2018_095.tif"
plane = microscopygan.read(str(sample)).array[:96, :96].astype(np.float32)
heights = np.linspace(-1, 1, 8)
stack = np.stack([plane * np.sqrt(1.1 - z**2) for z in heights])  # (Z, Y, X)

image = microscopygan.Image(stack, "ZYX", {"Z": 0.4, "Y": 0.1, "X": 0.1})  # µm
isotropic = microscopygan.restore(image, task="axial", defect="axial")

print(f"planes: {stack.shape[0]} before, {isotropic.array.shape[0]} after")
print(f"distance of the planes: {isotropic.pixel_size['Z']} µm")
microscopygan.write("isotropic.ome.tif", isotropic)
