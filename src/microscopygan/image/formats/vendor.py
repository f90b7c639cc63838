"""Read vendors' formats (CZI, ND2, LIF, ...) through bioio and its plug-ins, an optional extra."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..axes import AXES, name_axes
from ..image import Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray, one_line
from . import format_of, split_part


def open_vendor(path: Path, axes: str | None, fallback: bool) -> Image:
    """Open an image of a vendor's file; its pixels are read by slicing.

    Parameters
    ----------
    path
        Of a format with a `package`; ``NAME.lif#2`` is the third of several images in a file.
    axes, fallback
        As for `axes.name_axes`; `axes` names the dimensions longer than 1, besides Y and X.

    Returns
    -------
    Image
        Axes of length 1 dropped, except Y and X. Sizes without a unit are taken as µm and
        seconds, as most plug-ins give them.

    Raises
    ------
    ValueError
        bioio or its plug-in is not installed, a colour image, or several images in the file.
    """
    image = _bioimage(path)
    letters: str = image.dims.order
    array = image.dask_data
    lengths = dict(zip(letters, array.shape, strict=True))
    kept = "".join(a for a in letters if a in "YX" or lengths[a] > 1)
    if not set(kept) <= set(AXES):
        raise ValueError(
            f"{path}: expected grey values of the axes T, C, Z, Y, X, got {kept}, a colour image "
            "(RGB) or a mosaic; export its channels as OME-TIFF"
        )
    shape = tuple(int(lengths[letter]) for letter in kept)
    named = name_axes(str(path), shape, kept, axes, fallback)
    names = tuple(str(name) for name in image.channel_names or ())
    fits = named == kept and len(names) == lengths.get("C", 1)
    sizes = {
        letter: micrometres(getattr(image.physical_pixel_sizes, letter), _unit(image, letter, "µm"))
        for letter in "ZYX"
    }
    return Image(
        LazyArray(str(path), partial(_Planes, path.absolute(), letters, kept), shape, array.dtype),
        named,
        known_sizes(sizes, named),
        path,
        names if fits else (),
        _interval(image) if "T" in named else None,
    )


class _Planes:
    """The pixels of a vendor's file, behind the Dask array that bioio gives."""

    def __init__(self, path: Path, letters: str, kept: str) -> None:
        self._array = _bioimage(path).dask_data
        self._letters, self._kept = letters, kept

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        place = dict(zip(self._kept, key, strict=True))
        block = self._array[tuple(place.get(letter, 0) for letter in self._letters)]
        return np.asarray(block.compute(scheduler="synchronous"))


def _bioimage(path: Path) -> Any:
    """Open a file with bioio, at its one image or at the one that its name states."""
    file, scene = split_part(path)
    plugin = str(format_of(file).package)
    try:
        from bioio import BioImage
    except ImportError:
        raise _missing(path, "bioio", plugin) from None
    try:
        image = BioImage(str(file))
    except Exception as error:
        if type(error).__name__ == "UnsupportedFileFormatError":
            raise _missing(path, "its plug-in", plugin) from None
        raise
    scenes = list(image.scenes)
    if scene is None and len(scenes) > 1:
        raise ValueError(
            f"{path}: expected one image, got {len(scenes)} "
            f"({one_line(Exception(', '.join(map(str, scenes))), 60)}); name one, such as {path}#0"
        )
    if scene is not None:
        if scene >= len(scenes):
            raise ValueError(
                f"{path}: expected one of the images 0 to {len(scenes) - 1}, got {scene}"
            )
        image.set_scene(scene)
    return image


def _missing(path: Path, what: str, plugin: str) -> ValueError:
    return ValueError(
        f"{path}: expected {what} to read {split_part(path)[0].suffix} files, it is not "
        f"installed; pip install 'microscopygan[vendor]' {plugin}"
    )


def _unit(image: Any, letter: str, usual: str) -> str:
    """Return the unit of an axis, the usual one where the plug-in states none."""
    about = getattr(getattr(image, "dimension_properties", None), letter, None)
    return str(getattr(about, "unit", None) or usual)


def _interval(image: Any) -> float | None:
    """Seconds between frames, None where they are not known."""
    interval: Any = getattr(image, "time_interval", None)
    if hasattr(interval, "total_seconds"):
        return seconds(interval.total_seconds(), "s")
    return seconds(interval, _unit(image, "T", "s"))
