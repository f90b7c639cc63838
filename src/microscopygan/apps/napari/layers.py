"""What a layer is as an image, and what the layer of its result is; without Qt and napari."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ...image.axes import AXES, check_axes, name_axes
from ...image.formats import open_image
from ...image.image import Image
from ..restore_options import RestoreOptions

LETTERS = {
    **dict.fromkeys(("t", "time", "frame"), "T"),
    **dict.fromkeys(("c", "ch", "channel", "channels"), "C"),
    **dict.fromkeys(("z", "depth", "plane", "slice"), "Z"),
    **dict.fromkeys(("y", "row", "height"), "Y"),
    **dict.fromkeys(("x", "column", "col", "width"), "X"),
}
_KEPT = [
    "scale",
    "translate",
    "rotate",
    "shear",
    "affine",
    "units",
    "axis_labels",
    "colormap",
    "contrast_limits",
    "gamma",
    "blending",
]


@dataclass(frozen=True)
class FileOf:
    """The file that a layer shows.

    Attributes
    ----------
    path
        Of the file.
    axes, pixel_size
        What it states, of the dimensions that the layer has; no axes where it states none.
    whole
        The layer shows all of it, not one of its channels.
    """

    path: Path
    axes: str
    pixel_size: dict[str, float]
    whole: bool


def refusal(layer: Any) -> str | None:
    """Say in a sentence why a layer cannot be restored; None where it can."""
    kind = type(layer).__name__
    if kind != "Image":
        return (
            f"{layer.name} is a layer of {kind.lower()}; only images are restored, so choose the "
            "image that it belongs to."
        )
    if layer.rgb:
        return (
            f"{layer.name} is a colour (RGB) picture; intensities are restored, so split it into "
            "its channels (right click on the layer: Split RGB) and choose those."
        )
    if np.dtype(layer.dtype).kind not in "uif":
        return (
            f"{layer.name} holds {layer.dtype} values; convert it to integers or floats "
            "(right click on the layer: Convert data type)."
        )
    return None


def pixels_of(layer: Any) -> Any:
    """Return the pixels at full resolution: NumPy's as they are, all others as a Dask array."""
    data = layer.data[0] if layer.multiscale else layer.data
    if isinstance(data, np.ndarray) or type(data).__module__.startswith("dask"):
        return data
    da = import_module("dask.array")
    return da.from_array(data, chunks=getattr(data, "chunks", None) or "auto", name=False)


def image_of(layer: Any, options: RestoreOptions) -> Image:
    """Return a layer as an image.

    Axes come from the options, else from the layer's axis labels, else from its file; pixel sizes
    from the options, else from the layer's scale and units, else from its file.

    Raises
    ------
    ValueError
        The layer is no image of intensities, or its axes are a question to the user.
    """
    if sentence := refusal(layer):
        raise ValueError(sentence)
    pixels, file = pixels_of(layer), file_of(layer)
    named = _labelled_axes(layer) or (file.axes if file else None) or None
    axes = _axes(layer.name, tuple(pixels.shape), named, options.axes)
    sizes = (file.pixel_size if file else {}) | _scaled_sizes(layer, axes)
    sizes |= options.arguments()["pixel_size"] or {}
    return Image(
        pixels,
        axes,
        {letter: size for letter, size in sizes.items() if letter in axes},
        file.path if file else layer.name,
    )


def _axes(name: str, shape: tuple[int, ...], named: str | None, stated: str | None) -> str:
    try:
        return name_axes(name, shape, named, stated, fallback=False)
    except ValueError:
        if stated or named or not 2 < len(shape) < 6:
            raise
        raise ValueError(
            f"{name}: what are its {len(shape)} dimensions {shape}? Write a letter for each under "
            "“Axes” in “More options”: T (time), C (channel), Z, Y, X, such as "
            f"{AXES[-len(shape) :]}."
        ) from None


def _labelled_axes(layer: Any) -> str | None:
    letters = "".join(LETTERS.get(str(label).lower(), "?") for label in layer.axis_labels)
    try:
        check_axes(letters, layer.ndim)
    except ValueError:
        return None
    return letters


def _scaled_sizes(layer: Any, axes: str) -> dict[str, float]:
    """Return pixel sizes in µm from a layer's scale; scales without a unit count as µm."""
    lengths = [unit.is_compatible_with("micrometer") for unit in layer.units]
    plain = all(scale == 1 for scale in layer.scale)
    sizes = {}
    for letter, scale, unit, is_length in zip(axes, layer.scale, layer.units, lengths, strict=True):
        if letter in "ZYX" and is_length:
            sizes[letter] = float((float(scale) * unit).to("micrometer").magnitude)
        elif letter in "ZYX" and not plain and not any(lengths):
            sizes[letter] = float(scale)
    return sizes


def file_of(layer: Any) -> FileOf | None:
    """Return the file that a layer shows, None where there is none that can be read."""
    path = layer.source.path
    if path is None or not Path(path).exists():
        return None
    shape = tuple((layer.data[0] if layer.multiscale else layer.data).shape)
    return _matched(Path(path), Path(path).stat().st_mtime_ns, shape)


@lru_cache(maxsize=32)
def _matched(path: Path, changed: int, shape: tuple[int, ...]) -> FileOf | None:
    """Compare a file with the shape of a layer; `changed` tells versions of the file apart."""
    opened = _opened(path, None)
    if opened is None:
        silent = _opened(path, AXES[-len(shape) :])
        same = silent is not None and tuple(silent.array.shape) == shape
        return FileOf(path, "", {}, True) if same else None
    lengths = dict(zip(opened.axes, opened.array.shape, strict=True))
    long = {letter: n for letter, n in lengths.items() if n > 1 or letter in "YX"}
    for whole, shown in ((True, lengths), (True, long), (False, _without(long, "C"))):
        if tuple(shown.values()) == shape:
            sizes = {k: v for k, v in opened.pixel_size.items() if k in shown}
            return FileOf(path, "".join(shown), sizes, whole)
    return None


def _opened(path: Path, axes: str | None) -> Image | None:
    try:
        return open_image(path, axes=axes)
    except (ValueError, OSError, ModuleNotFoundError, MemoryError):
        return None


def _without(lengths: Mapping[str, int], letter: str) -> dict[str, int]:
    return {k: n for k, n in lengths.items() if k != letter}


def stated_options(layer: Any, image: Image, options: RestoreOptions) -> RestoreOptions:
    """Return the options with those that the command line needs where the file is silent."""
    file = file_of(layer)
    changes: dict[str, Any] = {}
    if image.array.ndim > 2 and not (file and file.whole and file.axes == image.axes):
        changes["axes"] = image.axes
    sizes = {letter: image.pixel_size[letter] for letter in "ZYX" if letter in image.pixel_size}
    differ = not file or any(file.pixel_size.get(k) != v for k, v in sizes.items())
    if options.task == "axial" and len(sizes) == 3 and differ and options.voxel_size is None:
        changes["voxel_size"] = ",".join(repr(size) for size in sizes.values())
    return options.changed(**changes)


def command_for(layer: Any, options: RestoreOptions) -> str:
    """Return the command that restores what a layer shows to the same pixels.

    A layer that is no whole file is named as the file that it is to be saved as.
    """
    image, file = image_of(layer, options), file_of(layer)
    path = file.path if file and file.whole else saved_name(layer)
    return stated_options(layer, image, options).command([path], "restored")


def saved_name(layer: Any) -> str:
    """Return the name of the file that a layer is to be saved as, for the command."""
    return "".join(a if a.isalnum() or a in " -_." else "_" for a in layer.name) + ".tif"


def result_settings(
    layer: Any, image: Image, spacing: Mapping[str, float], about: Mapping[str, object]
) -> dict[str, Any]:
    """Return the arguments of the layer of a result: at the place and in the units of its input.

    Parameters
    ----------
    layer
        The input.
    image
        The same as an image.
    spacing
        Pixel size of the result over that of the input, by axis letter; 1 where not given.
    about
        How the result came about; goes into its metadata.
    """
    state = layer.as_layer_data_tuple()[1]
    kept = {name: state[name] for name in _KEPT}
    factors = [spacing.get(letter, 1.0) for letter in image.axes]
    kept["scale"] = np.asarray(layer.scale, float) * factors
    named = "".join(LETTERS.get(str(label).lower(), "?") for label in layer.axis_labels)
    if "?" in named:
        kept["axis_labels"] = tuple(image.axes.lower())
    return kept | {
        "name": f"{layer.name} restored",
        "metadata": dict(layer.metadata) | {"microscopygan": dict(about)},
        "multiscale": False,
        "rgb": False,
    }


def placed(settings: Mapping[str, Any], start: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments of a layer that shows a part of another one, from `start` on."""
    from napari.utils.transforms import Affine

    linear = Affine(
        scale=settings["scale"], rotate=settings["rotate"], shear=settings["shear"]
    ).linear_matrix
    moved = np.asarray(settings["translate"], float) + linear @ np.asarray(start, float)
    return {**settings, "translate": moved}
