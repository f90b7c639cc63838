"""Read and write images of any size, in every format of the table `FORMATS`."""

import glob
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, overload
from urllib.parse import urlsplit

import numpy as np

from ..atomic import Target
from ..image import Header, Image, Lazy, check_finite, check_kind, check_pixels
from ..lazy import Blocks, LazyArray, one_line

Ngff = Literal["0.5", "0.4"]  # versions of OME-Zarr that are written
Compression = Literal["auto", "none", "zlib", "zstd"]  # of an output
TIMEOUT = 30.0  # seconds without an answer after which a server is given up


@dataclass(frozen=True)
class Format:
    """A file format: a row of `FORMATS`.

    Attributes
    ----------
    name
        For messages and the documentation.
    suffixes
        In lower case, with the dot; the first one is what is written.
    opens
        ``module.function`` of this package, called with path and `Request`; gives an `Image`.
        None where the format is only written.
    creates
        ``module.function``, called with path and header, and those further settings of `create`
        that `settings` names; gives a `Target`. None where the format is only read.
    keeps
        The metadata that it keeps.
    folder
        An image is a folder, or a URL.
    blocks
        Chunks and shards may be chosen, and several processes may write them at once.
    floats
        It holds floating-point pixels.
    resumes
        What an interrupted run has written can be gone on with.
    lists
        ``module.function`` that gives the `Contents` of a file where that may hold several images
        or be one of several files; None where a file is one image.
    settings
        The settings of `create` by which a user may choose how it is stored.
    package
        The further package that reads it.
    """

    name: str
    suffixes: tuple[str, ...]
    opens: str | None
    creates: str | None = None
    keeps: str = "pixels only"
    folder: bool = False
    blocks: bool = False
    resumes: bool = False
    floats: bool = True
    lists: str | None = None
    settings: tuple[str, ...] = ()
    package: str | None = None


@dataclass(frozen=True)
class Request:
    """Which image of a file is wanted, and how.

    Attributes
    ----------
    axes, fallback
        As for `axes.name_axes`.
    part
        Name or number of the image, of several.
    alone
        This file only, where the image lies in several.
    timeout
        Seconds without an answer after which a server is given up.
    """

    axes: str | None = None
    fallback: bool = False
    part: str | None = None
    alone: bool = False
    timeout: float = TIMEOUT


@dataclass(frozen=True)
class Contents:
    """What a file or a store holds.

    Attributes
    ----------
    parts
        Names of its images.
    files
        All files that its images lie in, itself included.
    name
        The name of the set, where it is one of several files.
    """

    parts: tuple[str, ...]
    files: frozenset[Path] = frozenset()
    name: str | None = None


ZIPPED = (".ozx", ".zarr.zip")  # a Zarr in one file
N5 = (".n5",)  # a folder that is no Zarr
_ALL = "axes, pixel size, place, channels and colours, interval, description, provenance"
_TIFF = ("tiff.open_tiff", "tiff.create_tiff", _ALL)
_IN_TIFF: dict[str, Any] = {"lists": "tiff.contents"}
_STORED_TIFF: dict[str, Any] = _IN_TIFF | {"settings": ("compression", "pyramid")}
_ZARR: dict[str, Any] = {
    "opens": "ome_zarr.open_ngff",
    "creates": "ome_zarr_writer.create_ngff",
    "keeps": _ALL,
    "blocks": True,
    "resumes": True,
    "lists": "ome_zarr.contents",
    "settings": ("chunks", "shards", "ngff", "compression"),
}
_HDF5: dict[str, Any] = {
    "opens": "hdf5.open_hdf5",
    "keeps": "what is stated of axes, pixel size, place, channels and colours, interval",
    "lists": "hdf5.contents",
    "package": "h5py",
}
_OLYMPUS: dict[str, Any] = {
    "opens": "olympus.open_olympus",
    "keeps": "axes, pixel size, channel names, interval",
}
_STATED = "what bioio states of axes, pixel size, channel names, interval"


def _vendor(name: str, package: str, *suffixes: str) -> Format:
    return Format(
        name,
        suffixes,
        "vendor.open_vendor",
        keeps=_STATED,
        lists="vendor.contents",
        package=package,
    )


FORMATS = (
    Format("TIFF: OME-TIFF, ImageJ, plain", (".tif", ".tiff"), *_TIFF, **_STORED_TIFF),
    Format("OME-BigTIFF", (".btf", ".tf8", ".tf2"), *_TIFF, **_STORED_TIFF),
    Format("OME companion of TIFF files", (".ome",), _TIFF[0], keeps=_ALL, **_IN_TIFF),
    Format(
        "TIFF of LSM, STK (MetaMorph), Flex",
        (".lsm", ".stk", ".flex"),
        _TIFF[0],
        keeps=_ALL,
        **_IN_TIFF,
    ),
    Format("OME-Zarr 0.1 to 0.5, plain Zarr", (".zarr",), folder=True, **_ZARR),
    Format("OME-Zarr in one ZIP file", ZIPPED, **_ZARR),
    Format(
        "N5, also of BigDataViewer",
        N5,
        "n5.open_n5",
        keeps="what is stated of axes, pixel size, name",
        folder=True,
        lists="n5.contents",
    ),
    Format("NPY", (".npy",), "plain.open_npy", "plain.create_npy"),
    Format("NPZ", (".npz",), "npz.open_npz", lists="npz.contents"),
    Format(
        "PNG, grey of 8 or 16 bits", (".png",), "plain.open_png", "plain.create_png", floats=False
    ),
    Format(
        "JPEG 2000, grey",
        (".jp2", ".j2k", ".jpx", ".j2c", ".jpc"),
        "jpeg2000.open_jpeg2000",
        keeps="pixel size",
    ),
    Format(
        "MRC",
        (".mrc", ".mrcs", ".rec", ".st"),
        "mrc.open_mrc",
        "mrc.create_mrc",
        "axes of stacks, pixel size, place, description",
    ),
    Format(
        "DV (DeltaVision)",
        (".dv", ".r3d"),
        "dv.open_dv",
        keeps="axes, pixel size, wavelengths, interval, description",
    ),
    Format("HDF5, also of BigDataViewer and ilastik", (".h5", ".hdf5"), **_HDF5),
    Format("Imaris", (".ims",), **_HDF5),
    _vendor("CZI (Zeiss)", "bioio-czi", ".czi"),
    _vendor("ND2 (Nikon)", "bioio-nd2", ".nd2"),
    _vendor("LIF (Leica)", "bioio-lif", ".lif"),
    _vendor("SLDY (SlideBook)", "bioio-sldy", ".sldy"),
    Format("OIB, OIF (Olympus)", (".oib", ".oif"), package="oiffile", **_OLYMPUS),
    Format("OIR (Olympus)", (".oir",), package="oirfile", **_OLYMPUS),
    _vendor("VSI (Olympus)", "bioio-bioformats", ".vsi"),
    _vendor("ZVI (Zeiss)", "bioio-bioformats", ".zvi"),
)

_USUAL = {"chunks": None, "shards": None, "ngff": "0.5", "compression": "auto", "pyramid": False}
_OF_TWO = (".zarr.zip",)  # suffixes of two parts, of which the last alone tells nothing
ZARR_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")  # one of them makes a Zarr
_HUGE = 2**37  # bytes; smaller files may have holes, as file systems that compress make them
_PLAUSIBLE = 20_000  # pixels' bytes for each byte of a Zarr; more are a damaged shape
_SPARSE = 10_000  # chunks that may be missing of a Zarr that is read as a whole
_STEP = 2**24  # bytes that are copied at once
_URL = re.compile(r"([a-z][a-z0-9+.]+):(/+)", re.IGNORECASE)  # one letter is a Windows drive

__all__ = [
    "FORMATS",
    "Compression",
    "Contents",
    "Format",
    "Header",
    "Image",
    "Lazy",
    "Ngff",
    "Request",
    "Target",
    "check_pixels",
    "contents",
    "create",
    "format_of",
    "is_image_folder",
    "is_output",
    "is_zarr",
    "list_images",
    "missing_chunks",
    "open_image",
    "output_exists",
    "output_name",
    "output_place",
    "read",
    "split_part",
    "unfinished",
    "without_secrets",
    "write",
]


def open_image(
    path: Path | str,
    *,
    axes: str | None = None,
    this_file: bool = False,
    timeout: float = TIMEOUT,
) -> Image:
    """Open an image without reading its pixels, which are read by slicing ``image.array``.

    Parameters
    ----------
    path
        A file, a Zarr folder or a URL (``https://``, ``s3://``, ...), of a format that is read:
        OME-TIFF (tiled, pyramids, of several files), ImageJ or plain TIFF; an OME-Zarr image, one
        of its levels (``a.zarr/0``) or a plain Zarr array; see `FORMATS`. ``a.lif#2`` and
        ``a.lif#NAME`` name one image of several. A file of a multi-file OME-TIFF stands for all.
    axes
        One letter of ``TCZYX`` for each dimension; overrides the file's. NPY files and plain Zarr
        arrays name no axes, nor do some TIFF files.
    this_file
        Of a multi-file OME-TIFF, the planes of this file alone.
    timeout
        Seconds without an answer after which a server is given up; until then, a request that
        fails is repeated.

    Returns
    -------
    Image
        With the file's dtype (native byte order), intensities, axes and all the metadata that
        `Image` holds, as far as the file states them. Sizes of 0 and the like are not known. Of
        a pyramid, the full resolution. Reading a region raises one line (`ValueError`, `OSError`)
        that names the file where pixels are damaged, NaN or infinite.

    Raises
    ------
    FileNotFoundError, OSError
        The file does not exist or may not be read, or its server does not answer.
    ValueError
        An unknown suffix, an empty or damaged file, a colour image, axes that do not fit or are
        not known (the message asks for them), pixels that are not numbers, or a package that is
        not installed.
    """
    return _open(path, Request(axes, alone=this_file, timeout=timeout))


def read(path: Path | str, *, axes: str | None = None) -> Image:
    """Read an image into memory.

    Parameters
    ----------
    path, axes
        As for `open_image`, except that dimensions without names are taken as ZYX, TZYX or TCZYX.

    Returns
    -------
    Image
        As from `open_image`, with a numpy array.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        As for `open_image` and `check_pixels`, and where an image does not fit into memory.
    """
    image = _open(path, Request(axes, fallback=True))
    name = str(image.source)
    if isinstance(image.array, LazyArray):
        _check_plausible(image)
    try:
        array = np.asarray(image.array[...])
    except MemoryError:
        raise _too_large(name) from None
    check_pixels(array, name)
    return replace(image, array=array.astype(array.dtype.newbyteorder("="), copy=False))


def write(path: Path | str, image: Image, *, overwrite: bool = False) -> Path:
    """Write an image completely or not at all.

    Parameters
    ----------
    path
        As for `create`.
    image
        What to write; a lazy array is copied in parts.
    overwrite
        Replace an output that is there.

    Returns
    -------
    The path.

    Raises
    ------
    FileExistsError, ValueError, OSError
        As for `create` and `check_pixels`.
    """
    in_memory = isinstance(image.array, np.ndarray)
    if in_memory:
        check_pixels(image.array, str(path))
    with create(path, image.header, overwrite=overwrite) as target:
        for region in Blocks(image.array.shape, _copied(image, target)):
            block = np.asarray(image.array[region])
            if not in_memory:
                check_finite(block, str(path))
            target.array[region] = block
    return Path(path)


def create(
    path: Path | str,
    header: Header,
    *,
    overwrite: bool = False,
    resume: bool = False,
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
    ngff: Ngff = "0.5",
    compression: Compression = "auto",
    pyramid: bool = False,
    timeout: float = TIMEOUT,
) -> Target:
    """Create an output that is written region by region.

    Parameters
    ----------
    path
        The suffix chooses the format; the folder is made where missing. ``.ome.tif`` and ``.btf``
        give OME-TIFF; ``.tif`` gives ImageJ TIFF where that holds the image (uint8, uint16,
        float32, axes in the order TZCYX, below 4 GB), else OME-TIFF; all have Y and X last.
        ``.zarr`` gives OME-Zarr in the order TCZYX, with a pyramid. ``.png`` and ``.npy`` keep
        the pixels only, without any metadata. A Zarr output may be a URL that can be written,
        such as ``s3://``.
    header
        Shape, dtype, axes and metadata. Whatever the order of the axes in the file, the target's
        array has those of the header.
    overwrite, resume
        Replace an output that is there, and what an interrupted run left of a Zarr output; or go
        on with that.
    chunks, shards, ngff
        Of a Zarr output: blocks in the header's axes, and the version, ``0.5`` or ``0.4``.
    compression
        Of a TIFF or Zarr output: ``none``, ``zlib``, ``zstd``, or ``auto``: as the input's, whose
        header says so; where it does not, a TIFF is not compressed, and a Zarr by Zstandard (0.4:
        Blosc). What loses detail is never used.
    pyramid
        Of a TIFF output: with smaller copies, in tiles, as OME-TIFF (SubIFDs); one whose input
        has them gets them as well. A Zarr output always has them.
    timeout
        Of an output at a URL: as for `open_image`.

    Returns
    -------
    Target
        Written beside `path` until it is finished; a lock beside it refuses a second run.

    Raises
    ------
    FileExistsError
        The output exists, or an unfinished one, without `overwrite`; or another run writes it.
    ValueError
        An unknown suffix, or an image that the format cannot hold.
    OSError
        The folder may not be written to, or the disk is full; nothing is left behind.
    """
    path = output_place(path)
    how: dict[str, Any] = {"chunks": chunks, "shards": shards, "ngff": ngff}
    how |= {"compression": compression, "pyramid": pyramid}
    form = _output_format(path, how)
    noted = json.loads(json.dumps(header.provenance, default=_plain))
    header = replace(header, dtype=header.dtype.newbyteorder("="), provenance=noted)
    check_kind(header.dtype, header.shape, str(path))
    if isinstance(path, Path):
        _check_free(path, form, overwrite)
    elif not overwrite and output_exists(path, timeout=timeout):
        raise FileExistsError(f"{path} exists; choose another name or allow overwriting")
    settings: dict[str, Any] = {"overwrite": overwrite, "resume": resume} if form.resumes else {}
    settings |= {name: how[name] for name in form.settings}
    if form.resumes:
        settings["timeout"] = timeout
    target: Target = _function(form.creates)(path, header, **settings)
    return target


def missing_chunks(image: Image) -> int:
    """Count the chunks (or shards) that a Zarr or N5 image lacks; they are read as fill value.

    Parameters
    ----------
    image
        From `open_image`.

    Returns
    -------
    int
        0 for images of other formats. At a URL, what was not read yet is asked for.
    """
    source = image.source
    if source is None or not (as_url(source) or _in_chunks(Path(source))):
        return 0
    if not as_url(source) and suffix_of(split_part(Path(source))[0]) in N5:
        from .n5 import missing_blocks

        return missing_blocks(image)
    from .ome_zarr import missing_chunks

    return missing_chunks(image)


@overload
def list_images(paths: Iterable[Path], *, sets: bool = True) -> list[Path]: ...
@overload
def list_images(paths: Iterable[Path | str], *, sets: bool = True) -> list[Path | str]: ...
def list_images(paths: Iterable[Path | str], *, sets: bool = True) -> list[Path] | list[Path | str]:
    """List images: those named, those directly in the folders named, and those of a pattern.

    Parameters
    ----------
    paths
        Files, Zarr folders, URLs, other folders, and patterns such as ``plate/*.tif`` or
        ``**/*.zarr``. Of folders and patterns, what has a known suffix and is not hidden.
    sets
        Files of a multi-file OME-TIFF are one image, named by the first of them.

    Returns
    -------
    Sorted, each once, then the URLs as they were given; empty where the folders hold no image. Of
    a file or store of several images, each: ``a.ome.tif#0``, ``plate.zarr#A/1/0``.

    Raises
    ------
    FileNotFoundError
        A path does not exist, or a pattern matches no image.
    ValueError
        A file that is named has an unknown suffix.
    """
    images: set[Path] = set()
    urls: list[Path | str] = []
    for path in paths:
        if as_url(path) is not None:
            urls.append(path)
        else:
            images.update(_images_at(Path(path)))
    listed: set[Path] = set()  # files of sets
    single = [one for path in sorted(images) for one in _each(path, listed, sets)]
    return [*single, *dict.fromkeys(urls)]


def format_of(path: Path) -> Format:
    """Return the format that the suffix of a name stands for, or of the Zarr that it lies in.

    Raises
    ------
    ValueError
        An unknown suffix.

    Examples
    --------
    >>> format_of(Path("a.ome.TIF")).suffixes, format_of(Path("a.lif#2")).package
    (('.tif', '.tiff'), 'bioio-lif')
    >>> format_of(Path("plate.zarr/A/1/0")).suffixes
    ('.zarr',)
    """
    suffix = suffix_of(split_part(path)[0])
    for form in FORMATS:
        if suffix in form.suffixes:
            return form
    if any(parent.suffix.lower() in _zarr().suffixes for parent in path.parents):
        return _zarr()
    known = ", ".join(s for form in FORMATS if form.opens for s in form.suffixes)
    raise ValueError(
        f"{path}: expected an image file ({known}), got suffix {suffix!r}; convert it to .tif"
    )


def is_output(path: Path) -> bool:
    """Tell whether the suffix of a name is one that is written."""
    return any(suffix_of(path) in form.suffixes for form in FORMATS if form.creates)


def suffix_of(path: Path) -> str:
    """Return the suffix that tells the format of a name, in lower case.

    Examples
    --------
    >>> suffix_of(Path("a.ome.TIF")), suffix_of(Path("a.ome.zarr.zip"))
    ('.tif', '.zarr.zip')
    """
    name = path.name.lower()
    return next((one for one in _OF_TWO if name.endswith(one)), path.suffix.lower())


def bare_name(path: Path) -> str:
    """Return the name of a file without the suffixes that tell its format.

    Examples
    --------
    >>> bare_name(Path("a.ome.tif")), bare_name(Path("a.1.ome.zarr.zip"))
    ('a', 'a.1')
    """
    return path.name[: len(path.name) - len(suffix_of(path))].removesuffix(".ome")


def output_name(source: Path | str, *, this_file: bool = False) -> str:
    """Name the output of an image; what can only be read becomes OME-TIFF or OME-Zarr.

    An image of several in a Zarr keeps its place in it; a set of files gives its own name.

    Examples
    --------
    >>> output_name(Path("a/b.tif")), output_name(Path("b.lif#2"))
    ('b.tif', 'b_2.ome.tif')
    >>> output_name("https://example.org/b.ome.zarr")
    'b.ome.zarr'
    """
    file, part = split_part(Path(str(source).rstrip("/")))
    stem = bare_name(file).removesuffix(".companion")
    if isinstance(source, Path) and not this_file:
        stem = contents(source).name or stem
    if stem != bare_name(file) and part is None:
        return f"{stem}.ome.tif"
    if part is not None:
        inner = re.sub(r"[^\w.+-]+", "_", part)
        return f"{file.name}/{part}" if is_zarr(file) else f"{stem}_{inner}{_read_only(file)}"
    if is_output(file):
        return file.name
    if isinstance(source, str) or is_zarr(source):
        return f"{'_'.join(_inside(file))}.ome.zarr"
    return f"{stem}{_read_only(file)}"


def _read_only(source: Path) -> str:
    """Return the suffix of the output of an image whose format is only read."""
    return ".ome.zarr" if suffix_of(source) in N5 else ".ome.tif"


def contents(path: Path) -> Contents:
    """Return what a local file or Zarr holds; a single image where that cannot be known."""
    file, _ = split_part(path)
    alone = Contents((file.name,), frozenset([file]))
    try:
        form = _zarr() if is_zarr(file) else format_of(file)
        about = file.stat()
        if form.lists is None or not (file.is_file() or file.is_dir()):
            return alone
        return _contents(form.lists, file, about.st_mtime_ns, about.st_size)
    except Exception:  # damaged ones speak for themselves when they are opened
        return alone


@lru_cache(maxsize=4096)
def _contents(function: str, path: Path, changed: int, size: int) -> Contents:
    """Return what a file holds, asked once as long as it does not change."""
    inside: Contents = _function(function)(path)
    return inside


def split_part(path: Path) -> tuple[Path, str | None]:
    """Split the name or number of an image from the name of a file that holds several.

    Examples
    --------
    >>> split_part(Path("a.lif#2"))[1], split_part(Path("a.txt#2"))[1]
    ('2', None)
    """
    text = str(path)
    if "#" not in text or path.exists():
        return path, None
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    for place in (match.start() for match in re.finditer("#", text)):
        file = Path(text[:place])
        if suffix_of(file) in suffixes or is_zarr(file):
            return file, text[place + 1 :]
    return path, None


def numbered(name: str, parts: Sequence[str], part: str | None) -> int:
    """Return the number of the image that is wanted of a file of several.

    Raises
    ------
    ValueError
        There are several and none is named, or none of this name or number.
    """
    if part is None and len(parts) == 1:
        return 0
    if part is None:
        raise ValueError(
            f"{name}: expected one image, got {len(parts)} "
            f"({one_line(Exception(', '.join(parts)), 60)}); name one, such as {name}#0"
        )
    if part in parts:
        return parts.index(part)
    if not part.isdecimal() or int(part) >= len(parts):
        raise ValueError(
            f"{name}#{part}: expected one of the images 0 to {len(parts) - 1}, got {part}"
        )
    return int(part)


def as_url(path: Path | str) -> str | None:
    """Return a URL as text, None for a local path.

    A URL that went through `Path`, which takes one of its slashes, is put right.

    Examples
    --------
    >>> as_url(Path("s3://bucket/a.zarr"))
    's3://bucket/a.zarr'
    >>> as_url("a.zarr") is None
    True
    """
    parts = _URL.match(str(path))
    if not parts:
        return None
    slashes = "///" if parts[1] == "file" else "//"
    return f"{parts[1]}:{slashes}{str(path)[parts.end() :]}"


def without_secrets(text: str) -> str:
    """Leave out of a text what URLs in it say of names, passwords and tokens.

    Examples
    --------
    >>> without_secrets("https://ann:secret@host/a.zarr?token=1: no answer")
    'https://host/a.zarr: no answer'
    """
    return re.sub(r"(://)(?:[^/@\s]*@)?([^\s?#'\"]*)(?:\?[^\s'\"#:]*)?", r"\1\2", text)


def output_place(path: Path | str) -> Path | str:
    """Return the absolute path of an output, which other processes can open too, or its URL."""
    url = as_url(path)
    local = Path(path) if url is None else local_path(url)
    return (url or "").rstrip("/") if local is None else local.absolute()


def output_exists(place: Path | str, *, timeout: float = TIMEOUT) -> bool:
    """Tell whether there is an output of this name, of `output_place`."""
    if isinstance(place, Path):
        return place.exists()
    from .remote import RemoteFolder

    return RemoteFolder(place, timeout).exists()


def unfinished(place: Path | str, inner: str = "", *, timeout: float = TIMEOUT) -> Any:
    """Return what Zarr opens of an unfinished output, or of a part of it; None if not there."""
    if isinstance(place, Path):
        part = place.with_name(f"{place.name}.part") / inner
        return part if part.exists() else None
    from .remote import RemoteFolder

    folder = RemoteFolder(place, timeout)
    there = folder.exists(f"{folder.part}/{inner}".rstrip("/"))
    return folder.store(inner, read_only=True) if there else None


def local_path(url: str) -> Path | None:
    """Return the local path of a ``file:`` URL, None for another URL."""
    from urllib.request import url2pathname  # slow to import

    parts = urlsplit(url)
    return Path(url2pathname(parts.netloc + parts.path)) if parts.scheme == "file" else None


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr group or array, by its name or its metadata."""
    return (folder.is_dir() and suffix_of(folder) not in N5) and (
        folder.suffix.lower() in _zarr().suffixes
        or any((folder / name).exists() for name in ZARR_METADATA)
    )


def is_image_folder(folder: Path) -> bool:
    """Whether a folder is an image, by its name or its metadata."""
    return is_zarr(folder) or (folder.is_dir() and suffix_of(folder) in N5)


def _in_chunks(path: Path) -> bool:
    """Whether an image on this machine lies in chunks, each a file, or in a Zarr in one file."""
    file = split_part(path)[0]
    return is_image_folder(file) or is_zarr(path) or suffix_of(file) in ZIPPED


def _zarr() -> Format:
    """Return the format of the folders that are a Zarr."""
    return next(form for form in FORMATS if form.opens == _ZARR["opens"])


def _images_at(path: Path) -> list[Path]:
    """Images that a local path or pattern names."""
    if is_image_folder(path):
        return [path]
    if path.is_dir():
        return [inner for inner in path.iterdir() if _is_image(inner)]
    file, _ = split_part(path)
    if file.exists():
        if not is_image_folder(file):
            format_of(file)
        return [path]
    if glob.has_magic(str(path)):
        matches = [Path(name) for name in glob.glob(str(path), recursive=True)]
        images = {match for match in matches if _is_image(match) or is_zarr(match)}
        images -= {one for one in images if not images.isdisjoint(one.parents)}
        if images:
            return list(images)
        raise FileNotFoundError(f"expected images that match {path}, got none; check the pattern")
    raise FileNotFoundError(
        f"expected an image file or folder, {path} does not exist; check the name"
    )


def _each(path: Path, listed: set[Path], sets: bool) -> list[Path]:
    """List each image of a file, none where the file belongs to one that is listed already."""
    file, part = split_part(path)
    if file in listed:
        return []
    inside = contents(path)
    if sets and len(inside.files) > 1:
        listed |= inside.files
    if part is not None or len(inside.parts) < 2:
        return [path]
    names = inside.parts if file.is_dir() else map(str, range(len(inside.parts)))
    return [Path(f"{path}#{name}") for name in names]


def _inside(folder: Path) -> tuple[str, ...]:
    """Names of the folders from the outermost Zarr down to one inside of it."""
    outer = [one for one in folder.parents if is_zarr(one)]
    if not outer:
        return (folder.name,)
    root = outer[-1]
    stem = root.name.removesuffix(".zarr").removesuffix(".ome")
    return (stem, *folder.relative_to(root).parts)


def _is_image(path: Path) -> bool:
    """Whether a file or folder is visible and of a format that is read."""
    suffix, folder = suffix_of(path), path.is_dir()
    if suffix == ".ome" and not path.stem.lower().endswith(".companion"):
        return False
    return path.name[0] != "." and any(
        form.opens and suffix in form.suffixes and form.folder == folder for form in FORMATS
    )


def _open(path: Path | str, request: Request) -> Image:
    """Open an image, and turn whatever decoders raise on damaged files into one line."""
    url = as_url(path)
    location = (local_path(url) or url) if url else Path(path)
    file: Path | str
    if isinstance(location, Path):
        file, part = split_part(location)
    else:
        file, _, part = location.partition("#")
    request = replace(request, part=part or None)
    form = _input_format(file)
    if request.part and form.lists is None:
        numbered(str(file), ("0",), request.part)
    try:
        image: Image = _function(form.opens)(file, request)
    except MemoryError:
        raise _too_large(str(location)) from None
    except Exception as error:
        if isinstance(error, ValueError | OSError) and str(error).startswith(str(file)):
            if url:
                raise type(error)(without_secrets(str(error))) from None
            raise  # one line already, of the image or of what lies in it
        if isinstance(error, PermissionError):
            raise PermissionError(
                f"{location}: cannot be read ({one_line(error)}); allow reading all of it"
            ) from None
        raise ValueError(
            f"{without_secrets(str(location))}: expected an image ({form.name}), got a damaged or "
            f"unknown file ({one_line(error)}); copy or export it again"
        ) from None
    check_kind(image.array.dtype, image.array.shape, str(location))
    return image


def _input_format(location: Path | str) -> Format:
    """Return the format of an image that is there."""
    if isinstance(location, str):
        if suffix_of(Path(urlsplit(location).path)) in N5:
            raise ValueError(f"{location}: expected a Zarr at a URL, got N5; copy it here")
        return _zarr()
    if is_image_folder(location):
        return _zarr() if is_zarr(location) else format_of(location)
    if location.is_dir():
        raise ValueError(f"expected an image file, got the folder {location}; name a file in it")
    form = format_of(location)
    if form.opens is None:
        raise ValueError(f"{location}: expected a format that is read, {form.name} is only written")
    if not location.exists():
        raise FileNotFoundError(
            f"expected an image file, {location} does not exist; check the name"
        )
    if form.folder:
        raise ValueError(f"{location}: expected a folder ({form.name}), got a file; unpack it")
    if not location.is_file():
        raise ValueError(f"{location}: expected an image file, got a pipe or a device; copy it")
    _check_stored(location)
    with location.open("rb") as opened:  # raises where reading is not allowed
        if not opened.read(1):
            raise ValueError(f"{location}: expected an image, got an empty file; copy it again")
    return form


def _check_stored(path: Path) -> None:
    """Refuse a huge file that holds next to nothing on the disk: its size is damaged."""
    about = path.stat()
    stored = 512 * getattr(about, "st_blocks", 0)  # 0 where the system does not tell
    if about.st_size > _HUGE and 0 < stored * _PLAUSIBLE < about.st_size:
        raise ValueError(
            f"{path}: expected pixels of {about.st_size} bytes, got {stored} on the disk; copy it "
            "again"
        )


def _function(name: str | None) -> Callable[..., Any]:
    """Return a format's function; its module and libraries are imported where they are needed."""
    module, function = str(name).split(".")
    named: Callable[..., Any] = getattr(import_module(f".{module}", __name__), function)
    return named


def _too_large(name: str) -> ValueError:
    return ValueError(
        f"{name}: expected an image that fits into memory, got a larger one or a damaged file; "
        "open it with open_image, split it, or copy it again"
    )


def _check_plausible(image: Image) -> None:
    """Refuse chunks on this machine that hold next to nothing of a large shape: it is damaged."""
    if not (isinstance(image.source, Path) and _in_chunks(image.source)):
        return
    size, stored, source = image.array.nbytes, 1, split_part(image.source)[0]
    if size > 2**28:
        files = source.rglob("*") if source.is_dir() else [source]
        stored = sum(f.stat().st_size for f in files if f.is_file())
    if size > max(_PLAUSIBLE * stored, 2**28) or missing_chunks(image) > _SPARSE:
        raise ValueError(
            f"{image.source}: expected pixels of shape {image.array.shape}, got next to none on "
            "the disk; copy it again, or open it with open_image and read it in parts"
        )


def _plain(value: Any) -> object:
    """Write what JSON does not know as numbers and lists, or else as text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _output_format(place: Path | str, how: dict[str, Any]) -> Format:
    """Return the format of an output, which takes the settings that are not as usual."""
    path = Path(place)
    form = format_of(path)
    if isinstance(place, str) and not form.folder:
        raise ValueError(
            f"{without_secrets(place)}: expected a Zarr output at a URL, got {suffix_of(path)}; "
            "write .zarr, or to this machine"
        )
    if form.creates is None:
        known = ", ".join(s for one in FORMATS if one.creates for s in one.suffixes)
        raise ValueError(
            f"{path}: expected an output of {known}, got {suffix_of(path)}, which is only "
            "read; write .ome.tif"
        )
    for name, usual in _USUAL.items():
        if how[name] != usual and name not in form.settings:
            able = ", ".join(s for one in FORMATS if name in one.settings for s in one.suffixes)
            raise ValueError(
                f"{path}: expected {name} for {able} only, got {how[name]} for {suffix_of(path)}; "
                "leave it out"
            )
    if how["compression"] not in get_args(Compression):
        raise ValueError(
            f"{path}: expected a compression of {', '.join(get_args(Compression))}, got "
            f"{how['compression']!r}"
        )
    return form


def _check_free(path: Path, form: Format, overwrite: bool) -> None:
    """Raise unless an output may take this name."""
    if path.is_dir() and not (form.folder and is_zarr(path)):
        raise FileExistsError(f"expected a file name to write, got the folder {path}")
    if form.folder and path.is_file():
        raise FileExistsError(f"expected a Zarr folder to write, got the file {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name or allow overwriting")


def _copied(image: Image, target: Target) -> tuple[int, ...]:
    """Shape of the regions in which an image is copied into an output."""
    shape: tuple[int, ...] = image.array.shape
    if target.blocks is not None:
        return target.blocks
    rest = _STEP // image.array.dtype.itemsize
    sizes = []
    for length in reversed(shape):
        sizes.append(max(min(length, rest), 1))
        rest //= length
    return tuple(reversed(sizes))
