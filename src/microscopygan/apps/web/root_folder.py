"""The folder that is shown to choose images from: nothing outside of it is named or opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...image.formats import contents, format_of, is_image_folder

RESULTS = "restored"
_MOST = 2_000  # entries of a folder that are shown
_MODELS = ("*.onnx", "*/*.onnx", "*/*/*.onnx")
_MOST_MODELS = 50


@dataclass(frozen=True)
class RootFolder:
    """A folder below which images may be opened.

    Attributes
    ----------
    path
        Resolved.
    """

    path: Path

    @staticmethod
    def of(path: Path) -> RootFolder:
        """Return a folder as a root.

        Raises
        ------
        ValueError
            There is no such folder.
        """
        if not path.is_dir():
            raise ValueError(f"--root: expected a folder, got {path}; check the name")
        return RootFolder(path.resolve())

    def resolve(self, relative: str) -> Path:
        """Return what a path with slashes, relative to the root, names.

        Raises
        ------
        ValueError
            It leads out of the root, also by a link, or names nothing.
        """
        parts = PurePosixPath(relative).parts
        strange = re.search(r"[\\:\x00]", relative) or relative.startswith("/") or ".." in parts
        try:
            place = None if strange else self.path.joinpath(*parts).resolve(strict=True)
        except (OSError, RuntimeError):
            place = None
        if place is None or not place.is_relative_to(self.path):
            raise ValueError(f"expected an image of the folder, got {relative[:200]!r}")
        return place

    def name(self, path: Path) -> str:
        """Return a path below the root, relative to it, with slashes."""
        return path.relative_to(self.path).as_posix()

    def entries(self, relative: str) -> dict[str, Any]:
        """List the folders and the images of a folder, by name; what is hidden is left out."""
        folder = self.resolve(relative)
        if not folder.is_dir() or is_image_folder(folder):
            raise ValueError(f"expected a folder, got {relative[:200]!r}")
        folders, images = [], []
        for inner in sorted(folder.iterdir(), key=lambda path: path.name.lower())[:_MOST]:
            if inner.name.startswith(".") or not self._lies_inside(inner):
                continue
            if _is_image(inner):
                size = 0 if inner.is_dir() else inner.stat().st_size
                images.append({"name": inner.name, "path": self.name(inner), "bytes": size})
            elif inner.is_dir():
                folders.append({"name": inner.name, "path": self.name(inner)})
        return {"folder": self.name(folder), "folders": folders, "images": images}

    def models(self) -> list[str]:
        """List the models below the root, at most two folders deep."""
        found = (path for pattern in _MODELS for path in sorted(self.path.glob(pattern)))
        inside = (path for path in found if path.is_file() and self._lies_inside(path))
        return [self.name(path) for path, _ in zip(inside, range(_MOST_MODELS), strict=False)]

    def holds_all_of(self, source: Path) -> bool:
        """Whether all files that an image lies in are below the root."""
        return all(file.resolve().is_relative_to(self.path) for file in contents(source).files)

    def _lies_inside(self, path: Path) -> bool:
        try:
            return path.resolve(strict=True).is_relative_to(self.path)
        except (OSError, RuntimeError):
            return False


def _is_image(path: Path) -> bool:
    """Whether a file or a folder is an image, by its name or its metadata."""
    if path.is_dir():
        return is_image_folder(path)
    try:
        form = format_of(path)
    except ValueError:
        return False
    return form.opens is not None and not form.folder
