"""TIFF, OME-TIFF and ImageJ TIFF, by region, with all that the file says of its pixels."""

import itertools
import json
import logging
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import get_ident
from typing import Any

import numpy as np
import tifffile

from ..atomic import Target, begun, reserve, whole
from ..axes import AXES, name_axes
from ..image import Header, Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray, MappedArray, Recoded, reordered
from . import Compression, Contents, Request, numbered

NOTE = "microscopygan"  # names the provenance in OME-TIFF and ImageJ TIFF
# Unit of the resolution tags, and the largest pixel in µm; larger ones are of prints
_UNITS = {2: ("inch", 20.0), 3: ("cm", 100.0)}
_AT_ONCE = 2**26  # bytes; compressed images up to this size are read as a whole
_PLAUSIBLE = 20_000  # pixels' bytes for each byte of the file; more are a damaged size
_MOST_PLANES = 10_000_000
_FILES = re.compile(r"\bFileName=")
_SIGNED = -32768  # what ImageJ adds to the uint16 in which it stores int16
_CALIBRATION = ("cf", "c0", "c1", "c2", "c3", "c4", "vunit")
_IMAGEJ_KEPT = (*_CALIBRATION, "Labels", "LUTs", "Ranges", "Properties", "mode", "min", "max")
_LOSSLESS = {5: "lzw", 8: "zlib", 32946: "zlib", 32773: "packbits", 34925: "lzma", 50000: "zstd"}
_NO_UNIT = ("", "pixel", "pixels")
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_IMAGEJ_DETAILS = {"imagej", "scales", "reversed", "white_is_zero", "compression", "codecs"}
_IMAGEJ_ORDER = "TZCYX"
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes; an ImageJ file cannot be larger
_NOT_HELD = ("float16", "int64", "uint64")
_TILE, _ROWS = (256, 256), 512  # of pyramids: their tiles, and rows that are made at once
_BIG = (".btf", ".tf8", ".tf2")  # suffixes of BigTIFF with OME's metadata
# What tifffile only logs when a file is cut short or refers to files that are not there, while
# it goes on with the planes it found.
_DAMAGE = re.compile(
    "invalid page offset|invalid value offset|corrupted file|failed to reshape|OME series"
)


@dataclass
class About:
    """What a TIFF file states of its image; sizes in µm, interval in seconds."""

    sizes: dict[str, float | None] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    interval: float | None = None
    provenance: dict[str, object] = field(default_factory=dict)
    origin: dict[str, float | None] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Layout:
    """How the pixels of an image lie in its file or files."""

    source: Callable[[], Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    blocks: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


def open_tiff(path: Path, request: Request) -> Image:
    """Open an image of a TIFF file; its pixels are read by slicing.

    Parameters
    ----------
    path
        OME-TIFF (of one or more files, pyramids too: full resolution), ImageJ TIFF or plain TIFF;
        or the companion of OME-TIFF files.
    request
        What is wanted of it.

    Returns
    -------
    Image
        Axes of length 1 that the file names are dropped, except Y and X; pixels in one piece are
        mapped, others decoded as they are needed. Numbers are those that a viewer shows: with
        white as zero, 0 is black; ImageJ's signed integers are signed.

    Raises
    ------
    ValueError
        Colour photographs without `axes`, several images in one file, axes that are foreign or
        not stated, or planes missing.
    Exception
        Whatever tifffile raises on damaged files.
    """
    if path.suffix.lower() == ".ome":
        return _open_ome(path, path.read_text(encoding="utf-8"), request, None)
    with _whole(path), tifffile.TiffFile(path) as file:
        if file.is_ome:
            _check_plane_numbers(file.ome_metadata or "", path)
            text = file.ome_metadata or ""
            if request.alone or _FILES.search(text) or "BinaryOnly" in text:
                return _open_ome(path, text, request, file)
        counted = _irregular_ome if file.is_ome else _irregular_imagej
        layout, first = counted(file, path, request), file.pages[0].keyframe
        if layout is not None and first is not None:
            about = _description(file, first, 0)
            return _image(path, request, layout, about, layout.axes, first)
        images = _images(file)
        number = numbered(str(path), _names(images), request.part)
        series = images[number]
        _check_whole(series, path)
        layout = _regular(file, series, path, request)
        about = _description(file, series.keyframe, number)
        stated = _letters(series.axes)[0]
        if file.is_imagej and file.imagej_metadata:
            about.channels = _labelled_channels(series, file.imagej_metadata.get("Labels"))
        return _image(path, request, layout, about, stated, series.keyframe)


def _image(
    path: Path, request: Request, layout: _Layout, about: About, stated: str, page: Any
) -> Image:
    """Put together what is known of an image."""
    source, dtype = layout.source, layout.dtype
    details = {name: value for name, value in about.details.items() if value}
    if page is not None and page.photometric == 0:
        details["white_is_zero"] = dtype.kind
        if dtype.kind == "u":
            top = 2 ** int(page.bitspersample) - 1
            source = partial(_recoded, source, -1, top, dtype.newbyteorder("="))
    elif details.get("imagej", {}).get("signed"):
        dtype = np.dtype(np.int16)
        source = partial(_recoded, source, 1, _SIGNED, dtype)
    if page is not None and page.compression != 1:
        details["compression"] = _compression(page)
    if page is not None and page.subifds:
        details["pyramid"] = True
    name = str(path) if request.part is None else f"{path}#{request.part}"
    axes, shape = layout.axes, layout.shape
    number = shape[axes.index("C")] if "C" in axes else 1
    same = axes == "".join(a for a in stated if a in axes)
    if "planes" in details and math.prod(shape[:-2]) != len(next(iter(details["planes"].values()))):
        del details["planes"]
    if len(details.get("channels", ())) not in (0, number):
        del details["channels"]
    return Image(
        LazyArray(name, source, shape, dtype, layout.blocks),
        axes,
        known_sizes(about.sizes, axes),
        path if request.part is None else Path(name),
        about.channels if len(about.channels) == number and same else (),
        about.interval if "T" in axes else None,
        about.provenance,
        {a: place for a, place in about.origin.items() if place is not None and a in axes},
        details,
        layout.notes,
    )


def _compression(page: Any) -> dict[str, Any]:
    """How a page is compressed; what loses detail is kept as zlib, which does not."""
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else None
    name = _LOSSLESS.get(int(page.compression), "zlib")
    return {"name": name, "predictor": page.predictor != 1, "tile": tile}


def _recoded(source: Callable[[], Any], sign: int, offset: int, dtype: np.dtype[Any]) -> Recoded:
    """Open pixels whose numbers are stored in another way."""
    return Recoded(source(), sign, offset, dtype)


def contents(path: Path) -> Contents:
    """List the images of a file, and the files that they lie in."""
    with _logged():
        if path.suffix.lower() == ".ome":
            from .ome_tiff import Ome

            return Ome(path, path.read_text(encoding="utf-8")).contents
        with tifffile.TiffFile(path) as file:
            if file.is_ome and file.ome_metadata:
                text = file.ome_metadata
                _check_plane_numbers(text, path)
                if _FILES.search(text) or "BinaryOnly" in text:
                    from .ome_tiff import Ome

                    return Ome(path, text).contents
            return Contents(_names(_images(file)), frozenset([path]))


def _images(file: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """Return the images of a file, thumbnails left out."""
    images = [series for series in file.series if not series.keyframe.is_reduced]
    if not (images or file.series):
        raise ValueError("it holds no image")
    return images or list(file.series)


def _names(images: list[tifffile.TiffPageSeries]) -> tuple[str, ...]:
    return tuple(series.name or str(k) for k, series in enumerate(images))


def _open_ome(path: Path, text: str, request: Request, file: tifffile.TiffFile | None) -> Image:
    """Open an image whose planes may lie in several files."""
    from .ome_tiff import Ome, Planes, complete, ome_description, present

    if request.alone and file is not None:
        return _open_alone(path, text, request, file)
    ome = Ome(path, text)
    names = ome.contents.parts
    if not names:
        raise _cut(path, "none of its planes are there")
    image = ome.images[numbered(str(path), names, request.part)]
    if image.samples > 1:
        raise _colour(path)
    there = present(image, path, len(file.pages) if file is not None else 0)
    try:
        lost = any(not one.is_file() for one in image.files)
        lengths, note = complete(image.lead, image.lengths, set(there), files_missing=lost)
    except ValueError as error:
        raise _cut(path, str(error)) from None
    planes = [there[place] for place in np.ndindex(*lengths)]
    page = _first_page(planes[0])
    stated = "".join(a for a, n in zip(image.lead, lengths, strict=True) if n > 1) + "YX"
    shape = (*(n for n in lengths if n > 1), *page.shape)
    axes = name_axes(str(path), shape, stated, request.axes, request.fallback)
    notes: tuple[str, ...] = () if note is None else (note,)
    number = len(ome.contents.files)
    if number > 1:
        notes += (
            f"The image lies in {number} files, {path.name} is one of them; all were read "
            "(--this-file reads one alone).",
        )
    dtype = np.dtype(page.dtype)
    source = partial(Planes, [(file.absolute(), k) for file, k in planes], shape, dtype)
    blocks = (*(1 for _ in shape[:-2]), *page.shape)
    layout = _Layout(source, shape, dtype, axes, blocks, notes)
    about = ome_description(ome.root, image.image, image.lead, image.lengths, lengths)
    return _image(path, request, layout, about, stated, page)


def _open_alone(path: Path, text: str, request: Request, file: tifffile.TiffFile) -> Image:
    """Open the planes of one file of a set, whatever the others hold."""
    from .ome_tiff import Ome, Planes, ome_description

    page: Any = file.pages[0].keyframe
    number = len(file.pages)
    stated: str | None = "YX" if number == 1 else None
    about, order = About(), list(range(number))
    try:
        ome = Ome(path, text)
        image = next(one for one in ome.images if path in one.files)
    except (ValueError, StopIteration):
        image = None
    shape = (number, *page.shape) if number > 1 else page.shape
    if image is not None:
        own = {place: k for place, (where, k) in image.planes.items() if where == path}
        spans = [sorted({place[i] for place in own}) for i in range(len(image.lead))]
        if math.prod(map(len, spans)) == len(own) == number:
            order = [own[place] for place in itertools.product(*spans)]
            stated = "".join(a for a, s in zip(image.lead, spans, strict=True) if len(s) > 1) + "YX"
            shape = (*(len(span) for span in spans if len(span) > 1), *page.shape)
        about = ome_description(ome.root, image.image, "", (), ())
        if "C" in image.lead and len(spans[image.lead.index("C")]) == 1 and about.channels:
            about.channels = (about.channels[spans[image.lead.index("C")][0]],)
    axes = name_axes(str(path), shape, stated, request.axes, request.fallback)
    dtype = np.dtype(page.dtype)
    source = partial(Planes, [(path.absolute(), k) for k in order], shape, dtype)
    blocks = (*(1 for _ in shape[:-2]), *page.shape)
    layout = _Layout(source, shape, dtype, axes, blocks)
    return _image(path, request, layout, about, stated or axes, page)


def _first_page(stored: tuple[Path, int]) -> tifffile.TiffPage:
    path, number = stored
    with tifffile.TiffFile(path) as file:
        page = file.pages[number]
        if isinstance(page, tifffile.TiffFrame):
            page = page.aspage()
        if len(page.shape) != 2:
            raise _colour(path)
        return page


def _colour(path: Path) -> ValueError:
    return ValueError(
        f"{path}: expected grey values, got a colour image (RGB); split its channels and save "
        "each as a file of its own, or give --axes such as YXC"
    )


def _regular(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, request: Request
) -> _Layout:
    """Return how the pixels of a file lie where tifffile knows it."""
    axes = _named(series, request.axes, path, request.fallback)
    place = [one.index for one in file.series].index(series.index)
    source = _source(file, series, path, place)
    return _Layout(source, series.shape, _dtype(series), axes, _blocks(series))


def _irregular_imagej(file: tifffile.TiffFile, path: Path, request: Request) -> _Layout | None:
    """Return the planes that are there, where ImageJ's header tells another number of them."""
    page: Any = file.pages[0].keyframe
    if not (file.is_imagej and file.imagej_metadata) or page.samplesperpixel > 1:
        return None
    about, pages = file.imagej_metadata, len(file.pages)
    counts = {"T": "frames", "Z": "slices", "C": "channels"}
    lengths = tuple(int(about.get(name, 1)) for name in counts.values())
    total = math.prod(lengths)
    if pages in (1, total) or total == 1:
        return None
    stated = " × ".join(
        f"{n} {name}" for n, name in zip(lengths, counts.values(), strict=True) if n > 1
    )
    return _fitted(file, path, request, "TZC", lengths, stated)


def _irregular_ome(file: tifffile.TiffFile, path: Path, request: Request) -> _Layout | None:
    """Return the planes that are there, where the OME-XML tells another number of them."""
    from .ome_tiff import Ome

    images = Ome(path, file.ome_metadata or "").images
    if len(images) != 1 or images[0].samples > 1:
        return None
    image = images[0]
    first: Any = file.pages.first
    pages = [page for page in file.pages if page.shape == first.shape]
    total = math.prod(image.lengths)
    named = {page for _, page in image.planes.values()}
    if len(pages) != len(file.pages) or (len(pages) == total and len(named) == total):
        return None
    if len(pages) == total or len(file.pages) == 1:
        return None
    counts = {"T": "time points", "Z": "planes", "C": "channels"}
    stated = " × ".join(
        f"{n} {counts[a]}" for a, n in zip(image.lead, image.lengths, strict=True) if n > 1
    )
    return _fitted(file, path, request, image.lead, image.lengths, stated)


def _fitted(
    file: tifffile.TiffFile,
    path: Path,
    request: Request,
    lead: str,
    lengths: tuple[int, ...],
    stated: str,
) -> _Layout:
    """Fit the pages of a file into axes whose header counts other ones.

    Raises
    ------
    ValueError
        It is not clear what the planes are, which is a question to the user.
    """
    from .ome_tiff import Planes

    pages, total = len(file.pages), math.prod(lengths)
    page: Any = file.pages.first
    long = [k for k, n in enumerate(lengths) if n > 1]
    time = lead.find("T")
    axis = time if time in long else long[0] if len(long) == 1 else -1
    each = total // lengths[axis] if axis >= 0 else 0
    whole = pages // each if each else 0
    fits = whole and lead[axis] == lead[long[0]] and (pages < total or pages % each == 0)
    if request.axes is not None and len(request.axes) == 3:
        shape, letters, note = (pages, *page.shape), request.axes.upper(), None
    elif fits:
        kept = tuple(whole if k == axis else n for k, n in enumerate(lengths))
        shape = (*(n for k, n in enumerate(kept) if k in long), *page.shape)
        letters = "".join(lead[k] for k in long) + "YX"
        left = pages - whole * each
        note = f"Its header counts {stated}, it holds {pages} planes: all were read."
        if left:
            note = (
                f"Its header counts {stated}, it holds {pages} planes: {whole} complete ones were "
                f"read, and {left} planes of the next left out."
            )
    else:
        raise ValueError(
            f"{path}: expected {total} planes ({stated}), got {pages}; give --axes ZYX or TYX to "
            "take all of them as one stack"
        )
    axes = name_axes(str(path), shape, letters, request.axes, request.fallback)
    _check_pages(file, path)
    planes = [(path.absolute(), k) for k in range(math.prod(shape[:-2]))]
    dtype = np.dtype(page.dtype)
    blocks = (*(1 for _ in shape[:-2]), *page.shape)
    notes = () if note is None else (note,)
    return _Layout(partial(Planes, planes, shape, dtype), shape, dtype, axes, blocks, notes)


def _check_pages(file: tifffile.TiffFile, path: Path) -> None:
    """Raise unless the pixels of each page lie in the file."""
    length = file.filehandle.size
    for page in file.pages:
        last = max(page.dataoffsets, default=0)
        if last and last + page.databytecounts[page.dataoffsets.index(last)] > length:
            raise _cut(path, "pixels end after the file")


class _Decoded:
    """The pixels of a TIFF file that are compressed or in several pieces."""

    def __init__(self, path: Path, number: int) -> None:
        self._path = path
        with ExitStack() as opened:
            with _whole(path):
                file = opened.enter_context(tifffile.TiffFile(path))
                self._array = _array(file.series[number])
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


def _check_whole(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Raise unless an image lies in its file as a whole."""
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


def _source(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, place: int
) -> partial[Any]:
    """Return how to open the pixels: mapped where they lie in one piece, else decoded."""
    offset = series.dataoffset
    if offset is None or series.transform is not None:
        return partial(_Decoded, path.absolute(), place)
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


def _named(series: tifffile.TiffPageSeries, axes: str | None, path: Path, fallback: bool) -> str:
    """Return the axes of an image, as the user or the file states them."""
    colour = "S" in series.axes and series.shape[series.axes.index("S")] in (3, 4)
    if colour and axes is None:
        planes = "ZYX" if series.axes[0] == "S" else "YXC"
        raise ValueError(
            f"{path}: expected grey values, got a colour image (RGB); if these are "
            f"{series.shape[series.axes.index('S')]} grey planes or channels, give --axes "
            f"{planes}; else split its channels and save each as a file of its own"
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
    return name_axes(str(path), series.shape, named, axes, fallback)


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


def _description(file: tifffile.TiffFile, page: tifffile.TiffPage, number: int) -> About:
    """What OME, ImageJ, LSM, STK or plain metadata say of the image of this number."""
    if file.is_ome and file.ome_metadata:
        from .ome_tiff import ome_description

        root = ElementTree.fromstring(file.ome_metadata)
        images = root.findall("{*}Image")
        if number >= len(images):
            return About()
        pixels = images[number].find("{*}Pixels")
        order = "XYZCT" if pixels is None else pixels.get("DimensionOrder", "XYZCT")
        lengths = tuple(
            1 if pixels is None else int(pixels.get(f"Size{a}", 1)) for a in order[:1:-1]
        )
        return ome_description(root, images[number], order[:1:-1], lengths, lengths)
    if file.is_imagej and file.imagej_metadata:
        return _imagej_description(page, file.imagej_metadata)
    if file.is_lsm:
        return _lsm_description(file.lsm_metadata or {})
    if file.is_stk:
        return _stk_description(file.stk_metadata or {})
    unit_tag = page.tags.get("ResolutionUnit")
    unit, coarsest = _UNITS.get(0 if unit_tag is None else int(unit_tag.value), (None, 0.0))
    sizes = {k: micrometres(v, unit) for k, v in _resolution(page).items()}
    return About({k: v for k, v in sizes.items() if v is not None and v <= coarsest})


def _imagej_description(page: tifffile.TiffPage, metadata: dict[str, Any]) -> About:
    unit = metadata.get("unit", "")
    units = {a: metadata.get(f"{a.lower()}unit", unit) for a in "ZY"} | {"X": unit}
    steps = {a: float(v) for a, v in _resolution(page).items()}
    if isinstance(metadata.get("spacing"), int | float):
        steps["Z"] = float(metadata["spacing"])
    sizes = {a: micrometres(abs(step), units[a]) for a, step in steps.items()}
    scales = {
        a: [step, str(units[a])]
        for a, step in steps.items()
        if sizes[a] is None and str(units[a]).lower() not in _NO_UNIT
    }
    note = re.search(rf"^{NOTE}: (.*)$", str(metadata.get("Info", "")), re.MULTILINE)
    return About(
        sizes,
        (),
        seconds(metadata.get("finterval"), metadata.get("tunit", "s")),
        provenance_of(note[1]) if note else {},
        details={
            "scales": scales,
            "reversed": [a for a, step in steps.items() if step < 0],
            "imagej": _imagej_properties(page, metadata),
        },
    )


def _imagej_properties(page: tifffile.TiffPage, metadata: dict[str, Any]) -> dict[str, Any]:
    """Calibration of the grey values, look-up tables, display ranges and info of ImageJ."""
    kept = {key: metadata[key] for key in _IMAGEJ_KEPT if key in metadata}
    calibration = tuple(metadata.get(key) for key in ("cf", "c0", "c1"))
    if calibration == (0, _SIGNED, 1) and page.dtype == np.uint16:
        kept = {key: value for key, value in kept.items() if key not in _CALIBRATION}
        kept["signed"] = True
    info = re.sub(rf"^{NOTE}: .*\n?", "", str(metadata.get("Info", "")), flags=re.MULTILINE)
    return kept | ({"Info": info} if info else {})


def _lsm_description(metadata: dict[str, Any]) -> About:
    colours = metadata.get("ChannelColors") or {}
    return About(
        {letter: micrometres(metadata.get(f"VoxelSize{letter}"), "m") for letter in "ZYX"},
        tuple(str(name) for name in colours.get("ColorNames") or ()),
        seconds(metadata.get("TimeIntervall"), "s"),
    )


def _stk_description(metadata: dict[str, Any]) -> About:
    unit = metadata.get("CalibrationUnits") if metadata.get("SpatialCalibration", 1) else None
    steps = np.unique(np.abs(np.ravel(metadata.get("ZDistance", 0))))  # µm, one for each plane
    return About(
        {
            "Z": micrometres(steps[0], "um") if len(steps) == 1 else None,
            "Y": micrometres(metadata.get("YCalibration"), unit),
            "X": micrometres(metadata.get("XCalibration"), unit),
        }
    )


def provenance_of(text: str) -> dict[str, object]:
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


def _resolution(page: tifffile.TiffPage) -> dict[str, float]:
    """Units for each pixel from the resolution tags (pixels for each unit, as fractions)."""
    sizes = {}
    for letter in "YX":
        tag = page.tags.get(f"{letter}Resolution")
        if tag is not None and tag.value[0]:
            sizes[letter] = tag.value[1] / tag.value[0]
    return sizes


def create_tiff(
    path: Path, header: Header, *, compression: Compression = "auto", pyramid: bool = False
) -> Target:
    """Create a TIFF file whose pixels are all 0 and lie in one piece.

    Parameters
    ----------
    path
        ``.ome.tif``, ``.btf``, ``.tf8`` and ``.tf2`` are OME-TIFF in any case, the latter three
        BigTIFF; others are BigTIFF where larger than 4 GB.
    header
        Y and X are moved to the end in the file; the other axes keep their order. All of it is
        written into the metadata.
    compression, pyramid
        As for `formats.create`; it is applied when all pixels are there.

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
    stored_so = _Stored.chosen(header, compression, pyramid)
    ome = big or path.stem.lower().endswith(".ome") or stored_so.pyramid
    ome = ome or not _fits_imagej(header, order)
    if ome:
        from .ome_tiff import ome_settings

        settings = ome_settings(header, order)
    else:
        settings = _imagej(header, shape, order)
    white = header.details.get("white_is_zero") == header.dtype.kind
    settings |= {"photometric": "miniswhite" if white else "minisblack"}
    settings |= {"bigtiff": True} if big else {}
    signed = not ome and header.dtype.name == "int16"
    dtype = np.dtype(np.uint16) if signed else header.dtype
    with begun(path) as (part, lock):
        place = tifffile.imwrite(
            part,
            shape=shape,
            dtype=dtype,
            returnoffset=True,
            **settings,
        )
        assert place is not None  # the pixels lie in one piece, since nothing compresses them
        reserve(part)
        pixels: Any = MappedArray(part, dtype, shape, place[0], writable=True)
        if white and dtype.kind == "u":
            pixels = Recoded(pixels, -1, int(np.iinfo(dtype).max), dtype)
        elif signed:
            pixels = Recoded(pixels, 1, _SIGNED, header.dtype)
        stored = partial(np.memmap, part, dtype, "r", place[0], shape)
        complete = partial(stored_so.write_anew, part, stored, settings)
        return Target(path, part, lock, reordered(pixels, order, header.axes), complete)


@dataclass(frozen=True)
class _Stored:
    """How the pixels of a finished TIFF are stored at last.

    Attributes
    ----------
    compression
        As tifffile names it, None for none.
    predictor
        Whether differences between neighbours are compressed.
    tile
        Its shape, None for strips.
    pyramid
        Whether there are smaller copies.
    """

    compression: str | None = None
    predictor: bool = False
    tile: tuple[int, int] | None = None
    pyramid: bool = False

    @classmethod
    def chosen(cls, header: Header, compression: Compression, pyramid: bool) -> "_Stored":
        """Return what is wanted, or else as the input is stored."""
        known = header.details.get("compression") or {}
        pyramid = pyramid or bool(header.details.get("pyramid"))
        tile = known.get("tile") or (_TILE if pyramid else None)
        if compression == "auto":
            named = known.get("name")
            return cls(named, bool(known.get("predictor")), tile, pyramid)
        named = None if compression == "none" else compression
        return cls(named, named is not None, tile, pyramid)

    def write_anew(
        self, part: Path, stored: Callable[[], np.memmap], settings: dict[str, Any]
    ) -> None:
        """Write a file, whose pixels lie in one piece, as it is to be stored."""
        if self.compression is None and not self.pyramid:
            return
        opening = {key: settings[key] for key in ("bigtiff", "imagej", "ome") if key in settings}
        rest = {key: settings[key] for key in settings if key not in opening}
        about: dict[str, Any] = {"compression": self.compression, "tile": self.tile}
        about["predictor"] = (self.compression and self.predictor) or None
        array = stored()
        if 2 * array.nbytes > _CLASSIC_LIMIT and not opening.get("imagej"):
            opening["bigtiff"] = True
        with whole(part) as anew, ExitStack() as opened:
            levels = list(_levels(array, part.parent, opened)) if self.pyramid else []
            writer = opened.enter_context(tifffile.TiffWriter(anew, **opening))
            writer.write(array, subifds=len(levels), **rest, **about)
            for level in levels:
                writer.write(level, subfiletype=1, photometric=rest["photometric"], **about)


def _levels(array: np.ndarray, folder: Path, opened: ExitStack) -> Iterator[np.ndarray]:
    """Yield smaller and smaller copies of an image (..., Y, X), in temporary files."""
    from ..pyramid import mean, next_step, smaller

    axes = "TCZYX"[-array.ndim :]
    while step := next_step(array.shape, axes):
        file = opened.enter_context(TemporaryFile(dir=folder))  # noqa: SIM115
        level: Any = np.memmap(file, array.dtype, "w+", shape=smaller(array.shape, step))
        for place in np.ndindex(array.shape[:-2]):
            for first in range(0, level.shape[-2], _ROWS):
                rows = slice(first * step[-2], (first + _ROWS) * step[-2])
                level[place][first : first + _ROWS] = mean(array[place][rows], step[-2:])
        yield level
        array = level


def _fits_imagej(header: Header, order: str) -> bool:
    """Whether ImageJ's format holds dtype, order, size and all that is known of the image."""
    lateral = {"Y", "X"} & {*header.pixel_size, *header.details.get("scales", {})}
    signed = header.dtype.name == "int16" and header.details.get("imagej", {}).get("signed")
    return (
        (header.dtype.name in _IMAGEJ_DTYPES or bool(signed))
        and order == "".join(letter for letter in _IMAGEJ_ORDER if letter in order)
        and math.prod(header.shape) * header.dtype.itemsize < _CLASSIC_LIMIT
        and len(lateral) != 1
        and (bool(lateral) or "Z" not in header.pixel_size)
        and ("C" in order or not header.channels)
        and not header.origin
        and set(header.details) <= _IMAGEJ_DETAILS
    )


def _imagej(header: Header, shape: tuple[int, ...], order: str) -> dict[str, Any]:
    """Settings that write all that is known of an image as ImageJ does."""
    kept = dict(header.details.get("imagej", {}))
    metadata: dict[str, Any] = {"axes": order}
    settings: dict[str, Any] = {"imagej": True, "metadata": metadata}
    planes = math.prod(shape[:-2])
    if kept.pop("signed", False) and header.dtype.name == "int16":
        kept |= {"cf": 0, "c0": float(_SIGNED), "c1": 1.0, "vunit": "Gray Value"}
    if len(kept.get("Labels", ())) != planes:
        kept.pop("Labels", None)
    info = kept.pop("Info", "")
    metadata |= kept | _imagej_scales(header, settings)
    if header.interval is not None and "T" in order:
        metadata["finterval"] = header.interval
    if header.channels:
        channel = np.indices(shape[:-2])[order.index("C")].ravel()
        metadata["Labels"] = [header.channels[i] for i in channel]
    if header.provenance:
        info = f"{info.rstrip()}\n" if info else ""
        info += f"{NOTE}: {json.dumps(header.provenance)}\n"
    if info:
        metadata["Info"] = info
    return settings


def _imagej_scales(header: Header, settings: dict[str, Any]) -> dict[str, Any]:
    """Sizes of a pixel with their units; sets the resolution."""
    steps = {a: (size, "um") for a, size in header.pixel_size.items()}
    steps |= {a: (size, unit) for a, (size, unit) in header.details.get("scales", {}).items()}
    for letter in header.details.get("reversed", ()):
        if letter in steps:
            steps[letter] = (-steps[letter][0], steps[letter][1])
    metadata: dict[str, Any] = {}
    if "X" in steps:
        metadata["unit"] = steps["X"][1]
        settings["resolution"] = (1 / abs(steps["X"][0]), 1 / abs(steps["Y"][0]))
        if steps["Y"][1] != steps["X"][1]:
            metadata["yunit"] = steps["Y"][1]
    if "Z" in steps:
        metadata["spacing"] = steps["Z"][0]
        if steps["Z"][1] != metadata.get("unit", steps["Z"][1]):
            metadata["zunit"] = steps["Z"][1]
    return metadata
