"""Files that a browser sends: their names, their size, and where they lie."""

from __future__ import annotations

import math
import re
import secrets
import shutil
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...image.formats import FORMATS, Header, format_of

LARGEST = 4 * 10**9  # bytes of one upload; larger images are opened from the folder --root
_SPARE = 500 * 10**6  # bytes that stay free on the disk
_MOST_FILES = 100_000  # of a Zarr folder
_LONGEST = 200  # bytes of a name
_DEEPEST = 12  # folders inside of a Zarr
_DECODED = 2 * 10**9  # bytes that the pixels of any upload may take
_EXPANDS = 64  # times as many bytes as its file
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
_PNG = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {2: 3, 4: 2, 6: 4}  # of a pixel, by the kind of colour that a PNG states


def check_name(name: str) -> str:
    """Return the name of a file if it can be one on every system, and of no folder.

    Raises
    ------
    ValueError
        It cannot.

    Examples
    --------
    >>> check_name("cells day 3.ome.tif")
    'cells day 3.ome.tif'
    >>> check_name("../cells.tif")
    Traceback (most recent call last):
    ValueError: expected the plain name of a file, got '../cells.tif'; rename it
    """
    odd = re.search(r'[\\/:*?"<>|\x00-\x1f\x7f]', name) or not name.isprintable()
    if odd or name[:1] in ("", ".", " ") or name[-1] in ". " or _RESERVED.fullmatch(name):
        raise ValueError(f"expected the plain name of a file, got {name[:80]!r}; rename it")
    if len(name.encode("utf-8", "replace")) > _LONGEST:
        raise ValueError(f"expected a name of at most {_LONGEST} letters, got {name[:40]}…")
    return name


def check_image_name(name: str, *, folder: bool = False) -> str:
    """Return the name of an image if its suffix is one that is read.

    Parameters
    ----------
    name
        Of a file; with `folder`, of a Zarr.
    folder
        It is to be a folder.

    Raises
    ------
    ValueError
        It is no image by its name, or no plain name.
    """
    form = format_of(Path(check_name(name)))
    if form.opens is None or form.folder != folder:
        able = [s for one in FORMATS if one.opens and one.folder == folder for s in one.suffixes]
        raise ValueError(f"{name}: expected one of {', '.join(able)}")
    return name


def new_place(work: Path, name: str) -> Path:
    """Return where an upload goes: below its user's name in a new folder with a random name."""
    folder = work / secrets.token_hex(16)
    folder.mkdir(mode=0o700)
    return folder / name


def inner_place(zarr: Path, path: str) -> Path:
    """Return where a file of a Zarr goes that is being sent.

    Raises
    ------
    ValueError
        A path that leads out of it, or that no Zarr has.
    """
    parts = PurePosixPath(path).parts
    if not parts or len(parts) > _DEEPEST or path != "/".join(parts):
        raise ValueError(f"expected the path of a file inside of a Zarr, got {path[:80]!r}")
    for part in parts:
        check_name(part.lstrip(".") if part in (".zarray", ".zgroup", ".zattrs") else part)
    return zarr.joinpath(*parts)


@dataclass
class SentFolder:
    """A Zarr folder that is being sent, file by file.

    Attributes
    ----------
    path
        Where it goes.
    taken
        Bytes that are there already.
    """

    path: Path
    taken: int = 0


class Receiver:
    """Writes what is sent to the disk as it comes.

    Parameters
    ----------
    largest
        Bytes of one upload.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest

    async def receive(self, path: Path, content: AsyncIterable[bytes], taken: int = 0) -> int:
        """Write one file; a part of one does not stay.

        Parameters
        ----------
        path
            A new file.
        content
            In parts.
        taken
            Bytes that belong to the same upload and are there already.

        Returns
        -------
        int
            Number of bytes.

        Raises
        ------
        ValueError
            More than is taken.
        OSError
            The disk is full.
        """
        size = 0
        try:
            with path.open("xb") as file:
                async for part in content:
                    size += len(part)
                    self._check(path, taken + size)
                    file.write(part)
        except FileExistsError:
            raise ValueError(f"{path.name}: expected each file once, got it again") from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return size

    def _check(self, path: Path, size: int) -> None:
        if size > self._largest:
            raise ValueError(
                f"{path.name}: expected at most {self._largest / 1e9:g} GB, got more; put it into "
                "a folder, and start with --root FOLDER"
            )
        if shutil.disk_usage(path.parent).free < _SPARE:
            raise OSError(
                f"{path.name}: the disk for temporary files is full; remove images from the list"
            )


def check_count(files: int) -> None:
    """Raise `ValueError` where a Zarr has too many files to be sent."""
    if files > _MOST_FILES:
        raise ValueError(
            f"expected a Zarr of at most {_MOST_FILES:,} files, got more; put it into a folder, "
            "and start with --root FOLDER"
        )


def check_unopened(path: Path) -> None:
    """Raise `ValueError` where a file that is decoded when it is opened states too many pixels."""
    if path.is_dir():
        return
    with path.open("rb") as file:
        start = file.read(26)
    if start[:8] != _PNG or len(start) < 26:
        return
    width, height = (int.from_bytes(start[i : i + 4], "big") for i in (16, 20))
    pixel = max(1, start[24] // 8) * _SAMPLES.get(start[25], 1)
    _check_expansion(path, width * height * pixel, path.stat().st_size)


def check_expansion(path: Path, header: Header) -> None:
    """Raise `ValueError` where an image states far more pixels than its file can mean."""
    size = math.prod(header.shape) * header.dtype.itemsize
    _check_expansion(path, size, stored_bytes(path))


def stored_bytes(path: Path) -> int:
    """Return the size of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _check_expansion(path: Path, pixels: int, stored: int) -> None:
    if pixels > max(_DECODED, _EXPANDS * stored):
        raise ValueError(
            f"{path.name}: expected pixels in proportion to the file, got {pixels / 1e9:.1f} GB of "
            f"them in {stored / 1e6:.1f} MB; put it into a folder, and start with --root FOLDER"
        )
