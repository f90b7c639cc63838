"""An image that lies in one or more datasets of a file or a folder, as in HDF5 and N5."""

import xml.etree.ElementTree as ElementTree
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..axes import name_axes
from ..image import Image, known_sizes, micrometres
from ..lazy import LazyArray, Slices, region_shape
from . import Request
from .plain import NpyHeader, npy_layout

_XML = 2**26  # bytes of BigDataViewer's description


@dataclass(frozen=True)
class Stored:
    """An image in a file or a folder.

    Attributes
    ----------
    path
        The file or folder.
    names
        The datasets it lies in, the last of the leading axes running fastest.
    shape
        Lengths of the leading axes, each dataset of which holds one place, and of the datasets.
    lead
        Number of leading axes.
    axes
        Of all dimensions, None where the file does not name them.
    dtype
        Of a pixel.
    sizes, origin, channels, interval, details
        As of `Image`; sizes in µm.
    """

    path: Path
    names: tuple[str, ...]
    shape: tuple[int, ...]
    lead: int
    axes: str | None
    dtype: np.dtype[Any]
    sizes: dict[str, float | None] = field(default_factory=dict)
    origin: dict[str, float] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    interval: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Pixels(ABC):
    """Pixels of an image that lies in datasets.

    Parameters
    ----------
    stored
        The image.
    kept
        Its dimensions that are indexed; of the others, the first place is read.
    """

    def __init__(self, stored: Stored, kept: tuple[int, ...]) -> None:
        self._stored, self._kept = stored, kept

    def __getitem__(self, key: Slices) -> np.ndarray:
        stored, lead = self._stored, self._stored.lead
        region = [slice(0, 1)] * len(stored.shape)
        for place, part in zip(self._kept, key, strict=True):
            region[place] = part
        places = list(product(*(range(p.start, p.stop, p.step or 1) for p in region[:lead])))
        inner = tuple(region[lead:])
        block = np.empty((len(places), *region_shape(inner)), stored.dtype)
        for k, index in enumerate(places):
            number = int(np.ravel_multi_index(index, stored.shape[:lead])) if lead else 0
            block[k] = self.region(stored.names[number], inner).astype(stored.dtype, copy=False)
        return block.reshape(region_shape(key))

    @abstractmethod
    def region(self, name: str, region: Slices) -> np.ndarray:
        """Read a region of one dataset."""


def image_of(
    stored: Stored,
    request: Request,
    pixels: type[Pixels],
    *,
    notes: tuple[str, ...] = (),
    chunks: tuple[int, ...] | None = None,
) -> Image:
    """Return an image whose pixels are read by slicing.

    Parameters
    ----------
    stored
        How it is stored.
    request
        Its part, as it is named to the user, and axes where none are stated.
    pixels
        Opens the file; called with `stored` and the dimensions that are kept.
    notes
        As of `Image`.
    chunks
        Shape of the blocks in which all dimensions are stored; None where there are none.

    Returns
    -------
    Image
        Axes of length 1 that the file names are dropped, except Y and X.
    """
    shown = str(stored.path) if request.part is None else f"{stored.path}#{request.part.strip('/')}"
    kept, axes = _layout(shown, stored, request)
    shape = tuple(stored.shape[i] for i in kept)
    number = shape[axes.index("C")] if "C" in axes else 1
    same = stored.axes is not None and axes == "".join(stored.axes[i] for i in kept)
    details = {name: value for name, value in stored.details.items() if value}
    if len(details.get("channels", ())) not in (0, number):
        del details["channels"]
    blocks = tuple(chunks[i] for i in kept) if chunks else None
    return Image(
        LazyArray(shown, partial(pixels, stored, kept), shape, stored.dtype, blocks),
        axes,
        known_sizes(stored.sizes, axes),
        Path(shown),
        stored.channels if same and len(stored.channels) == number else (),
        stored.interval if "T" in axes else None,
        origin={a: place for a, place in stored.origin.items() if a in axes},
        details=details,
        notes=notes,
    )


def _layout(name: str, stored: Stored, request: Request) -> tuple[tuple[int, ...], str]:
    """Return the dimensions that are kept, and their axes."""
    shape = stored.shape
    if stored.axes is None:
        wanted, axes = npy_layout(name, NpyHeader(shape, stored.dtype, "C"), request)
        kept: list[int] = []
        for i, n in enumerate(shape):
            if len(kept) < len(wanted) and n == wanted[len(kept)]:
                kept.append(i)
        return tuple(kept), axes
    places = [i for i, a in enumerate(stored.axes) if a in "YX" or shape[i] > 1]
    named = "".join(stored.axes[i] for i in places)
    lengths = tuple(shape[i] for i in places)
    return tuple(places), name_axes(name, lengths, named, request.axes, request.fallback)


def view_setup(file: Path, number: int) -> tuple[str | None, dict[str, float | None]]:
    """Return what BigDataViewer's XML beside a file or folder says of a setup.

    Parameters
    ----------
    file
        The XML has its name and the suffix ``.xml``.
    number
        Of the setup.

    Returns
    -------
    name, sizes
        Its name and the size of a voxel in µm; nothing where they are not stated.
    """
    xml = file.with_suffix(".xml")
    if not xml.is_file() or xml.stat().st_size > _XML:
        return None, {}
    for setup in ElementTree.parse(xml).getroot().iter("ViewSetup"):
        if setup.findtext("id") == str(number):
            unit = setup.findtext("voxelSize/unit", "")
            steps = setup.findtext("voxelSize/size", "").split()
            sizes = {a: micrometres(s, unit) for a, s in zip("XYZ", steps, strict=False)}
            return setup.findtext("name"), sizes
    return None, {}
