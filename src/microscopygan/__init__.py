"""MicroscopyGAN: restore microscopy images when there is hardly any training data.

Importing this package loads neither PyTorch nor ONNX Runtime; `restore` and `load` do the
restoring, `diagnose` says what is wrong, `train` and `load_dataset` do the training, everything
else is in the rooms (see ARCHITECTURE.md). The one thing that importing does is to switch ONNX
Runtime's telemetry off.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .datasets.folder import Dataset as Dataset
    from .datasets.folder import load_dataset as load_dataset
    from .image.atomic import Cancelled as Cancelled
    from .image.formats import Image as Image
    from .image.formats import open_image as open_image
    from .image.formats import read as read
    from .image.formats import write as write
    from .restoration.api import load as load
    from .restoration.api import restore as restore
    from .restoration.api import restore_file as restore_file
    from .restoration.diagnosed import diagnose as diagnose
    from .restoration.model import Restorer as Restorer
    from .settings import Settings as Settings
    from .settings import make_settings as make_settings
    from .training.stages import train as train

__version__ = "0.1.0"


def _switch_telemetry_off() -> None:
    """Keep ONNX Runtime from collecting and sending: nothing leaves the machine.

    Its releases since 1.32 open a data base of events in the user's cache folder when they are
    imported, and upload it. This package is imported before they are, in every process, and worker
    processes inherit the variable. If the runtime is there already, what it can still be told is
    to collect no further events.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if (runtime := sys.modules.get("onnxruntime")) is not None:
        runtime.disable_telemetry_events()


_switch_telemetry_off()

_ROOMS = {
    "Cancelled": "image.atomic",
    "Dataset": "datasets.folder",
    "Image": "image.formats",
    "Restorer": "restoration.model",
    "Settings": "settings",
    "diagnose": "restoration.diagnosed",
    "load": "restoration.api",
    "load_dataset": "datasets.folder",
    "make_settings": "settings",
    "open_image": "image.formats",
    "read": "image.formats",
    "restore": "restoration.api",
    "restore_file": "restoration.api",
    "train": "training.stages",
    "write": "image.formats",
}
__all__ = [
    "Cancelled",
    "Dataset",
    "Image",
    "Restorer",
    "Settings",
    "__version__",
    "diagnose",
    "load",
    "load_dataset",
    "make_settings",
    "open_image",
    "read",
    "restore",
    "restore_file",
    "train",
    "write",
]


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'microscopygan' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
