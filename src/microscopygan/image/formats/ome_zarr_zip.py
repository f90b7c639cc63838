"""OME-Zarr in one ZIP file (RFC 9 of OME-NGFF): read by chunk, packed when it is whole."""

import json
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from zarr.storage import ZipStore

from ..atomic import Lock, Target, flush, new_part, remove, replace
from . import ZARR_METADATA, ZIPPED, suffix_of
from .bounded import BoundedStore
from .ome_zarr_writer import LocalFolder

_METADATA = 2**26  # bytes of a file of metadata


def split_zip(location: str) -> tuple[Path, str] | None:
    """Split what lies in a ZIP file from the file; None for places in no such file.

    The folder in which some programs pack the whole Zarr belongs to the place inside.
    """
    path = Path(location)
    for file in (path, *path.parents):
        if suffix_of(file) in ZIPPED and file.is_file():
            return file, f"{_root(file)}/{path.relative_to(file).as_posix()}".strip("./")
    return None


def _root(file: Path) -> str:
    """Name the folder of a ZIP file that is the Zarr; empty where it is the file itself."""
    with zipfile.ZipFile(file) as opened:
        names = opened.namelist()
    tops = {name.split("/")[0] for name in names}
    if len(tops) == 1 and any(name in names for top in tops for name in _metadata(top)):
        return tops.pop()
    return ""


def _metadata(folder: str) -> Iterator[str]:
    return (f"{folder}/{name}" for name in ZARR_METADATA)


def files_in(location: str) -> Iterator[str]:
    """Yield the paths of all files below a place in a ZIP file."""
    file, inner = split_zip(location) or (Path(location), "")
    start = f"{inner}/" if inner else ""
    with zipfile.ZipFile(file) as opened:
        for name in opened.namelist():
            if name.startswith(start):
                yield name[len(start) :]


class ZippedStore(BoundedStore):
    """A Zarr in a ZIP file, for reading."""

    @staticmethod
    def opened(path: Path | str) -> Any:
        """Return the store that is read."""
        return ZipStore(path, mode="r")

    @cached_property
    def _sizes(self) -> dict[str, int]:
        with zipfile.ZipFile(self.path) as opened:
            return {entry.filename: entry.file_size for entry in opened.infolist()}

    async def _check_stored(self, key: str) -> None:
        """Refuse what the ZIP's own compression hides."""
        most = self.limit.stored if self.limit else _METADATA
        most = _METADATA if key.endswith(ZARR_METADATA) else most
        size = self._sizes.get(key, 0)
        if size > most:
            raise ValueError(f"{key} would take {size} bytes, which is an attack or damage")


class ZippedFolder(LocalFolder):
    """A Zarr output that becomes one ZIP file when it is whole; until then, it is a folder.

    Parameters
    ----------
    path
        The file.
    version
        Of NGFF.
    """

    def __init__(self, path: Path, version: str) -> None:
        super().__init__(path)
        self._version = version

    def target(self, lock: Lock, *rest: Any) -> Target:
        """Return the output being written."""
        target = _ZippedTarget(self.path, self.part, lock, *rest)
        target.version = self._version
        return target


class _ZippedTarget(Target):
    """An output that is packed at the end; it takes its space on the disk twice until then."""

    version = ""

    def publish(self) -> None:
        """Pack what is complete, and give it its final name."""
        part = new_part(self.path.with_name(f".{self.path.name}.part"))
        try:
            _pack(self.partial, part, self.version)
            flush(part)
            replace(part, self.path)
        finally:
            remove(part)
        remove(self.partial)


def _pack(folder: Path, part: Path, version: str) -> None:
    """Write a folder as a ZIP file, metadata first, those of the root before all others."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    order = sorted(files, key=lambda p: (p.name not in ZARR_METADATA, len(p.parts), p.as_posix()))
    with part.open("r+b") as raw, zipfile.ZipFile(raw, "w") as packed:
        about = {"version": version, "zipFile": {"centralDirectory": {"jsonFirst": True}}}
        packed.comment = json.dumps({"ome": about}).encode()
        for file in order:
            entry = zipfile.ZipInfo(file.as_posix())  # of no date, so that bytes do not differ
            entry.file_size = (folder / file).stat().st_size
            entry.external_attr = 0o644 << 16
            with (folder / file).open("rb") as source, packed.open(entry, "w") as stored:
                while block := source.read(2**20):
                    stored.write(block)
