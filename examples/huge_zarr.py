"""Restore an OME-Zarr of any size, block by block, by two processes.

Here it is small. One of 40,000 x 40,000 pixels needs no more memory.
"""

from importlib.resources import files

import numpy as np

import microscopygan

INPUT, OUTPUT = "huge.ome.zarr", "huge_restored.ome.zarr"


def make_input() -> None:
    """Write the stand-in for your image."""
    sample = files("microscopygan") / "samples" / "clean" / "neubias_tubulin.tif"
    plane = np.tile(microscopygan.read(str(sample)).array, (2, 3))
    microscopygan.write(INPUT, microscopygan.Image(plane, "YX", {"Y": 0.1, "X": 0.1}))


def main() -> None:
    make_input()
    microscopygan.restore_file(
        INPUT,
        OUTPUT,
        workers=2,  # processes; each takes one block after the other
        memory=2_000_000_000,  # bytes, of all of them
        progress=lambda done, of: print(f"{done / of:.0%}", end="\r"),
        # resume=True goes on after an interruption
    )
    result = microscopygan.open_image(OUTPUT)  # opens it and reads nothing yet
    corner = np.asarray(result.array[:100, :100])
    print(f"\n{result.axes} {result.array.shape}; mean of a corner: {corner.mean():.1f}")


if __name__ == "__main__":  # each process starts by importing this file
    main()
