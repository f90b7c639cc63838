"""Read OIB, OIF and OIR of Olympus through oiffile and oirfile, which need no Java."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..axes import AXES, name_axes
from ..image import Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray, one_line
from . import Request, format_of

_SMALL, _PLAUSIBLE = 2**28, 100  # bytes of any content; pixels' bytes for each byte on the disk
_NEEDS = {"oirfile": " on Python 3.12 or newer"}
_EXPORT = "or export it as OME-TIFF from FluoView, or by bfconvert of Bio-Formats"


def open_olympus(path: Path, request: Request) -> Image:
    """Open an image of FluoView; its pixels are decoded as a whole at the first reading.

    Parameters
    ----------
    path
        An OIR with the files ``NAME_00001`` and so on beside it, an OIB, or an OIF with its folder.
    request
        Its axes name the dimensions longer than 1, besides Y and X.

    Returns
    -------
    Image
        Axes of length 1 dropped, except Y and X.

    Raises
    ------
    ValueError
        The package is not installed, the file or one beside it is cut, or it is a colour image, a
        spectrum or a scan along a line.
    """
    with _opened(path) as file:
        about = _about_oir(file) if hasattr(file, "dims") else _about_oif(file)
        _check_plausible(path, about)
    lengths, dtype = about["lengths"], np.dtype(about["dtype"])
    kept = "".join(a for a, n in lengths.items() if a in "YX" or n > 1)
    if not set("YX") <= set(kept) <= set(AXES):
        raise ValueError(
            f"{path}: expected grey values of the axes T, C, Z, Y, X, got {kept}, a colour image, "
            "a spectrum or a scan along a line; export it as OME-TIFF"
        )
    shape = tuple(lengths[a] for a in kept)
    named = name_axes(str(path), shape, kept, request.axes, request.fallback)
    channels = about["channels"] if named == kept else ()
    return Image(
        LazyArray(str(path), partial(_pixels, path.absolute(), shape), shape, dtype),
        named,
        known_sizes(about["sizes"], named),
        path,
        channels if len(channels) == lengths.get("C", 1) and all(channels) else (),
        about["interval"] if "T" in named else None,
    )


def _about_oir(file: Any) -> dict[str, Any]:
    """Describe an OIR, whose scales are in µm and seconds."""
    scales, lengths = file.coord_scales, dict(zip(file.dims, file.shape, strict=True))
    names = file.coords.get("C", [one.name for one in file.channels][: lengths.get("C", 1)])
    return {
        "lengths": lengths,
        "dtype": file.dtype,
        "sizes": {a: micrometres(scales.get(a), "um") for a in "ZYX"},
        "interval": seconds(scales.get("T"), "s"),
        "channels": tuple(map(str, names)),
        "files": file.companion_files,
    }


def _about_oif(file: Any) -> dict[str, Any]:
    """Describe an OIB or OIF by its planes, one TIFF each, and its settings."""
    series, settings = file.series[0], file.mainfile
    if len(series) != math.prod(series.shape):
        raise ValueError(f"it has {len(series)} of {math.prod(series.shape)} planes")
    plane = file.asarray(next(iter(series)))
    letters = f"{str(series.axes).upper()}{file.axes[-2:]}"
    lengths = dict(zip(letters, (*series.shape, *plane.shape), strict=True))
    reference = settings.get("Reference Image Parameter", {})
    steps = {
        "X": (reference.get("WidthConvertValue"), reference.get("WidthUnit")),
        "Y": (reference.get("HeightConvertValue"), reference.get("HeightUnit")),
    }
    for axis in (settings.get(f"Axis {k} Parameters Common", {}) for k in range(9)):
        letter, number = axis.get("AxisCode"), lengths.get(axis.get("AxisCode"), 1)
        if letter in ("Z", "T") and number > 1:
            span = abs(float(axis["EndPosition"]) - float(axis["StartPosition"]))
            steps[letter] = (span / (number - 1), axis.get("PixUnit"))
    channels = (settings.get(f"Channel {k + 1} Parameters", {}) for k in range(lengths.get("C", 1)))
    folder = Path(f"{file.filename}.files")
    return {
        "lengths": lengths,
        "dtype": plane.dtype,
        "sizes": {a: micrometres(*map(_known, steps.get(a, ("", "")))) for a in "ZYX"},
        "interval": seconds(*map(_known, steps.get("T", ("", "")))),
        "channels": tuple(str(one.get("CH Name", "")) for one in channels),
        "files": sorted(folder.glob("*.tif")),
    }


def _known(value: Any) -> Any:
    return "" if value is None else value


def _check_plausible(path: Path, about: dict[str, Any]) -> None:
    """Refuse a size of which next to nothing is on the disk."""
    stored = sum(Path(file).stat().st_size for file in (path, *about["files"]))
    size = math.prod(about["lengths"].values()) * np.dtype(about["dtype"]).itemsize
    if size > max(_PLAUSIBLE * stored, _SMALL):
        raise ValueError(
            f"{path}: expected pixels of shape {tuple(about['lengths'].values())}, got next to "
            "none on the disk; copy it again"
        )


def _pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Decode all pixels, into a temporary file that goes with the array."""
    with _opened(path) as file:
        array: np.ndarray = file.asarray(out="memmap")
    return array.reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file; what its package only warns of, cut files and planes filled up, is an error.

    Raises
    ------
    ValueError
        The package is not installed, or it warns.
    """
    package = str(format_of(path).package)
    try:
        module = import_module(package)
    except ImportError:
        raise ValueError(
            f"{path}: expected {package} to read {path.suffix} files, it is not installed; pip "
            f"install 'microscopygan[vendor]'{_NEEDS.get(package, '')}, {_EXPORT}"
        ) from None
    warned = _Warned()
    logger = logging.getLogger(package)
    logger.addHandler(warned)
    try:
        with (module.OirFile if package == "oirfile" else module.OifFile)(str(path)) as file:
            yield file
    finally:
        logger.removeHandler(warned)
    if warned.lines:
        raise ValueError(one_line(Exception(warned.lines[0])))


class _Warned(logging.Handler):
    """Keeps what is warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
