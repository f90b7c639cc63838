"""Adapt the network to ten pairs of bad and good images, and see whether it helped.

The pairs are made here from images that ship, with noise put into them. Put your own pairs into the
same folders, with the same file names on both sides, and leave `make_pairs` out.
"""

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

import microscopygan
from microscopygan.defects.noise import Noise
from microscopygan.image.intensity import percentile_map

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0  # about; two cores


def make_pairs(folder: Path) -> None:
    """Write ten pairs and three for the test."""
    samples = sorted(Path(str(files("microscopygan") / "samples" / "clean")).glob("dsb2018_*.tif"))
    rng = np.random.default_rng(0)
    for number, sample in enumerate(samples[:13]):
        plane = microscopygan.read(sample).array[:128, :128]
        good = percentile_map(plane).apply(plane)
        bad = Noise(photons=12).apply(good, rng)
        part = folder / ("pairs" if number < 10 else "test") / "noise"
        for side, pixels in (("input", bad), ("target", good)):
            (part / side).mkdir(parents=True, exist_ok=True)
            image = microscopygan.Image(np.asarray(pixels, np.float32), "YX", {})
            microscopygan.write(part / side / sample.name, image)


def main() -> None:
    make_pairs(Path("ten_pairs"))
    dataset = microscopygan.load_dataset("ten_pairs")
    settings = microscopygan.make_settings(seed=0)
    trained = microscopygan.train(dataset, "ten_pairs_run", settings, minutes=MINUTES)
    print(trained.outcome)  # what validation said, and what was kept

    pair = dataset.test["noise"][0]
    for name, model in (
        ("out of the box", microscopygan.load()),
        ("adapted", microscopygan.load(trained.model)),
    ):
        restored = microscopygan.restore(pair.input, model=model, axes="YX")
        error = np.sqrt(np.mean((restored - pair.target) ** 2))
        print(f"{name}: error {error:.4f}")


if __name__ == "__main__":
    main()
