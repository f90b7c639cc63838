"""Restore one image with the network that ships, and save it."""

from importlib.resources import files

import microscopygan

sample = files("microscopygan") / "samples" / "clean" / "neubias_neuron.tif"

image = microscopygan.read(str(sample))  # any TIFF, OME-TIFF, OME-Zarr, NPY or PNG
print(f"{image.axes} {image.array.shape} {image.array.dtype}, pixel size {image.pixel_size} µm")

restored = microscopygan.restore(image)  # keeps axes, pixel size and intensity scale
microscopygan.write("restored.ome.tif", restored)

# Say what you know, and how much of it to change:
careful = microscopygan.restore(image, defect="noise", strength=0.5)
microscopygan.write("careful.ome.tif", careful)
