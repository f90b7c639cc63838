"""TIFF, OME-TIFF and ImageJ TIFF, by region, with all that the file says of its pixels."""

import json
import logging
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import tifffile

from ..atomic import Target, begun, reserve
from ..axes import AXES, name_axes
from ..image import Header, Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray, MappedArray, reordered

NOTE = "microscopygan"  # names the provenance in OME-TIFF and ImageJ TIFF
_COARSEST = 100.0  # µm; plain files with larger "pixels" state a print size, not a pixel size
_AT_ONCE = 2**26  # bytes; compressed images up to this size are read as a whole
_PLAUSIBLE = 20_000  # pixels' bytes for each byte of the file; more are a damaged size
_MOST_PLANES = 10_000_000
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_ORDER = "TZCYX"
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes; an ImageJ file cannot be larger
_NOT_HELD = ("float16", "int64", "uint64")
_BIG = (".btf", ".tf8", ".tf2")  # suffixes of BigTIFF with OME's metadata
# What tifffile only logs when a file is cut short or refers to files that are not there, while
# it goes on with the planes it found.
_DAMAGE = re.compile(
    "invalid page offset|invalid value offset|corrupted file|failed to reshape|OME series"
)


@dataclass
class _About:
    """What a TIFF file states of its image; sizes in µm, interval in seconds."""

    sizes: dict[str, float | None] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    interval: float | None = None
    provenance: dict[str, object] = field(default_factory=dict)


def open_tiff(path: Path, axes: str | None, fallback: bool) -> Image:
    """Open the one image of a TIFF file; its pixels are read by slicing.

    Parameters
    ----------
    path
        OME-TIFF (of one or more files, pyramids too: full resolution), ImageJ TIFF or plain TIFF.
    axes, fallback
        As for `axes.name_axes`.

    Returns
    -------
    Image
        Axes of length 1 dropped, except Y and X; pixels in one piece are mapped, others decoded
        as they are needed.

    Raises
    ------
    ValueError
        Colour photographs without `axes`, several images in one file, axes that are foreign or
        not stated, or planes missing.
    Exception
        Whatever tifffile raises on damaged files.
    """
    with _whole(path), tifffile.TiffFile(path) as file:
        series = _series(file, path)
        named, letters = _named(series, axes, path, fallback)
        about = _description(file, series)
        source = _source(file, series, path)
        lazy = LazyArray(str(path), source, series.shape, _dtype(series), _blocks(series))
    number = series.shape[named.index("C")] if "C" in named else 1
    return Image(
        lazy,
        named,
        known_sizes(about.sizes, named),
        path,
        about.channels if len(about.channels) == number and letters == named else (),
        about.interval if "T" in named else None,
        about.provenance,
    )


class _Decoded:
    """The pixels of a TIFF file that are compressed or in several pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with ExitStack() as opened:
            with _whole(path):
                file = opened.enter_context(tifffile.TiffFile(path))
                self._array = _array(file.series[0])
            small = isinstance(self._array, np.ndarray)
            self._opened = ExitStack() if small else opened.pop_all()

    def __getitem__(self, key: Any) -> Any:
        with _whole(self._path):
            return self._array[key]

    def close(self) -> None:
        self._opened.close()


def _array(series: tifffile.TiffPageSeries) -> Any:
    """All pixels of a small image, or a Zarr array that decodes what is read."""
    if series.nbytes <= _AT_ONCE:
        return np.asarray(series.asarray())
    import zarr

    store: Any = series.aszarr(level=0)
    return zarr.open_array(store, mode="r", zarr_format=2)


def _series(file: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """Return the file's one image, checked to lie in the file as a whole."""
    if file.is_ome:
        _check_plane_numbers(file.ome_metadata or "", path)
    images = [series for series in file.series if not series.keyframe.is_reduced] or file.series
    if not images:
        raise ValueError("it holds no image")
    if len(images) > 1:
        raise ValueError(
            f"{path}: expected one image, got {len(images)} of different kinds; "
            "save each as a file of its own"
        )
    series = images[0]
    lengths: dict[str, int] = {}
    for page in series.pages:
        if page is None:
            raise _cut(path, "a plane is not there")
        lengths[page.parent.filehandle.path] = length = page.parent.filehandle.size
        last = max(page.dataoffsets, default=0)
        if last and last + page.databytecounts[page.dataoffsets.index(last)] > length:
            raise _cut(path, "pixels end after the file")
    available = sum(lengths.values())
    segment = math.prod(series.keyframe.chunks) * _dtype(series).itemsize
    if max(series.nbytes, segment) > max(_PLAUSIBLE * available, 2**28):
        raise _cut(path, f"{series.nbytes / 1e9:.1f} GB of pixels in {available / 1e6:.1f} MB")
    return series


def _check_plane_numbers(text: str, path: Path) -> None:
    """Refuse numbers of planes that would take tifffile for ever to look for."""
    numbers = re.findall(r'(?:Size[TCZ]|PlaneCount|NumPlanes|First[TCZ]|IFD)="(\d+)"', text)
    stacks = re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", text)
    totals = [
        math.prod(int(n) for n in re.findall(r'Size[TCZ]="(\d+)"', stack)) for stack in stacks
    ]
    if max([*map(int, numbers), *totals], default=0) > _MOST_PLANES:
        raise _cut(path, "it states more than ten million planes")


def _dtype(series: tifffile.TiffPageSeries) -> np.dtype[Any]:
    if series.dtype is None:
        raise ValueError("its pixels are of no known type")
    return np.dtype(series.dtype)


def _blocks(series: tifffile.TiffPageSeries) -> tuple[int, ...] | None:
    """Shape of the blocks that are decoded one by one, None where there are none."""
    if series.dataoffset is not None or series.nbytes <= _AT_ONCE:
        return None
    blocks = series.keyframe.chunks
    return (
        (1,) * (series.ndim - len(blocks)) + tuple(blocks) if len(blocks) <= series.ndim else None
    )


def _source(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> partial[Any]:
    """Return how to open the pixels: mapped where they lie in one piece, else decoded."""
    offset = series.dataoffset
    if offset is None or series.transform is not None:
        return partial(_Decoded, path.absolute())
    if offset + series.nbytes > file.filehandle.size:
        raise _cut(path, "pixels end after the file")
    dtype = _dtype(series).newbyteorder(file.byteorder)
    return partial(MappedArray, path.absolute(), dtype, series.shape, offset)


def _cut(path: Path, detail: str) -> ValueError:
    return ValueError(
        f"{path}: expected a whole TIFF file, got a damaged one with parts missing ({detail}); "
        "copy or export it again"
    )


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Raise at the end what tifffile only logged about missing parts."""
    with _logged() as messages:
        yield
    damage = next((text for text in messages if _DAMAGE.search(text)), None)
    if damage:
        raise _cut(path, " ".join(re.sub("<[^>]*>", "", damage).split())[:100])


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


def _named(
    series: tifffile.TiffPageSeries, axes: str | None, path: Path, fallback: bool
) -> tuple[str, str]:
    """Return the image's axes, and those that the file states (unnamed ones as the first free)."""
    colour = "S" in series.axes and series.shape[series.axes.index("S")] in (3, 4)
    if colour and axes is None:
        raise ValueError(
            f"{path}: expected grey values, got a colour image (RGB); split its channels and "
            "save each as a file of its own"
        )
    stated, certain = _letters(series.axes)
    unknown = not set(stated) <= set(AXES) or len(set(stated)) != len(stated)
    if axes is None and unknown:
        raise ValueError(
            f"{path}: expected axes of T, C, Z, Y, X, got {series.axes}; export it as OME-TIFF "
            "with these axes"
        )
    unnamed = [n for letter, n in zip(series.axes, series.shape, strict=True) if letter in "IQ"]
    if len(unnamed) == series.ndim - 2:  # nothing is stated
        named = stated if certain else None
    else:
        named = stated if certain or fallback or max(unnamed) == 1 else None
    return name_axes(str(path), series.shape, named, axes, fallback), stated


def _letters(axes: str) -> tuple[str, bool]:
    """Bring tifffile's axes letters to those of TCZYX, and tell whether that took no guess."""
    free = [letter for letter in "ZTC" if letter not in axes]
    named, certain = "", True
    for letter in axes:
        if letter == "S" and "C" in free:
            letter = "C"
        elif letter in "IQ" and free:
            letter, certain = free[0], False
        named += letter
        free = [f for f in free if f != letter]
    return named, certain


def _description(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> _About:
    """Pixel sizes, channel names, interval and provenance from OME, ImageJ or plain metadata."""
    if file.is_ome and file.ome_metadata:
        return _ome_description(file.ome_metadata)
    if file.is_imagej and file.imagej_metadata:
        return _imagej_description(series, file.imagej_metadata)
    if file.is_lsm:
        return _lsm_description(file.lsm_metadata or {})
    if file.is_stk:
        return _stk_description(file.stk_metadata or {})
    unit_tag = series.keyframe.tags.get("ResolutionUnit")
    unit = "cm" if unit_tag is not None and unit_tag.value == 3 else None  # 2: inch, for prints
    sizes = {k: micrometres(v, unit) for k, v in _resolution(series).items()}
    return _About({k: v for k, v in sizes.items() if v is not None and v <= _COARSEST})


def _ome_description(text: str) -> _About:
    root = ElementTree.fromstring(text)
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return _About()
    sizes = {
        letter: micrometres(
            pixels.get(f"PhysicalSize{letter}"), pixels.get(f"PhysicalSize{letter}Unit", "µm")
        )
        for letter in "ZYX"
    }
    names = [channel.get("Name") for channel in pixels.findall("{*}Channel")]
    interval = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    entries = root.findall(f".//{{*}}MapAnnotation[@Namespace='{NOTE}']/{{*}}Value/{{*}}M")
    return _About(
        sizes,
        tuple(name for name in names if name) if all(names) else (),
        interval,
        _json("{" + ",".join(f"{json.dumps(e.get('K'))}:{e.text}" for e in entries) + "}"),
    )


def _imagej_description(series: tifffile.TiffPageSeries, metadata: dict[str, Any]) -> _About:
    unit = metadata.get("unit", "")
    sizes = {k: micrometres(v, unit) for k, v in _resolution(series).items()}
    sizes["Z"] = micrometres(metadata.get("spacing"), unit)
    note = re.search(rf"^{NOTE}: (.*)$", str(metadata.get("Info", "")), re.MULTILINE)
    return _About(
        sizes,
        _labelled_channels(series, metadata.get("Labels")),
        seconds(metadata.get("finterval"), metadata.get("tunit", "s")),
        _json(note[1]) if note else {},
    )


def _lsm_description(metadata: dict[str, Any]) -> _About:
    colours = metadata.get("ChannelColors") or {}
    return _About(
        {letter: micrometres(metadata.get(f"VoxelSize{letter}"), "m") for letter in "ZYX"},
        tuple(str(name) for name in colours.get("ColorNames") or ()),
        seconds(metadata.get("TimeIntervall"), "s"),
    )


def _stk_description(metadata: dict[str, Any]) -> _About:
    unit = metadata.get("CalibrationUnits") if metadata.get("SpatialCalibration", 1) else None
    steps = np.unique(np.abs(np.ravel(metadata.get("ZDistance", 0))))  # µm, one for each plane
    return _About(
        {
            "Z": micrometres(steps[0], "um") if len(steps) == 1 else None,
            "Y": micrometres(metadata.get("YCalibration"), unit),
            "X": micrometres(metadata.get("XCalibration"), unit),
        }
    )


def _json(text: str) -> dict[str, object]:
    """Provenance from JSON; empty where somebody changed it to something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _labelled_channels(series: tifffile.TiffPageSeries, labels: Any) -> tuple[str, ...]:
    """Channel names from the labels of the planes, where all planes of a channel have one label."""
    lead, place = series.shape[:-2], series.axes.find("C")
    if place < 0 or not isinstance(labels, list) or len(labels) != math.prod(lead):
        return ()
    by_channel = np.moveaxis(np.array(labels, object).reshape(lead), place, 0)
    names = [{str(label) for label in np.ravel(part)} for part in by_channel]
    return tuple(*zip(*names, strict=True)) if all(len(n) == 1 for n in names) else ()


def _resolution(series: tifffile.TiffPageSeries) -> dict[str, float]:
    """Units for each pixel from the resolution tags (pixels for each unit, as fractions)."""
    sizes = {}
    for letter in "YX":
        tag = series.keyframe.tags.get(f"{letter}Resolution")
        if tag is not None and tag.value[0]:
            sizes[letter] = tag.value[1] / tag.value[0]
    return sizes


def create_tiff(path: Path, header: Header) -> Target:
    """Create a TIFF file whose pixels are all 0 and lie in one piece.

    Parameters
    ----------
    path
        ``.ome.tif``, ``.btf``, ``.tf8`` and ``.tf2`` are OME-TIFF in any case, the latter three
        BigTIFF; others are BigTIFF where larger than 4 GB.
    header
        Y and X are moved to the end in the file; the other axes keep their order. All of it is
        written into the metadata.

    Raises
    ------
    ValueError
        A dtype that no microscopy TIFF holds.
    """
    if header.dtype.name in _NOT_HELD:
        raise ValueError(
            f"{path}: expected a dtype that OME-TIFF holds, got {header.dtype}; try float32, or "
            ".npy"
        )
    order = "".join(letter for letter in header.axes if letter not in "YX") + "YX"
    shape = tuple(header.shape[header.axes.index(letter)] for letter in order)
    big = path.suffix.lower() in _BIG
    ome = big or path.stem.lower().endswith(".ome") or not _fits_imagej(header, order)
    settings = _ome(header, order) if ome else _imagej(header, shape, order)
    if big:
        settings["bigtiff"] = True
    with begun(path) as (part, lock):
        place = tifffile.imwrite(
            part,
            shape=shape,
            dtype=header.dtype,
            photometric="minisblack",
            returnoffset=True,
            **settings,
        )
        assert place is not None  # the pixels lie in one piece, since nothing compresses them
        reserve(part)
        pixels = MappedArray(part, header.dtype, shape, place[0], writable=True)
        return Target(path, part, lock, reordered(pixels, order, header.axes), lambda: None)


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
