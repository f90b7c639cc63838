"""Pre-train the generalist: the restorer and the CIN-GAN that ship, for any microscope.

``python scripts/pretrain.py CLEAN -o RUN`` reads clean images from the folder CLEAN and trains the
restorer (``RUN/restorer``), then CIN-GAN (``RUN/defects``), for as many steps as it is told. It can
be stopped at any time: the same command goes on. ``accelerate launch`` runs it on several GPUs.
``--from WEIGHTS`` starts the restorer from an earlier generalist. ``RUN/run.json`` records the
data's hashes, the settings, versions and seconds; ``restorer/judged.csv`` the gain on images whose
source is not in the training. ``--ship`` puts the result into the package.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np

from microscopygan.image.axes import to_planes
from microscopygan.image.formats import list_images, read
from microscopygan.settings import HINTS, PretrainingSettings, Settings, make_settings
from microscopygan.training.loop import join_processes
from microscopygan.training.pretraining import pretrain

PACKAGE = Path(__file__).parents[1] / "src" / "microscopygan" / "weights"
SHIPPED = {
    "restorer.onnx": "generalist.onnx",
    "restorer.safetensors": "generalist.safetensors",
    "defects.safetensors": "generalist_defects.safetensors",
    "run.json": "generalist.json",
}
# Held out: the sources of the demo's test images, and every tenth of the others.
_HELD_OUT = ("neubias_xy_16bit__bacteria", "neubias_xy_16bit__rat", "neubias_xy_8bit__nup")
_HELD_OUT += ("dsb2018_095", "dsb2018_110", "dsb2018_124")


def main() -> None:
    """Train, or go on; then ship."""
    options = _options()
    run, settings = options.output, _settings(options)
    images = {path.name: path for path in list_images([options.clean])}
    train = sorted(name for name in images if not is_held_out(name))
    held_out = sorted(set(images) - set(train))
    try:
        pretrain(
            [_plane(images[name]) for name in train],
            [_plane(images[name]) for name in held_out],
            run,
            settings,
            PretrainingSettings(specimens=options.specimens),
            start=options.start,
            about=_about(options, settings, images, train),
        )
    except ValueError as error:
        raise SystemExit(str(error)) from None
    if options.ship and join_processes().is_main_process:
        for name, shipped in SHIPPED.items():
            shutil.copy(run / name, PACKAGE / shipped)


def is_held_out(name: str) -> bool:
    """Tell whether an image only validates."""
    return name.startswith(_HELD_OUT) or (name.startswith("dsb2018") and name[10] == "8")


def _settings(options: argparse.Namespace) -> Settings:
    settings = make_settings("default", "scratch", alpha=1.0, seed=options.seed)
    changes = {
        "steps": options.steps,
        "batch": 8,
        "patch": 96,
        "learning_rate": options.rate,
        "ema": 0.999,
        "log_every": 100,
        "picture_every": 5000,
        "error_floor": options.floor,
        "architecture": {"channels": options.channels, "hints": HINTS},
    }
    return settings.changed({"restorer": changes, "defects.steps": options.defect_steps})


def _about(
    options: argparse.Namespace, settings: Settings, images: dict[str, Path], train: list[str]
) -> dict[str, object]:
    """State what was trained on what, with which versions."""
    return {
        "program": {name: version(name) for name in ("microscopygan", "torch", "numpy")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "settings": settings.model_dump(mode="json"),
        "specimens": options.specimens,
        "started_from": _digest(options.start) if options.start else None,
        "clean": {name: _digest(images[name]) for name in train},
        "held_out": {name: _digest(images[name]) for name in sorted(set(images) - set(train))},
    }


def _plane(path: Path) -> np.ndarray:
    image = read(path)
    return np.asarray(to_planes(image.array, image.axes)[0][0], np.float32)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _channels(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clean", type=Path, help="folder of clean images")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/generalist"))
    parser.add_argument(
        "--specimens", type=int, default=PretrainingSettings().specimens, help="simulated ones"
    )
    parser.add_argument("--steps", type=int, default=60_000, help="of the restorer")
    parser.add_argument("--defect-steps", type=int, default=600, help="of CIN-GAN")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--floor", type=float, default=0.015, help="RMSE that loses weight")
    parser.add_argument("--channels", type=_channels, default=(16, 32, 96))
    parser.add_argument("--from", dest="start", type=Path, help="weights to start from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", action="store_true", help="put the result into the package")
    return parser.parse_args()


if __name__ == "__main__":
    main()
