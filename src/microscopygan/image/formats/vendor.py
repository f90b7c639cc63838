"""Read vendors' formats (CZI, ND2, LIF, ...) through bioio and its plug-ins, an optional extra."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..axes import AXES, name_axes
from ..image import Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray
from . import Contents, Request, format_of, numbered


def open_vendor(path: Path, request: Request) -> Image:
    """Open an image of a vendor's file; its pixels are read by slicing.

    Parameters
    ----------
    path
        Of a format with a `package`.
    request
        Its axes name the dimensions longer than 1, besides Y and X.

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
    image = _bioimage(path, request.part)
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
    named = name_axes(str(path), shape, kept, request.axes, request.fallback)
    names = tuple(str(name) for name in image.channel_names or ())
    fits = named == kept and len(names) == lengths.get("C", 1)
    sizes = {
        letter: micrometres(getattr(image.physical_pixel_sizes, letter), _unit(image, letter, "µm"))
        for letter in "ZYX"
    }
    return Image(
        LazyArray(
            str(path),
            partial(_Planes, path.absolute(), request.part, letters, kept),
            shape,
            array.dtype,
        ),
        named,
        known_sizes(sizes, named),
        path if request.part is None else Path(f"{path}#{request.part}"),
        names if fits else (),
        _interval(image) if "T" in named else None,
    )


class _Planes:
    """The pixels of a vendor's file, behind the Dask array that bioio gives."""

    def __init__(self, path: Path, part: str | None, letters: str, kept: str) -> None:
        self._array = _bioimage(path, part).dask_data
        self._letters, self._kept = letters, kept

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        place = dict(zip(self._kept, key, strict=True))
        block = self._array[tuple(place.get(letter, 0) for letter in self._letters)]
        return np.asarray(block.compute(scheduler="synchronous"))


def contents(path: Path) -> Contents:
    """List the images of a file."""
    return Contents(tuple(map(str, _file(path).scenes)), frozenset([path]))


def _bioimage(path: Path, part: str | None) -> Any:
    """Open a file with bioio, at its one image or at the one that is named."""
    image = _file(path)
    number = numbered(str(path), tuple(map(str, image.scenes)), part)
    if part is not None:
        image.set_scene(number)
    return image


def _file(path: Path) -> Any:
    plugin = str(format_of(path).package)
    try:
        from bioio import BioImage
    except ImportError:
        raise _missing(path, "bioio", plugin) from None
    try:
        return BioImage(str(path))
    except Exception as error:
        if type(error).__name__ == "UnsupportedFileFormatError":
            raise _missing(path, "its plug-in", plugin) from None
        raise


def _missing(path: Path, what: str, plugin: str) -> ValueError:
    return ValueError(
        f"{path}: expected {what} to read {path.suffix} files, it is not "
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
