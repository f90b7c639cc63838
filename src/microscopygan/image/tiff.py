"""TIFF, OME-TIFF and ImageJ TIFF: pixels with their axes and pixel size."""

import logging
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO

import numpy as np
import tifffile

from .axes import AXES

Pixels = tuple[np.ndarray, str, dict[str, float]]

_MICROMETRES = {
    **{"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0},
    **{"\\u00b5m": 1.0, "nm": 1e-3, "pm": 1e-6, "å": 1e-4, "mm": 1e3, "cm": 1e4, "m": 1e6},
    **{"inch": 25400.0, "in": 25400.0},
}
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_ORDER = "TZCYX"
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes; an ImageJ file cannot be larger
_COARSEST = 100.0  # µm; plain files with larger "pixels" state a print size, not a pixel size
# What tifffile only logs when a file is cut short or refers to files that are not there, while
# it goes on with the planes it found.
_DAMAGE = re.compile(
    "invalid page offset|invalid value offset|corrupted file|failed to reshape|OME series"
)


def read_tiff(path: Path) -> Pixels:
    """Read the one image of a TIFF file.

    Parameters
    ----------
    path
        OME-TIFF, ImageJ TIFF or plain TIFF.

    Returns
    -------
    array, axes, pixel size
        Axes of length 1 dropped; unnamed axes become the first free of Z, T, C; pixel size in
        µm by axis letter, as far as the file states one.

    Raises
    ------
    ValueError
        Colour photographs, several images in one file, foreign axes, or planes missing.
    Exception
        Whatever tifffile and the codecs raise on damaged files.
    """
    with _logged() as messages, tifffile.TiffFile(path) as file:
        if not file.series:
            raise ValueError("it holds no image")
        if len(file.series) > 1:
            raise ValueError(
                f"{path}: expected one image, got {len(file.series)} of different kinds; "
                "save each as a file of its own"
            )
        series = file.series[0]
        array, axes = np.asarray(series.asarray()), series.axes
        pixel_size = _pixel_size(file)
    damage = next((text for text in messages if _DAMAGE.search(text)), None)
    if damage:
        detail = " ".join(re.sub("<[^>]*>", "", damage).split())[:100]
        raise ValueError(
            f"{path}: expected a whole TIFF file, got one with parts missing ({detail}); "
            "copy or export it again"
        )
    array, axes = _named_axes(array, axes, path)
    return array, axes, {k: v for k, v in pixel_size.items() if k in axes}


def write_tiff(
    file: BinaryIO, array: np.ndarray, axes: str, pixel_size: dict[str, float], *, ome: bool
) -> None:
    """Write an image as ImageJ TIFF, or as OME-TIFF where asked or where ImageJ's cannot hold it.

    Parameters
    ----------
    file
        Open for binary writing.
    array, axes
        Y and X are moved to the end; the other axes keep their order.
    pixel_size
        µm by axis letter.
    ome
        Write OME-TIFF in any case.

    Raises
    ------
    ValueError
        A dtype that no microscopy TIFF holds (float16 and 64-bit integers).
    """
    order = "".join(letter for letter in axes if letter not in "YX") + "YX"
    array = np.ascontiguousarray(array.transpose([axes.index(letter) for letter in order]))
    if array.dtype.name in ("float16", "int64", "uint64"):
        raise ValueError(
            f"expected a dtype that OME-TIFF holds, got {array.dtype}; try float32, or .npy"
        )
    if not ome and _fits_imagej(array, order, pixel_size):
        _write_imagej(file, array, order, pixel_size)
        return
    metadata: dict[str, Any] = {"axes": order}
    for letter in set("ZYX") & set(pixel_size):
        metadata[f"PhysicalSize{letter}"] = pixel_size[letter]
        metadata[f"PhysicalSize{letter}Unit"] = "µm"
    tifffile.imwrite(file, array, ome=True, photometric="minisblack", metadata=metadata)


def _write_imagej(
    file: BinaryIO, array: np.ndarray, axes: str, pixel_size: dict[str, float]
) -> None:
    metadata: dict[str, Any] = {"axes": axes}
    extra: dict[str, Any] = {}
    if "X" in pixel_size:
        metadata["unit"] = "um"
        extra["resolution"] = (1 / pixel_size["X"], 1 / pixel_size["Y"])
    if "Z" in pixel_size:
        metadata["spacing"] = pixel_size["Z"]
    tifffile.imwrite(file, array, imagej=True, photometric="minisblack", metadata=metadata, **extra)


def _fits_imagej(array: np.ndarray, axes: str, pixel_size: dict[str, float]) -> bool:
    """Whether ImageJ's format holds dtype, order, size and all the known pixel sizes."""
    lateral = {"Y", "X"} & set(pixel_size)
    return (
        array.dtype.name in _IMAGEJ_DTYPES
        and axes == "".join(letter for letter in _IMAGEJ_ORDER if letter in axes)
        and array.nbytes < _CLASSIC_LIMIT
        and len(lateral) != 1
        and (bool(lateral) or "Z" not in pixel_size)
    )


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect what tifffile logs in this thread, instead of printing it."""
    messages: list[str] = []
    thread = get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        messages.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(keep)
    try:
        yield messages
    finally:
        logger.removeFilter(keep)


def _named_axes(array: np.ndarray, axes: str, path: Path) -> tuple[np.ndarray, str]:
    """Bring tifffile's axes letters to those of TCZYX."""
    if "S" in axes and array.shape[axes.index("S")] in (3, 4):
        raise ValueError(
            f"{path}: expected grey values, got a colour image (RGB); split its channels and "
            "save each as a file of its own"
        )
    kept = [i for i, n in enumerate(array.shape) if n > 1 or axes[i] in AXES]
    array = array.reshape([array.shape[i] for i in kept])
    free = [letter for letter in "ZTC" if letter not in axes]
    named = ""
    for letter in (axes[i] for i in kept):
        if letter == "S" and "C" in free:
            letter = "C"
        elif letter in "IQ" and free:
            letter = free[0]
        named += letter
        free = [f for f in free if f != letter]
    if not set("YX") <= set(named) <= set(AXES) or len(set(named)) != len(named):
        raise ValueError(
            f"{path}: expected axes of T, C, Z, Y, X, got {axes}; export it as OME-TIFF with "
            "these axes"
        )
    return array, named


def _pixel_size(file: tifffile.TiffFile) -> dict[str, float]:
    """Pixel size in µm by axis letter, from OME, ImageJ or plain TIFF metadata."""
    if file.is_ome and file.ome_metadata:
        found = _ome_pixel_size(file.ome_metadata)
    elif file.is_imagej and file.imagej_metadata:
        meta = file.imagej_metadata
        unit = _MICROMETRES.get(str(meta.get("unit", "")).lower(), 0.0)
        found = {k: v * unit for k, v in _resolution(file).items()}
        found["Z"] = float(meta.get("spacing", 0)) * unit
    else:
        unit_tag = file.series[0].keyframe.tags.get("ResolutionUnit")
        unit = 1e4 if unit_tag is not None and unit_tag.value == 3 else 0.0  # 3: centimetres
        found = {k: v * unit for k, v in _resolution(file).items() if v * unit <= _COARSEST}
    return {k: v for k, v in found.items() if np.isfinite(v) and v > 0}


def _resolution(file: tifffile.TiffFile) -> dict[str, float]:
    """Units for each pixel from the resolution tags (pixels for each unit, as fractions)."""
    sizes = {}
    for letter in "YX":
        tag = file.series[0].keyframe.tags.get(f"{letter}Resolution")
        if tag is not None and tag.value[0]:
            sizes[letter] = tag.value[1] / tag.value[0]
    return sizes


def _ome_pixel_size(text: str) -> dict[str, float]:
    pixels = ElementTree.fromstring(text).find(".//{*}Pixels")
    sizes = {}
    for letter in "ZYX":
        value = None if pixels is None else pixels.get(f"PhysicalSize{letter}")
        if pixels is not None and value is not None:
            unit = pixels.get(f"PhysicalSize{letter}Unit", "µm").lower()
            sizes[letter] = float(value) * _MICROMETRES.get(unit, 0.0)
    return sizes
