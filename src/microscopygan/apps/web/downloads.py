"""Results on their way to the browser: files as they are, folders and several files as one zip."""

from __future__ import annotations

import io
import secrets
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .images import PageImage

_SECONDS = 60  # that an address may be used
_STEP = 2**20  # bytes that are sent at once


@dataclass(frozen=True)
class Ticket:
    """What one address gives, once.

    Attributes
    ----------
    name
        Of the file.
    files
        What it holds: names in a zip, and where they are.
    images
        Whose results these are.
    until
        On the clock of `time.monotonic`.
    """

    name: str
    files: tuple[tuple[str, Path], ...]
    images: tuple[PageImage, ...]
    until: float


class Tickets:
    """One-time addresses: a browser's own download can send no token."""

    def __init__(self) -> None:
        self._open: dict[str, Ticket] = {}

    def make(self, images: Sequence[PageImage]) -> str:
        """Return the last part of an address for the results of some images.

        Raises
        ------
        ValueError
            None of them has a result.
        """
        done = tuple(image for image in images if image.result is not None)
        if not done:
            raise ValueError("expected restored images, got none; restore them first")
        return self._add(_name(done), _results(done), done)

    def make_for(self, name: str, path: Path) -> str:
        """Return the last part of an address for a file.

        Parameters
        ----------
        name
            What the browser calls it.
        path
            Where it is.

        Raises
        ------
        ValueError
            There is no such file.
        """
        if not path.is_file():
            raise ValueError(f"expected {name}, which is not there; make it first")
        return self._add(name, [(name, path)], ())

    def _add(
        self, name: str, files: Sequence[tuple[str, Path]], images: tuple[PageImage, ...]
    ) -> str:
        key, now = secrets.token_urlsafe(24), time.monotonic()
        self._open = {k: one for k, one in self._open.items() if one.until > now}
        self._open[key] = Ticket(name, tuple(files), images, now + _SECONDS)
        return key

    def take(self, key: str) -> Ticket:
        """Return what an address gives; it is used up.

        Raises
        ------
        KeyError
            There is no such address, or not any more.
        """
        ticket = self._open.pop(key)
        if ticket.until < time.monotonic():
            raise KeyError(key)
        return ticket


def content(ticket: Ticket) -> Iterator[bytes]:
    """Yield what is downloaded, in parts; the images count as fetched at the end."""
    single = len(ticket.files) == 1 and not ticket.files[0][1].is_dir()
    yield from _parts(ticket.files[0][1]) if single else zipped(ticket.files)
    for image in ticket.images:
        image.fetched = True


def disposition(name: str) -> str:
    """Return the header that names a download.

    Examples
    --------
    >>> disposition("Zellen ä.tif")
    "attachment; filename*=UTF-8''Zellen%20%C3%A4.tif"
    """
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def zipped(results: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield a zip of files and folders, stored as they are, in bounded memory.

    Parameters
    ----------
    results
        Name in the zip, and where it is.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as packed:
        for name, path in results:
            for inner, file in _files(name, path):
                with packed.open(
                    zipfile.ZipInfo.from_file(file, inner), "w", force_zip64=True
                ) as t:
                    for part in _parts(file):
                        t.write(part)
                        yield pipe.taken()
    yield pipe.taken()


class _Pipe(io.RawIOBase):
    """Takes what a zip writes, and gives it on."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, part: object) -> int:
        view = memoryview(part)  # type: ignore[arg-type]
        self._waiting += view
        return view.nbytes

    def taken(self) -> bytes:
        part = bytes(self._waiting)
        self._waiting.clear()
        return part


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_STEP):
            yield part


def _files(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    if not path.is_dir():
        yield name, path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield f"{name}/{file.relative_to(path).as_posix()}", file


def _results(images: Sequence[PageImage]) -> list[tuple[str, Path]]:
    """Return the results of images, each with a name of its own."""
    results: dict[str, Path] = {}
    for image in images:
        path = image.result
        if path is None or not path.exists():
            continue
        name, number = image.result_name, 2
        while name in results:
            stem, dot, suffixes = image.result_name.partition(".")
            name, number = f"{stem}_{number}{dot}{suffixes}", number + 1
        results[name] = path
    return list(results.items())


def _name(images: Sequence[PageImage]) -> str:
    """Return the name of the download of some results."""
    if len(images) > 1:
        return "restored.zip"
    (image,) = images
    name = image.result_name.replace("/", "_")
    return f"{name}.zip" if image.result is not None and image.result.is_dir() else name
