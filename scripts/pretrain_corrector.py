"""Pre-train the CIN-GAN that ships: its shared weights, on virtual laboratories.

``python scripts/pretrain_corrector.py [CLEAN] -o RUN --seconds 150`` draws laboratories from the
clean images of the folder CLEAN and from simulated specimens, in ``--workers`` processes, and
trains for a time, on a GPU where there is one. ``RUN/defects.safetensors`` is what ships,
``RUN/log.jsonl`` the energy score on the way, ``RUN/held_out.json`` that of other laboratories,
stage by stage, and that of the images it corrects: 0.7 of it is what another draw of noise has.
``--without`` leaves stages out, to see what it makes of what it never saw. ``--ship`` puts the
weights into the package.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from microscopygan.image.axes import to_planes
from microscopygan.image.formats import list_images, read
from microscopygan.image.intensity import percentile_map
from microscopygan.settings import LaboratorySettings
from microscopygan.training.laboratories import Specimens
from microscopygan.training.pretraining_corrector import ARCHITECTURE, pretrain_corrector

PACKAGE = Path(__file__).parents[1] / "src" / "microscopygan" / "weights"


def main() -> None:
    """Train; then ship."""
    options = _options()
    paths = list_images([options.clean]) if options.clean else []
    settings = LaboratorySettings(field=options.field, simulated=options.simulated)
    pretrain_corrector(
        Specimens([[_plane(path)] for path in paths], settings),
        options.output,
        options.seconds,
        architecture=ARCHITECTURE.model_copy(update={"channels": options.channels}),
        laboratories=options.laboratories,
        workers=options.workers,
        rate=options.rate,
        seed=options.seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
        without=options.without,
        tried=options.tried,
    )
    if options.ship:
        shutil.copy(
            options.output / "defects.safetensors", PACKAGE / "generalist_defects.safetensors"
        )


def _plane(path: Path) -> np.ndarray:
    image = read(path)
    plane = np.asarray(to_planes(image.array, image.axes)[0][0], np.float32)
    return percentile_map(plane).apply(plane)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clean", type=Path, nargs="?", help="folder of clean images")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/corrector"))
    parser.add_argument("--seconds", type=float, default=150.0, help="in all")
    parser.add_argument("--workers", type=int, default=8, help="processes that draw laboratories")
    parser.add_argument("--laboratories", type=int, default=12, help="in a batch")
    parser.add_argument("--field", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--simulated", type=float, default=0.2, help="share of specimens")
    parser.add_argument("--channels", type=int, default=ARCHITECTURE.channels)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--without", nargs="*", default=(), help="stages to leave out")
    parser.add_argument(
        "--tried", type=int, default=12, help="laboratories of each stage, held out"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", action="store_true", help="put the weights into the package")
    return parser.parse_args()


if __name__ == "__main__":
    main()
