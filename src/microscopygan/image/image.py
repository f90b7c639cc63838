"""What an image is: pixels, in memory or on disk, with the description that its file gives."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .axes import check_axes

_MICROMETRES = {
    **{"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0},
    **{"micrometer": 1.0, "micrometre": 1.0, "nanometer": 1e-3, "nanometre": 1e-3, "nm": 1e-3},
    **{"picometer": 1e-6, "pm": 1e-6, "angstrom": 1e-4, "å": 1e-4, "millimeter": 1e3, "mm": 1e3},
    **{"centimeter": 1e4, "cm": 1e4, "meter": 1e6, "m": 1e6, "inch": 25400.0, "in": 25400.0},
}
_SECONDS = {
    **{"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3},
    **{"millisecond": 1e-3, "microsecond": 1e-6, "µs": 1e-6, "μs": 1e-6, "us": 1e-6},
    **{"nanosecond": 1e-9, "ns": 1e-9, "min": 60.0, "minute": 60.0, "minutes": 60.0},
    **{"h": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0},
}


class Lazy(Protocol):
    """Pixels that are read by slicing: a numpy array, a Zarr array, or a file behind one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""

    def __getitem__(self, key: Any) -> Any:
        """Read the region that a tuple of integers and slices names, as a numpy array."""


@dataclass(frozen=True)
class Header:
    """All of an image but its pixels.

    Attributes
    ----------
    shape
        Length of each dimension.
    dtype
        Type of a pixel; a name such as ``uint16`` will do.
    axes
        One letter of ``TCZYX`` for each dimension, in any order, with Y and X.
    pixel_size
        µm by axis letter (Z, Y, X), as far as known.
    channels
        Names of the channels, in their order; empty where unknown.
    interval
        Seconds between frames, None where unknown.
    provenance
        How the image came about: names and values that JSON can hold.
    origin
        Where the centre of the first pixel lies, µm by axis letter (Z, Y, X), as far as known.
    details
        What else its file says of it, as `Image` lists it.

    Raises
    ------
    ValueError
        Axes, pixel sizes, channel names or an interval that do not fit.

    Examples
    --------
    >>> Header((2, 64, 64), "uint16", "CYX", {"Y": 0.1, "X": 0.1}, ("DNA", "actin")).dtype
    dtype('uint16')
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    pixel_size: dict[str, float] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    interval: float | None = None
    provenance: dict[str, object] = field(default_factory=dict)
    origin: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        _check_description(self, self.shape, "image")


@dataclass(frozen=True)
class Image:
    """An image as it lies in its file.

    Attributes
    ----------
    array
        Pixels in the file's dtype and units: a numpy array, or a `Lazy` one that reads them by
        slicing.
    axes
        One letter of ``TCZYX`` for each dimension of `array`, in any order, with Y and X.
    pixel_size
        µm by axis letter, for the axes whose pixel size is known.
    source
        The file or URL it was read from.
    channels
        Names of the channels, in their order; empty where unknown.
    interval
        Seconds between frames, None where unknown.
    provenance
        What the program that wrote it noted; `formats.write` writes it into the output.
    origin
        Where the centre of the first pixel lies, µm by axis letter (Z, Y, X), as far as known.
    details
        What else its file says of it and an output keeps as far as its format can:

        - ``name``, ``description``, ``acquired`` (a date): texts;
        - ``channels``: a mapping for each channel, with ``color`` (RRGGBB), ``emission`` and
          ``excitation`` (nm), ``window`` (of display);
        - ``planes``: by name such as ``ExposureTime`` or ``PositionX`` a list of values, one for
          each plane, the axes other than Y and X in the order of `axes`;
        - ``scales``: by axis letter, the size of a pixel and its unit where that is no length;
        - ``reversed``: the axes that run against the coordinates;
        - ``white_is_zero``: the kind of dtype (``u``, ``i``, ``f``) stored with white as zero;
        - ``compression``: of a TIFF, ``name``, ``predictor`` and ``tile``; ``codecs`` of a Zarr;
        - ``pyramid``: whether a TIFF has smaller copies beside it;
        - ``groups``, ``beside``: of a Zarr of several images, what is said above them, and the
          OME-XML of bioformats2raw;
        - ``imagej``: properties that ImageJ alone knows.
    notes
        What a user should know of how it was read, a sentence each.

    Raises
    ------
    ValueError
        `axes`, a pixel size, the channel names or the interval do not fit.

    Examples
    --------
    >>> Image(np.zeros((3, 8, 8), np.uint8), "ZYX", {"Y": 0.1, "X": 0.1}).axes
    'ZYX'
    """

    array: Any  # a Lazy; typed loosely, so that images in memory keep all of numpy's interface
    axes: str
    pixel_size: dict[str, float] = field(default_factory=dict)
    source: Path | str | None = None
    channels: tuple[str, ...] = ()
    interval: float | None = None
    provenance: dict[str, object] = field(default_factory=dict)
    origin: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_description(self, self.array.shape, str(self.source or "image"))

    @property
    def header(self) -> Header:
        """All but the pixels."""
        return Header(
            self.array.shape,
            self.array.dtype,
            self.axes,
            self.pixel_size,
            self.channels,
            self.interval,
            self.provenance,
            self.origin,
            self.details,
        )

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of the blocks in which the file stores the pixels, None where it has none."""
        chunks = getattr(self.array, "chunks", None)
        if not chunks:
            return None
        return tuple(n if isinstance(n, int) else max(n) for n in chunks)  # Dask lists them all


def check_pixels(array: np.ndarray, name: str, *, allow_constant: bool = True) -> None:
    """Raise unless an array holds finite real intensities.

    Parameters
    ----------
    array
        Any shape; integer or floating dtype of at most 64 bits is accepted.
    name
        The image's name, for the message.
    allow_constant
        Accept an image whose pixels are all the same: it can be restored, but nothing can be
        learnt from it.

    Raises
    ------
    ValueError
        No pixels, another dtype, NaN or infinite pixels, or a constant image.

    Examples
    --------
    >>> check_pixels(np.array([[1.0, np.nan]]), "a.tif")
    Traceback (most recent call last):
    ValueError: a.tif: expected finite pixels, got 1 NaN or infinite of 2; replace them ...
    """
    check_kind(array.dtype, array.shape, name)
    check_finite(array, name)
    if not allow_constant and array.min() == array.max():
        raise ValueError(
            f"{name}: expected an image with structure, got one where all pixels are "
            f"{array.flat[0]}; leave it out"
        )


def check_kind(dtype: np.dtype[Any], shape: tuple[int, ...], name: str) -> None:
    """Raise `ValueError` unless there are pixels, integer or float of at most 64 bits.

    Examples
    --------
    >>> check_kind(np.dtype(bool), (4, 4), "a.tif")
    Traceback (most recent call last):
    ValueError: a.tif: expected integer or float pixels of at most 64 bits, got bool; ...
    """
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise ValueError(
            f"{name}: expected integer or float pixels of at most 64 bits, got {dtype}; "
            "convert it to uint16 or float32"
        )
    if 0 in shape:
        raise ValueError(
            f"{name}: expected an image with pixels, got shape {shape}; export it again"
        )


def check_finite(array: np.ndarray, name: str) -> None:
    """Raise `ValueError` where pixels are NaN or infinite."""
    if array.dtype.kind != "f":
        return
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ValueError(
            f"{name}: expected finite pixels, got {bad} NaN or infinite of {array.size}; "
            "replace them before"
        )


def micrometres(value: object, unit: object) -> float | None:
    """Convert a length to µm; None where it is not positive, not finite or of no known unit.

    Examples
    --------
    >>> micrometres("250", "nm"), micrometres(0, "nm"), micrometres(1, "pixel")
    (0.25, None, None)
    """
    return _converted(value, _MICROMETRES.get(str(unit).strip().lower()))


def seconds(value: object, unit: object) -> float | None:
    """Convert a duration to seconds; None where it is not positive or of no known unit.

    Examples
    --------
    >>> seconds(500, "millisecond"), seconds("nan", "s")
    (0.5, None)
    """
    return _converted(value, _SECONDS.get(str(unit).strip().lower()))


def known_sizes(sizes: dict[str, float | None], axes: str) -> dict[str, float]:
    """Keep the known pixel sizes of the axes that an image has.

    Examples
    --------
    >>> known_sizes({"Z": 0.3, "Y": None, "X": 0.1}, "YX")
    {'X': 0.1}
    """
    return {k: v for k, v in sizes.items() if v is not None and k in axes}


def _check_description(about: Header | Image, shape: tuple[int, ...], name: str) -> None:
    """Raise unless axes, pixel sizes, channel names and interval fit an array of this shape."""
    check_axes(about.axes, shape, name)
    for letter, size in about.pixel_size.items():
        if letter not in about.axes or not (np.isfinite(size) and size > 0):
            raise ValueError(
                f"{name}: expected positive pixel sizes in µm of the axes {about.axes}, got "
                f"{letter!r}: {size}; leave out what is not known"
            )
    for letter, place in about.origin.items():
        if letter not in about.axes or not np.isfinite(place):
            raise ValueError(
                f"{name}: expected an origin in µm of the axes {about.axes}, got {letter!r}: "
                f"{place}; leave out what is not known"
            )
    number = shape[about.axes.index("C")] if "C" in about.axes else 1
    if about.channels and len(about.channels) != number:
        raise ValueError(
            f"{name}: expected names of {number} channels, got {len(about.channels)} "
            f"({', '.join(about.channels)}); name all or none"
        )
    if about.interval is not None and not (np.isfinite(about.interval) and about.interval > 0):
        raise ValueError(
            f"{name}: expected a positive interval in seconds, got {about.interval}; leave out "
            "what is not known"
        )


def _converted(value: object, factor: float | None) -> float | None:
    try:
        number = float(str(value)) * (factor or math.nan)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
