"""Write TIFF by region: ImageJ TIFF where that holds the image, else OME-TIFF."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ..atomic import reserve
from ..image import Header
from ..lazy import MappedArray, reordered
from .tiff import NOTE

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_ORDER = "TZCYX"
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes; an ImageJ file cannot be larger
_NOT_HELD = ("float16", "int64", "uint64")


def check_tiff(path: Path, header: Header) -> None:
    """Raise `ValueError` for a dtype that no microscopy TIFF holds."""
    if header.dtype.name in _NOT_HELD:
        raise ValueError(
            f"{path}: expected a dtype that OME-TIFF holds, got {header.dtype}; try float32, or "
            ".npy"
        )


def create_tiff(partial: Path, header: Header, *, ome: bool) -> Any:
    """Write a TIFF file whose pixels are all 0, and return them for writing.

    Parameters
    ----------
    partial
        The file; its folder exists.
    header
        Y and X are moved to the end in the file; the other axes keep their order. All of it is
        written into the metadata.
    ome
        Write OME-TIFF in any case; it is a BigTIFF where it is larger than 4 GB.

    Returns
    -------
    The pixels with the axes of `header`, to be written and read by region, in one piece in the
    file.
    """
    order = "".join(letter for letter in header.axes if letter not in "YX") + "YX"
    shape = tuple(header.shape[header.axes.index(letter)] for letter in order)
    imagej = not ome and _fits_imagej(header, order)
    settings = _imagej(header, shape, order) if imagej else _ome(header, order)
    place = tifffile.imwrite(
        partial,
        shape=shape,
        dtype=header.dtype,
        photometric="minisblack",
        returnoffset=True,
        **settings,
    )
    assert place is not None  # the pixels lie in one piece, since nothing compresses them
    reserve(partial)
    pixels = MappedArray(partial, header.dtype, shape, place[0], writable=True)
    return reordered(pixels, order, header.axes)


def _fits_imagej(header: Header, order: str) -> bool:
    """Whether ImageJ's format holds dtype, order, size and all that is known of the image."""
    lateral = {"Y", "X"} & set(header.pixel_size)
    return (
        header.dtype.name in _IMAGEJ_DTYPES
        and order == "".join(letter for letter in _IMAGEJ_ORDER if letter in order)
        and math.prod(header.shape) * header.dtype.itemsize < _CLASSIC_LIMIT
        and len(lateral) != 1
        and (bool(lateral) or "Z" not in header.pixel_size)
        and ("C" in order or not header.channels)
    )


def _imagej(header: Header, shape: tuple[int, ...], order: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": order}
    settings: dict[str, Any] = {"imagej": True, "metadata": metadata}
    sizes = header.pixel_size
    if "X" in sizes:
        metadata["unit"] = "um"
        settings["resolution"] = (1 / sizes["X"], 1 / sizes["Y"])
    if "Z" in sizes:
        metadata["spacing"] = sizes["Z"]
    if header.interval is not None and "T" in order:
        metadata["finterval"] = header.interval
    if header.channels:
        channel = np.indices(shape[:-2])[order.index("C")].ravel()
        metadata["Labels"] = [header.channels[i] for i in channel]
    if header.provenance:
        metadata["Info"] = f"{NOTE}: {json.dumps(header.provenance)}\n"
    return settings


def _ome(header: Header, order: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": order}
    for letter, size in header.pixel_size.items():
        metadata[f"PhysicalSize{letter}"] = size
        metadata[f"PhysicalSize{letter}Unit"] = "µm"
    if header.interval is not None and "T" in order:
        metadata |= {"TimeIncrement": header.interval, "TimeIncrementUnit": "s"}
    if header.channels:
        metadata["Channel"] = {"Name": list(header.channels)}
    if header.provenance:
        values = {key: json.dumps(value) for key, value in header.provenance.items()}
        metadata["MapAnnotation"] = {"Namespace": NOTE, "Value": values}
    return {"ome": True, "metadata": metadata}
