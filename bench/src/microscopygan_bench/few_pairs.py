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

from microscopygan.datasets.folder import Dataset, Pair, Sample, load_dataset
from microscopygan.evaluate.classical import classical
from microscopygan.restoration.model import Restorer
from microscopygan.settings import STARTS, Settings, make_settings
from microscopygan.training.stages import train
from microscopygan_bench import machine
from microscopygan_bench.quality import quality_head, quality_row

_SCORED = 60  # training pairs of each task that validation scores


def main(arguments: list[str] | None = None) -> None:
    """Train, score, print."""
    options = _options(arguments)
    data, scored = deal(load_dataset(options.data), options)
    settings = _settings(options)
    begun = time.perf_counter()
    minutes, resume = options.minutes, options.resume
    train(data, options.run, settings, minutes=minutes, resume=resume, overwrite=not resume)
    taken = (time.perf_counter() - begun) / 60
    print(machine())
    print(
        f"pairs {options.pairs or 'none'}{', their noisy images alone' * options.noisy}, "
        f"alpha {options.alpha}, draw {options.draw}, "
        f"{settings.preset} from {settings.start}, trained {taken:.1f} min, {options.part}"
    )
    restorer = Restorer(options.run / "restorer.onnx")
    print(quality_head(("input", "classical", "restored")))
    for name, pairs in scored.items():
        restored = {
            "input": [p.input for p in pairs],
            "classical": [classical(p.input, name) for p in pairs],
            "restored": [restorer.restore_plane(p.input) for p in pairs],
        }
        print(quality_row(name, pairs, restored))


def deal(dataset: Dataset, options: argparse.Namespace) -> tuple[Dataset, dict[str, list[Pair]]]:
    """Return what is trained on, and the pairs by task that are scored."""
    shuffle = np.random.default_rng(options.draw)
    training: dict[str, list[Pair]] = {}
    rest: dict[str, list[Pair]] = {}
    for name, pairs in dataset.pairs.items():
        order = shuffle.permutation(len(pairs))
        kept_out = _SCORED if options.part == "validation" else 0
        count = options.pairs or len(pairs) - kept_out  # no pairs: their halves, in other states
        training[name] = [pairs[i] for i in order[:count]]
        rest[name] = [pairs[i] for i in order[count:]][:_SCORED]
    scored = dataset.test if options.part == "test" else rest
    if not options.noisy:
        return replace(dataset, pairs=training), scored
    images = [Sample(pair.input, pair.name, pair.image) for pair in training["noise"]]
    return Dataset([], {"noise": images}, {}, {}), {"noise": scored["noise"]}


def _settings(options: argparse.Namespace) -> Settings:
    settings = make_settings(options.preset, options.start, alpha=options.alpha, seed=options.draw)
    changes: dict[str, object] = {"restorer.steps": options.steps} if options.steps else {}
    if settings.start == "scratch":  # which makes no choice on validation images
        changes |= {"validation": 0.0}
    return settings.changed(changes)


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
