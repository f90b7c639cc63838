"""MicroscopyGAN: restore microscopy images when there is hardly any training data.

Importing this package loads neither PyTorch nor ONNX Runtime; `Restorer` does the
restoring, everything else is in the rooms (see ARCHITECTURE.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .image.formats import Image as Image
    from .image.formats import read as read
    from .image.formats import write as write
    from .restoration.restorer import Restorer as Restorer
    from .settings import Settings as Settings
    from .settings import settings as settings

__version__ = "0.1.0"

_ROOMS = {
    "Image": "image.formats",
    "read": "image.formats",
    "write": "image.formats",
    "Restorer": "restoration.restorer",
    "Settings": "settings",
    "settings": "settings",
}
__all__ = ["Image", "Restorer", "Settings", "__version__", "read", "settings", "write"]


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'microscopygan' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
