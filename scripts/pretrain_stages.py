"""Pre-train the trees by which a diagnosis tells which stages spoil images.

``python scripts/pretrain_stages.py CLEAN -o RUN --minutes 60`` draws virtual laboratories from the
clean images of the folder CLEAN, and from simulated specimens, and keeps in the folder RUN what is
measured on them; the same command draws more. Several may run at once, with different ``--seed``.
``--fit`` fits the trees to all that RUN holds, and writes ``RUN/stages.onnx``, which ships in the
package's ``weights``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from pretrain import first_plane, is_held_out

from microscopygan.image.atomic import whole
from microscopygan.image.formats import list_images
from microscopygan.settings import LaboratorySettings, PretrainingSettings, StageTreeSettings
from microscopygan.training.laboratories import Specimens, draw_laboratory
from microscopygan.training.pretraining import sorts_of
from microscopygan.training.stage_trees import Examples, examples, export_trees, fit_trees

IMAGES = 8  # of a laboratory, the most that a diagnosis looks at together
AT_ONCE = 100  # laboratories a file


def main() -> None:
    """Draw, then fit."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.minutes:
        _draw(options)
    if options.fit:
        known = _kept(options.output)
        print(f"{len(known.inputs)} sets of images, {known.inputs.shape[1]} measures", flush=True)
        export_trees(fit_trees(known, StageTreeSettings()), options.output / "stages.onnx")


def _draw(options: argparse.Namespace) -> None:
    settings = LaboratorySettings(images=IMAGES, stacks=0.0)
    images = list_images([options.clean])
    planes = [first_plane(path) for path in sorted(images) if not is_held_out(path.name)]
    specimens = Specimens(sorts_of(planes, PretrainingSettings()), settings)
    begun, drawn_before = time.monotonic(), options.output.glob(f"examples-{options.seed}-*.npz")
    index = AT_ONCE * len(list(drawn_before))
    while time.monotonic() < begun + 60 * options.minutes:
        drawn = []
        for _ in range(AT_ONCE):
            rng = np.random.default_rng([options.seed, index])
            drawn.append(examples(draw_laboratory(specimens, settings, rng)))
            index += 1
        inputs, strength = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        path = options.output / f"examples-{options.seed}-{index}.npz"
        with whole(path) as part, part.open("wb") as file:
            np.savez_compressed(file, inputs=inputs, strength=strength)
        print(f"{index} laboratories in {time.monotonic() - begun:.0f} s", flush=True)


def _kept(folder: Path) -> Examples:
    files = [np.load(path) for path in sorted(folder.glob("examples-*.npz"))]
    if not files:
        raise SystemExit(f"expected examples in {folder}, found none; draw some with --minutes 60")
    parts = [(file["inputs"], file["strength"]) for file in files]
    return Examples(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clean", type=Path, nargs="?", help="folder of clean images")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=0.0, help="of drawing")
    parser.add_argument("--fit", action="store_true", help="fit the trees, and write them")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    options = parser.parse_args()
    if not options.minutes and not options.fit:
        parser.error("expected --minutes to draw for, or --fit, got neither; give one of them")
    if options.minutes and options.clean is None:
        parser.error("expected a folder of clean images to draw from, got none; name one")
    return options


if __name__ == "__main__":
    main()
