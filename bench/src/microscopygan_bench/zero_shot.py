"""The generalist on images that nothing was trained on, beside the input and a classical method.

``microscopygan-bench zero-shot DATA`` reads pairs as ``few-pairs`` does and prints the affine-fit
PSNR and SSIM, mean ± sd over images, of the network left to itself (blind) and with a hint of the
defect, and how long a megapixel takes on all processors. ``--part train`` scores the training
pairs, for tuning; the test is for the last look.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from microscopygan.datasets.folder import Pair, load_dataset
from microscopygan.evaluate.classical import classical
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import GENERALIST
from microscopygan_bench import machine
from microscopygan_bench.quality import quality_head, quality_row


def main(arguments: list[str] | None = None) -> None:
    """Score every task, print a table."""
    options = _options(arguments)
    data = load_dataset(options.data)
    print(f"{machine()}; {options.model.name}, {options.part}")
    print(quality_head(("input", "classical", "blind", "hint")))
    for name, pairs in (data.test if options.part == "test" else data.pairs).items():
        print(quality_row(name, pairs, restored(name, pairs, options.model)))
    print(f"{milliseconds(options.model):.0f} ms a megapixel, median of 9")


def restored(task: str, pairs: list[Pair], model: Path) -> dict[str, list[np.ndarray]]:
    """Restore the inputs of a task's pairs by every method; without a hint where none is known."""
    blind = Restorer(model)
    hinted = Restorer(model, defect=task) if task in blind.card.hints else blind
    return {
        "input": [pair.input for pair in pairs],
        "classical": [classical(pair.input, task) for pair in pairs],
        "blind": [blind.restore_plane(pair.input) for pair in pairs],
        "hint": [hinted.restore_plane(pair.input) for pair in pairs],
    }


def milliseconds(model: Path) -> float:
    """Return the median time that a plane of 1024 × 1024 pixels takes."""
    restorer, taken = Restorer(model), []
    plane = np.random.default_rng(0).random((1024, 1024), np.float32)
    for _ in range(9):
        begun = time.perf_counter()
        restorer.restore_plane(plane)
        taken.append(time.perf_counter() - begun)
    return 1000 * float(np.median(taken))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("train", "test"), default="test")
    parser.add_argument("--model", type=Path, default=GENERALIST)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
