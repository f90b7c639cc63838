"""What a run and its model say of themselves: ``run.json``, and the card in the model's file."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from .. import __version__
from ..defects import parts_of
from ..gan.networks import build_restorer
from ..model_card import ModelCard
from ..settings import RestorerArchitecture, Settings
from .export_onnx import receptive_field
from .run_folder import write_json
from .split import Split

if TYPE_CHECKING:
    from .stages import Trained


def model_card(split: Split, settings: Settings, steps: int) -> ModelCard:
    """Return what a restorer's file says of itself; `steps` it has been trained for."""
    architecture = settings.restorer.architecture
    network, planes = build_restorer(architecture), architecture.planes
    halo = receptive_field(network, network.multiple, planes) if network.tileable else (0, 0)
    return ModelCard(
        program=__version__,
        planes=planes,
        halo=halo,
        multiple=network.multiple,
        tileable=network.tileable,
        defects=tuple(
            dict.fromkeys("+".join(parts_of(split.meaning[n])) or n for n in split.defects)
        ),
        hints=architecture.hints,
        training={
            "preset": settings.preset,
            "start": settings.start,
            "alpha": settings.alpha,
            "cin_gan": settings.cin_gan,
            "steps": steps,
            "seed": settings.seed,
            "pairs": {name: len(pairs) for name, pairs in split.pairs.items()},
            "unpaired": {name: len(planes) for name, planes in split.defective.items()},
        },
    )


def describe(trained: Trained) -> None:
    """Write ``run.json``: what was trained on what, with which versions, for how long."""
    path, split, settings = trained.folder / "run.json", trained.split, trained.settings
    seconds = {name: round(value, 1) for name, value in trained.seconds.items()}
    earlier = json.loads(path.read_text()) if path.exists() else {}
    libraries = ("torch", "numpy", "onnxruntime", "accelerate")
    about = {
        "program": {"microscopygan": __version__, "python": platform.python_version()}
        | {name: version(name) for name in libraries},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seed": settings.seed,
        "dataset": {
            "clean": len(split.clean),
            "alpha": settings.alpha,
            "cin_gan": settings.cin_gan,
            "defects": {
                name: {
                    "unpaired": len(split.defective[name]),
                    "pairs": len(split.pairs[name]),
                    "validation": len(split.validation_pairs[name]),
                    "test": len(split.test.get(name, [])),
                }
                for name in split.defects
            },
        },
        "parameters": {"restorer": parameter_count(settings.restorer.architecture)},
        "adaptation": trained.outcome,
        "seconds": earlier.get("seconds", {}) | seconds,
    }
    write_json(path, about)


def parameter_count(architecture: RestorerArchitecture) -> int:
    """Return how many weights a restorer has."""
    return sum(p.numel() for p in build_restorer(architecture).parameters())
