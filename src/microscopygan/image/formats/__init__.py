"""Read and write images of any size: TIFF, OME-Zarr, NPY, PNG, and vendors' formats to read."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import Lock, Target, remove
from ..image import Header, Image, Lazy, check_finite, check_kind, check_pixels
from ..lazy import LazyArray, blocks_of, one_line
from .listing import SUFFIXES, image_suffix, list_images
from .ome_zarr import as_url, is_zarr, local_path, missing_chunks
from .vendor import PLUGINS, split_scene

_PLAUSIBLE = 20_000  # pixels' bytes for each byte of a Zarr; more are a damaged shape
_SPARSE = 10_000  # chunks that may be missing of a Zarr that is read as a whole
_STEP = 2**24  # bytes that are copied at once

__all__ = [
    "SUFFIXES",
    "Header",
    "Image",
    "Lazy",
    "Target",
    "check_pixels",
    "create",
    "list_images",
    "missing_chunks",
    "open_image",
    "read",
    "write",
]


def open_image(path: Path | str, *, axes: str | None = None) -> Image:
    """Open an image without reading its pixels, which are read by slicing ``image.array``.

    Parameters
    ----------
    path
        - ``.tif``, ``.tiff``: OME-TIFF (tiled, pyramids, of several files), ImageJ or plain TIFF;
        - ``.zarr`` and other Zarr folders, or their URL (``https://``, ``s3://``, ...): OME-Zarr,
          one of its levels (``a.zarr/0``), or a plain Zarr array;
        - ``.npy``, and grey ``.png`` of 8 or 16 bits, which is decoded at once;
        - vendors' formats where bioio and its plug-in are installed; ``a.lif#2`` is the third
          image of a file.
    axes
        One letter of ``TCZYX`` for each dimension; overrides the file's. NPY files and plain Zarr
        arrays name no axes, nor do some TIFF files.

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
        The file does not exist or may not be read.
    ValueError
        An unknown suffix, an empty or damaged file, a colour image, axes that do not fit or are
        not known (the message asks for them), pixels that are not numbers, or a package that is
        not installed.
    """
    return _open(path, axes, fallback=False)


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
    image = _open(path, axes, fallback=True)
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
        for region in blocks_of(image.array.shape, _copied(image, target)):
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
    ngff: str = "0.5",
) -> Target:
    """Create an output that is written region by region.

    Parameters
    ----------
    path
        The suffix chooses the format; the folder is made where missing. ``.ome.tif`` gives
        OME-TIFF; ``.tif`` gives ImageJ TIFF where that holds the image (uint8, uint16, float32,
        axes in the order TZCYX, below 4 GB), else OME-TIFF; both have Y and X last. ``.zarr``
        gives OME-Zarr in the order TCZYX, with a pyramid. ``.png`` and ``.npy`` keep the pixels
        only, without any metadata.
    header
        Shape, dtype, axes and metadata. Whatever the order of the axes in the file, the target's
        array has those of the header.
    overwrite, resume
        Replace an output that is there, and what an interrupted run left of a Zarr output; or go
        on with that.
    chunks, shards, ngff
        Of a Zarr output: blocks in the header's axes, and the version, ``0.5`` or ``0.4``.

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
    path = _local_output(path)
    suffix = _output_suffix(path, blocked=bool(chunks or shards))
    noted = json.loads(json.dumps(header.provenance, default=_plain))
    header = replace(header, dtype=header.dtype.newbyteorder("="), provenance=noted)
    check_kind(header.dtype, header.shape, str(path))
    _check_free(path, suffix, overwrite)
    if suffix != ".zarr":
        return _create_file(path, suffix, header)
    unfinished = path.with_name(f"{path.name}.part")
    with _locked(path) as lock:
        if unfinished.exists() and not (resume or overwrite):
            raise FileExistsError(
                f"{unfinished}: an interrupted run left this; resume it, or allow overwriting"
            )
        from .ome_zarr_writer import create_ngff

        return create_ngff(
            path, header, lock, resume=resume, chunks=chunks, shards=shards, version=ngff
        )


def _open(path: Path | str, axes: str | None, fallback: bool) -> Image:
    """Open an image, and turn whatever decoders raise on damaged files into one line."""
    url = as_url(path)
    location = (local_path(url) or url) if url else Path(path)
    kind = _kind(location)
    try:
        image = _reader(kind)(location, axes, fallback)
    except MemoryError:
        raise _too_large(str(location)) from None
    except Exception as error:
        if isinstance(error, ValueError | OSError) and str(error).startswith(str(location)):
            raise  # one line already, of the image or of what lies in it
        raise ValueError(
            f"{location}: expected a {kind} image, got a damaged or unknown file "
            f"({one_line(error)}); copy or export it again"
        ) from None
    check_kind(image.array.dtype, image.array.shape, str(location))
    return image


def _kind(location: Path | str) -> str:
    """Return the suffix of the format of an image that is there."""
    if isinstance(location, str):
        return ".zarr"
    if is_zarr(location):
        return ".zarr"
    if location.is_dir():
        raise ValueError(f"expected an image file, got the folder {location}; name a file in it")
    suffix = image_suffix(location)
    file = split_scene(location)[0]
    if not file.exists():
        raise FileNotFoundError(f"expected an image file, {file} does not exist; check the name")
    if suffix == ".zarr":
        raise ValueError(f"{file}: expected a Zarr folder, got a file; unpack it")
    with file.open("rb") as opened:  # raises where reading is not allowed
        if not opened.read(1):
            raise ValueError(f"{file}: expected an image, got an empty file; copy it again")
    return suffix


def _reader(suffix: str) -> Callable[[Any, str | None, bool], Image]:
    """Return the reader of a format; formats are imported where they are needed."""
    if suffix == ".zarr":
        from .ome_zarr import open_ngff

        return open_ngff
    if suffix in PLUGINS:
        from .vendor import open_vendor

        return open_vendor
    if suffix in (".tif", ".tiff"):
        from .tiff import open_tiff

        return open_tiff
    from .plain import open_npy, open_png

    return open_npy if suffix == ".npy" else open_png


def _too_large(name: str) -> ValueError:
    return ValueError(
        f"{name}: expected an image that fits into memory, got a larger one or a damaged file; "
        "open it with open_image, split it, or copy it again"
    )


def _check_plausible(image: Image) -> None:
    """Refuse a local Zarr of a large shape that holds next to nothing: the shape is damaged."""
    if not (isinstance(image.source, Path) and image.source.is_dir()):
        return
    size, stored = image.array.nbytes, 1
    if size > 2**28:
        stored = sum(f.stat().st_size for f in image.source.rglob("*") if f.is_file())
    if size > max(_PLAUSIBLE * stored, 2**28) or missing_chunks(image) > _SPARSE:
        raise ValueError(
            f"{image.source}: expected pixels of shape {image.array.shape}, got next to none on "
            "the disk; copy it again, or open it with open_image and read it in parts"
        )


def _local_output(path: Path | str) -> Path:
    """Return the absolute path of an output, which other processes can open too."""
    url = as_url(path)
    local = Path(path) if url is None else local_path(url)
    if local is None:
        raise ValueError(f"{url}: expected an output on this machine, got a URL; copy it there")
    return local.absolute()


def _plain(value: Any) -> object:
    """Write what JSON does not know as numbers and lists, or else as text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _output_suffix(path: Path, blocked: bool) -> str:
    suffix = image_suffix(path)
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: expected an output of {', '.join(SUFFIXES)}, got {suffix}, which is only "
            "read; write .ome.tif"
        )
    if blocked and suffix != ".zarr":
        raise ValueError(
            f"{path}: expected chunks and shards for .zarr only, got them for {suffix}; leave "
            "them out"
        )
    return suffix


def _check_free(path: Path, suffix: str, overwrite: bool) -> None:
    """Raise unless an output may take this name."""
    if path.is_dir() and not (suffix == ".zarr" and is_zarr(path)):
        raise FileExistsError(f"expected a file name to write, got the folder {path}")
    if suffix == ".zarr" and path.is_file():
        raise FileExistsError(f"expected a Zarr folder to write, got the file {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name or allow overwriting")


def _create_file(path: Path, suffix: str, header: Header) -> Target:
    """Create an output that is one file."""
    from .plain import check_png, create_npy, write_png
    from .tiff_writer import check_tiff, create_tiff

    partial = path.with_name(f".{path.name}.part")
    if suffix == ".png":
        check_png(path, header)
    elif suffix != ".npy":
        check_tiff(path, header)
    with _locked(path) as lock:
        if suffix == ".png":
            array = np.zeros(header.shape, header.dtype)
            return Target(path, partial, lock, array, lambda: write_png(partial, array))
        try:
            pixels: Any = create_npy(partial, header) if suffix == ".npy" else None
            if pixels is None:
                ome = path.with_suffix("").suffix.lower() == ".ome"
                pixels = create_tiff(partial, header, ome=ome)
        except BaseException:
            remove(partial)
            raise
        return Target(path, partial, lock, pixels, lambda: None)


@contextmanager
def _locked(path: Path) -> Iterator[Lock]:
    """Make an output's folder and take its lock; give it back where creating the output fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


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
