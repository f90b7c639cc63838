"""How real CIN-GAN's defects look on images that it never saw.

``microscopygan-bench realism DATA RUN`` puts each defect of RUN into every other clean test image
of DATA and compares with the real defective images of the others, beside the physics alone and
Gaussian noise of the training images' mean variance. See `microscopygan.evaluate.realism`.
``--half 1`` swaps the halves; ``--half both`` takes the clean and the defective image of every
pair, which leaves out the differences between specimens.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from microscopygan.datasets.folder import load_dataset
from microscopygan.evaluate.score_run import score_defects
from microscopygan.image.intensity import percentile_map
from microscopygan.training.synthesis import Synthesizer
from microscopygan_bench import machine

_FIRST, _SECOND, _ALL = slice(0, None, 2), slice(1, None, 2), slice(None)
HALVES = {"0": (_FIRST, _SECOND), "1": (_SECOND, _FIRST), "both": (_ALL, _ALL)}  # (clean, real)


def main(arguments: list[str] | None = None) -> None:
    """Degrade, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--part", choices=("train", "test"), default="test")
    parser.add_argument("--half", choices=HALVES, default="0", help="which gives the clean images")
    parser.add_argument("--draws", type=int, default=3, help="synthetic images of each clean one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    data = load_dataset(options.data)
    pairs = data.test if options.part == "test" else data.pairs
    draws, real = {}, {}
    for defect, some in pairs.items():
        synthesizer = Synthesizer(options.run, defect)
        if synthesizer.generator is None:
            parser.error(f"{options.run}: expected a CIN-GAN, got a run without; train one first")
        rng = np.random.default_rng(options.seed)
        noise = torch.Generator().manual_seed(options.seed)
        clean_part, real_part = HALVES[options.half]
        clean = [percentile_map(p.target).apply(p.target) for p in some[clean_part]]
        made = [
            synthesizer.with_simulated(plane[None], rng, noise)
            for plane in clean
            for _ in range(options.draws)
        ]
        for place, kind in enumerate(("clean", "physics", "synthetic1")):
            draws[f"{defect}/{kind}"] = np.concatenate([m[place] for m in made])
        draws[f"{defect}/synthetic2"] = draws[f"{defect}/synthetic1"]
        real[defect] = [p.input for p in some[real_part]]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "evaluation").mkdir()
        others = {defect: some[HALVES[options.half][1]] for defect, some in pairs.items()}
        seen = {defect: [p.input for p in some] for defect, some in data.pairs.items()}
        found = score_defects(Path(folder), draws, real, others, options.seed, seen)
    print(machine())
    columns = ("spectrum", "noise_curve", "noise_curve_largest", "classifier")
    print(f"{'':20}" + "".join(f"{c:>22}" for c in columns))
    for defect, sources in found.items():
        for source, numbers in sources.items():
            cells = "".join(f"{numbers[c]:22.3f}" for c in columns)
            print(f"{defect:8} {source:11}{cells}")


if __name__ == "__main__":
    main()
