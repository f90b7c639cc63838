"""Read and write images: TIFF, OME-TIFF, ImageJ TIFF, PNG and NPY."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np

from .axes import check_axes
from .tiff import Pixels, read_tiff, write_tiff

SUFFIXES = (".tif", ".tiff", ".png", ".npy")
_BY_NDIM = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}  # axes of NPY files, which name none


@dataclass(frozen=True)
class Image:
    """An image as it lies in its file.

    Attributes
    ----------
    array
        Pixels in the file's dtype and units.
    axes
        One letter of ``TCZYX`` for each dimension of `array`.
    pixel_size
        µm by axis letter, for the axes whose pixel size is known.
    source
        The file it was read from.

    Raises
    ------
    ValueError
        `axes` does not describe `array`, or a pixel size is of no axis or not positive.

    Examples
    --------
    >>> Image(np.zeros((3, 8, 8), np.uint8), "ZYX", {"Y": 0.1, "X": 0.1}).axes
    'ZYX'
    """

    array: np.ndarray
    axes: str
    pixel_size: dict[str, float] = field(default_factory=dict)
    source: Path | None = None

    def __post_init__(self) -> None:
        check_axes(self.axes, self.array.ndim, str(self.source or "image"))
        for letter, size in self.pixel_size.items():
            if letter not in self.axes or not (np.isfinite(size) and size > 0):
                raise ValueError(
                    f"{self.source or 'image'}: expected positive pixel sizes in µm of the axes "
                    f"{self.axes}, got {letter!r}: {size}; leave out what is not known"
                )


def read(path: Path | str) -> Image:
    """Read an image file.

    Parameters
    ----------
    path
        ``.tif``, ``.tiff`` (OME, ImageJ or plain), ``.png`` (grey, 8 or 16 bits) or ``.npy``
        (2-D: YX, 3-D: ZYX, 4-D: TZYX, 5-D: TCZYX; a last axis of length 1 is dropped).

    Returns
    -------
    Image with the file's dtype (native byte order) and intensities, the axes and the pixel size
    its metadata state, and `source`.

    Raises
    ------
    FileNotFoundError, OSError
        The file does not exist or may not be read.
    ValueError
        An unknown suffix, an empty or damaged file, a colour image, or pixels that
        `check_pixels` refuses. The message names the file.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"expected an image file, {path} does not exist; check the name")
    if path.is_dir():
        raise ValueError(f"expected an image file, got the folder {path}; name a file in it")
    with path.open("rb") as file:  # raises where reading is not allowed
        if not file.read(1):
            raise ValueError(f"{path}: expected an image, got an empty file; copy it again")
    try:
        array, axes, pixel_size = _READERS[suffix](path)
    except MemoryError:
        raise ValueError(
            f"{path}: expected an image that fits into memory, got a larger one or a damaged "
            "file; split it or copy it again"
        ) from None
    except Exception as error:  # decoders raise anything on damaged files
        if isinstance(error, ValueError) and str(error).startswith(f"{path}:"):
            raise
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(
            f"{path}: expected a {suffix} image, got a damaged or unknown file ({detail}); "
            "copy or export it again"
        ) from None
    check_pixels(array, str(path))
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Image(array, axes, pixel_size, path)


def write(path: Path | str, image: Image, *, overwrite: bool = False) -> Path:
    """Write an image file completely or not at all.

    Parameters
    ----------
    path
        The suffix chooses the format. ``.ome.tif`` gives OME-TIFF; ``.tif`` gives ImageJ TIFF
        where that holds the image (uint8, uint16, float32, axes in the order TZCYX), else
        OME-TIFF. Both keep axes and pixel size, with Y and X last. ``.png`` and ``.npy`` keep
        the pixels only. The folder is made where missing.
    image
        What to write.
    overwrite
        Replace a file that is there.

    Returns
    -------
    The path.

    Raises
    ------
    FileExistsError
        The file exists and `overwrite` is not set.
    ValueError
        An unknown suffix, or an image that the format cannot hold.
    OSError
        The folder may not be written to, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    suffix = _suffix(path)
    if path.is_dir():
        raise FileExistsError(f"expected a file name to write, got the folder {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name or allow overwriting")
    check_pixels(image.array, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as file:
        if suffix == ".npy":
            np.save(file, image.array, allow_pickle=False)
        elif suffix == ".png":
            file.write(_png(image, path))
        else:
            ome = path.with_suffix("").suffix.lower() == ".ome"
            write_tiff(file, image.array, image.axes, image.pixel_size, ome=ome)
    return path


def list_images(paths: Iterable[Path | str]) -> list[Path]:
    """List image files: those named, and those directly in the folders named.

    Parameters
    ----------
    paths
        Files and folders. Of a folder, files with a known suffix; hidden files are left out.

    Returns
    -------
    Sorted, each once; empty where the folders hold no image.

    Raises
    ------
    FileNotFoundError
        A path does not exist.
    ValueError
        A file that is named has an unknown suffix.
    """
    found: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            found.update(p for p in path.iterdir() if _is_image(p))
        elif path.exists():
            _suffix(path)
            found.add(path)
        else:
            raise FileNotFoundError(
                f"expected an image file or folder, {path} does not exist; check the name"
            )
    return sorted(found)


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
    if array.dtype.kind not in "uif" or array.dtype.itemsize > 8:
        raise ValueError(
            f"{name}: expected integer or float pixels of at most 64 bits, got {array.dtype}; "
            "convert it to uint16 or float32"
        )
    if array.size == 0:
        raise ValueError(
            f"{name}: expected an image with pixels, got shape {array.shape}; export it again"
        )
    if array.dtype.kind == "f":
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise ValueError(
                f"{name}: expected finite pixels, got {bad} NaN or infinite of {array.size}; "
                "replace them before"
            )
    if not allow_constant and array.min() == array.max():
        raise ValueError(
            f"{name}: expected an image with structure, got one where all pixels are "
            f"{array.flat[0]}; leave it out"
        )


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: expected an image file ({', '.join(SUFFIXES)}), got suffix {suffix!r}; "
            "convert it to .tif"
        )
    return suffix


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()


def _read_png(path: Path) -> Pixels:
    array = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    if array.ndim != 2:
        raise ValueError(
            f"{path}: expected grey values, got a colour image or one with transparency (shape "
            f"{array.shape}); save it as 8- or 16-bit grey"
        )
    return array, "YX", {}


def _read_npy(path: Path) -> Pixels:
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim > 2 and array.shape[-1] in (3, 4) and array.shape[-2] > 4:
        raise ValueError(
            f"{path}: expected grey values, got shape {array.shape}, a colour image (RGB); save "
            "each channel as a file of its own"
        )
    if array.ndim not in _BY_NDIM:
        raise ValueError(
            f"{path}: expected 2 to 5 dimensions, got shape {array.shape}; save planes as "
            "(Y, X) or stacks as (N, Y, X)"
        )
    return array, _BY_NDIM[array.ndim], {}


_READERS = {".tif": read_tiff, ".tiff": read_tiff, ".png": _read_png, ".npy": _read_npy}


def _png(image: Image, path: Path) -> bytes:
    if image.axes != "YX" or image.array.dtype.name not in ("uint8", "uint16"):
        raise ValueError(
            f"{path}: expected one uint8 or uint16 plane (YX) for PNG, got "
            f"{image.array.dtype} {image.axes}; write .tif"
        )
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image.array)))


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path` that takes its place at the end, or is removed on failure."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(descriptor)  # opened again by name: tifffile asks the file for it
    partial = Path(name)
    try:
        with partial.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
