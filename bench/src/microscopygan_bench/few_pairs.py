"""Train on a few real pairs of each task, or on none, and score images never trained on.

``microscopygan-bench few-pairs DATA --pairs 10 --alpha 0.5`` reads ``TASK_train_X.npy``,
``TASK_train_Y.npy`` and the same with ``test`` from DATA, trains one network for all the tasks,
and prints the affine-fit PSNR and SSIM, mean ± sd over images, beside the input's and a
classical method's. ``--part validation`` scores training pairs that the run was not given, for
tuning; ``--part test`` is for the last look. ``--noisy`` gives nothing but the noisy images of the
pairs of the task noise.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from microscopygan.datasets.folder import Dataset, Sample, load_dataset
from microscopygan.evaluate.classical import classical
from microscopygan.evaluate.metrics import psnr_affine, ssim_affine
from microscopygan.restoration.model import Restorer
from microscopygan.settings import STARTS, make_settings
from microscopygan.training.stages import train
from microscopygan_bench import machine

_SCORED = 60  # training pairs of each task that validation scores


def main(arguments: list[str] | None = None) -> None:
    """Train, score, print."""
    options = _options(arguments)
    train_set = load_dataset(options.data)
    shuffle = np.random.default_rng(options.draw)
    given, rest = {}, {}
    for name, pairs in train_set.pairs.items():
        order = shuffle.permutation(len(pairs))
        spare = _SCORED if options.part == "validation" else 0
        count = options.pairs or len(pairs) - spare  # no pairs: their halves, in other states
        given[name] = [pairs[i] for i in order[:count]]
        rest[name] = [pairs[i] for i in order[count:]][:_SCORED]
    scored = train_set.test if options.part == "test" else rest
    data = replace(train_set, pairs=given)
    if options.noisy:
        images = [Sample(pair.input, pair.name, pair.image) for pair in given["noise"]]
        data, scored = Dataset([], {"noise": images}, {}, {}), {"noise": scored["noise"]}
    chosen = make_settings(options.preset, options.start, alpha=options.alpha, seed=options.draw)
    if chosen.start == "scratch":  # which makes no choice on validation images
        chosen = chosen.model_copy(update={"validation": 0.0})
    if options.steps:
        chosen = chosen.changed({"restorer.steps": options.steps})
    begun = time.perf_counter()
    minutes, resume = options.minutes, options.resume
    train(data, options.run, chosen, minutes=minutes, resume=resume, overwrite=not resume)
    taken = (time.perf_counter() - begun) / 60
    print(machine())
    print(
        f"pairs {options.pairs or 'none'}{', their noisy images alone' * options.noisy}, "
        f"alpha {options.alpha}, draw {options.draw}, "
        f"{chosen.preset} from {chosen.start}, trained {taken:.1f} min, {options.part}"
    )
    restorer = Restorer(options.run / "restorer.onnx")
    print(f"{'':8} {'input':>20} {'classical':>20} {'restored':>20}   gain dB")
    for name, pairs in scored.items():
        rows = {
            "input": [p.input for p in pairs],
            "classical": [classical(p.input, name) for p in pairs],
            "restored": [restorer.restore_plane(p.input) for p in pairs],
        }
        cells, means = [], []
        for planes in rows.values():
            quality = [psnr_affine(p.target, x) for p, x in zip(pairs, planes, strict=True)]
            alike = [ssim_affine(p.target, x) for p, x in zip(pairs, planes, strict=True)]
            means.append(float(np.mean(quality)))
            cells.append(f"{means[-1]:6.2f} ±{np.std(quality):5.2f} /{np.mean(alike):.3f}")
        print(f"{name:8} {' '.join(f'{c:>20}' for c in cells)}   {means[2] - means[0]:+.2f}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=10, help="0 = none, with --alpha 1")
    parser.add_argument("--noisy", action="store_true", help="noisy images alone, from generalist")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--draw", type=int, default=0, help="seed of the draw and of the run")
    parser.add_argument("--from", dest="start", choices=STARTS, default="scratch")
    parser.add_argument("--minutes", type=float, help="at most, for both stages")
    parser.add_argument("--steps", type=int, help="steps of the restorer")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--resume", action="store_true", help="go on with RUN, or only score it")
    parser.add_argument("--run", type=Path, default=Path("runs/few_pairs"))
    options = parser.parse_args(arguments)
    if (options.pairs == 0) != (options.alpha == 1):
        parser.error("--pairs 0 goes with --alpha 1, and the reverse")
    return options


if __name__ == "__main__":
    main()
