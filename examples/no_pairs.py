"""Adapt the network without any pair: bad images here, good images of something else there.

From the bad images the program finds how strong their noise is. It puts such noise into the good
images, and learns from these pairs. With noisy images alone, leave ``clean/`` out.
"""

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

import microscopygan
from microscopygan.defects.noise import Noise
from microscopygan.image.intensity import percentile_map

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0  # about; two cores


def make_dataset(folder: Path) -> None:
    """Write eight noisy images, and eight good ones of other places."""
    samples = sorted(Path(str(files("microscopygan") / "samples" / "clean")).glob("dsb2018_*.tif"))
    rng = np.random.default_rng(0)
    for number, sample in enumerate(samples[:16]):
        plane = microscopygan.read(sample).array[:128, :128]
        good = percentile_map(plane).apply(plane)
        name, pixels = "clean", good
        if number % 2:
            name, pixels = "noise", Noise(photons=12).apply(good, rng)
        (folder / name).mkdir(parents=True, exist_ok=True)
        image = microscopygan.Image(np.asarray(pixels, np.float32), "YX", {})
        microscopygan.write(folder / name / sample.name, image)


def main() -> None:
    make_dataset(Path("no_pairs"))
    trained = microscopygan.train("no_pairs", "no_pairs_run", minutes=MINUTES)
    noisy = next(Path("no_pairs/noise").iterdir())
    microscopygan.restore_file(noisy, "no_pairs_restored.tif", trained.model)


if __name__ == "__main__":
    main()
