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
import csv
import hashlib
import json
import os
import platform
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from microscopygan.gan.cgan import CGan, load_restorer, save_restorer
from microscopygan.gan.cin_gan import CinGan, save_defects
from microscopygan.gan.networks import DefectGenerator
from microscopygan.image.axes import to_planes
from microscopygan.image.formats import list_images, read
from microscopygan.settings import HINTS, Settings, make_settings
from microscopygan.training.batches import DefectBatches, PairBatches, draw_field
from microscopygan.training.export_onnx import export_restorer
from microscopygan.training.loop import join_processes
from microscopygan.training.loop import train as run_loop
from microscopygan.training.pretraining import (
    SHARES,
    SPECIMENS,
    broad_material,
    defect_material,
    quiet_fields,
    with_broad_physics,
)
from microscopygan.training.run_folder import open_run, write_json
from microscopygan.training.split import Material
from microscopygan.training.stages import model_card
from microscopygan.training.validation import Held, HeldBack, held

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
_FIELDS = 32  # held-out fields of each defect
_JUDGE_EVERY = 2000  # steps


def main() -> None:
    """Train, or go on; then ship."""
    options = _options()
    run, chosen, accelerator = options.output, _settings(options), join_processes()
    images = {path.name: path for path in list_images([options.clean])}
    kept = sorted(name for name in images if not is_held_out(name))
    judges = held_fields([_plane(images[name]) for name in sorted(set(images) - set(kept))])
    about = _about(options, chosen, images, kept)
    if accelerator.is_main_process:
        open_run(run, chosen, "restorer", resume=run.exists(), overwrite=False)
        _keep(run / "run.json", about)
    accelerator.wait_for_everyone()
    clean = [_plane(images[name]) for name in kept]
    material = broad_material(clean, chosen.seed, options.specimens)
    train_restorer(material, run, chosen, accelerator, judges, options.start)
    train_defects(material, run, chosen, accelerator)
    if accelerator.is_main_process:
        write_json(run / "run.json", about | {"seconds": _seconds(run)})
        if options.ship:
            for name, shipped in SHIPPED.items():
                shutil.copy(run / name, PACKAGE / shipped)


def is_held_out(name: str) -> bool:
    """Tell whether an image is only judged by."""
    return name.startswith(_HELD_OUT) or (name.startswith("dsb2018") and name[10] == "8")


def held_fields(clean: list[np.ndarray]) -> dict[str, Held]:
    """Return fields of held-out images with each defect, always the same ones."""
    rng = np.random.default_rng(99)
    material = with_broad_physics([f for plane in clean for f in quiet_fields(plane)], rng)
    names = [name for name in SHARES if name != "none"]
    return {
        name: held(draw_field(material, name, 128, rng) for _ in range(_FIELDS)) for name in names
    }


def train_restorer(
    material: Material,
    run: Path,
    chosen: Settings,
    accelerator: Accelerator,
    judges: dict[str, Held],
    start: Path | None,
) -> None:
    """Train the restorer on simulated pairs alone, and export it."""
    stage = chosen.restorer
    known = load_restorer(start) if start else None
    restorer = run_loop(
        CGan(stage, accelerator, chosen.seed, start=known),
        PairBatches(material, stage.batch, stage.patch, 1.0, chosen.seed, stage.architecture.hints),
        run / "restorer",
        stage,
        seed=chosen.seed + 1,
        accelerator=accelerator,
        judge=HeldBack(judges, run / "restorer", _JUDGE_EVERY),
        resume=True,
    )
    if accelerator.is_main_process:
        save_restorer(run / "restorer.safetensors", restorer)
        card = model_card(replace(material, defects=HINTS), chosen, stage.steps)
        export_restorer(restorer, run / "restorer.onnx", card)


def train_defects(
    material: Material, run: Path, chosen: Settings, accelerator: Accelerator
) -> None:
    """Train CIN-GAN, whose shared weights an adaptation keeps."""
    stage = chosen.defects
    found = defect_material(material, np.random.default_rng([chosen.seed, 7]))
    generator = run_loop(
        CinGan(stage, HINTS, accelerator, chosen.seed),
        DefectBatches(found, stage.batch, stage.patch, chosen.seed),
        run / "defects",
        stage,
        seed=chosen.seed,
        accelerator=accelerator,
        resume=True,
    )
    if accelerator.is_main_process:
        assert isinstance(generator, DefectGenerator)
        save_defects(run / "defects.safetensors", generator, HINTS)


def _settings(options: argparse.Namespace) -> Settings:
    chosen = make_settings("default", "scratch", alpha=1.0, seed=options.seed)
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
    return chosen.changed({"restorer": changes, "defects.steps": options.defect_steps})


def _about(
    options: argparse.Namespace, chosen: Settings, images: dict[str, Path], kept: list[str]
) -> dict[str, object]:
    """State what was trained on what, with which versions."""
    return {
        "program": {name: version(name) for name in ("microscopygan", "torch", "numpy")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "settings": chosen.model_dump(mode="json"),
        "specimens": options.specimens,
        "started_from": _digest(options.start) if options.start else None,
        "clean": {name: _digest(images[name]) for name in kept},
        "held_out": {name: _digest(images[name]) for name in sorted(set(images) - set(kept))},
    }


def _keep(path: Path, about: dict[str, object]) -> None:
    """Keep what a run is made of before it starts, or check that it goes on with the same."""
    before = json.loads(path.read_text()) if path.exists() else about
    for name in ("started_from", "specimens", "clean", "held_out"):
        if before[name] != about[name]:
            raise SystemExit(f"{path.parent}: cannot go on with other {name}; give another -o")
    write_json(path, about)


def _seconds(run: Path) -> int:
    """Return the seconds of training of both stages, interrupted or not."""
    total = 0.0
    for name in ("restorer", "defects"):
        with (run / name / "log.csv").open(newline="") as file:
            total += float(list(csv.DictReader(file))[-1]["seconds"])
    return round(total)


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
    parser.add_argument("--specimens", type=int, default=SPECIMENS, help="simulated ones")
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
