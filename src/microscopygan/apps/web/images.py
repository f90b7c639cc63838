"""An image of the page: what its file says, what was asked of its user, and what became of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...image.formats import format_of, open_image, output_name, split_part
from ...image.image import Header, Image

State = Literal["asks", "ready", "waiting", "restoring", "done", "stopped", "failed"]
_ANSWERS = {  # what dimensions without names may be; the first is shown until it is said
    3: ("ZYX", "TYX", "CYX"),
    4: ("TZYX", "CZYX", "TCYX"),
    5: ("TCZYX",),
}


@dataclass(eq=False)
class PageImage:
    """An image that is open on the page.

    Attributes
    ----------
    name
        What its user calls it; below --root its path there.
    source
        Where it is.
    folder
        Of an upload, the folder of its own that it lies in; None below --root.
    this_file
        Of an image that lies in several files, this one alone.
    header, answers
        What its file says, and what its axes may be where that says nothing of them; see `look`.
    axes, voxel_size
        What its user said of it, as on the command line.
    state, share, message, notes
        How far its restoration is, and what its user should know.
    result, depth, key
        Its result, how many planes along Z that has, and with which options it was made.
    fetched
        The result has been downloaded, or needs no download.
    """

    name: str
    source: Path
    folder: Path | None
    this_file: bool
    header: Header
    answers: tuple[str, ...] = ()
    axes: str | None = None
    voxel_size: str | None = None
    state: State = "ready"
    share: float = 0.0
    message: str = ""
    notes: tuple[str, ...] = ()
    result: Path | None = None
    depth: int = 1
    key: str = ""
    fetched: bool = False
    identity: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self.state = "asks" if self.answers else "ready"

    @property
    def result_name(self) -> str:
        """What its result is called: as its file, where its format can be written."""
        return output_name(self.source, this_file=self.this_file)

    @property
    def busy(self) -> bool:
        """Whether it waits for its restoration, or is being restored."""
        return self.state in ("waiting", "restoring")

    def open(self) -> Image:
        """Open the image, with the axes that are shown."""
        axes = self.axes or (self.answers[0] if self.answers else None)
        return open_image(self.source, axes=axes, this_file=self.this_file)

    def open_result(self) -> Image:
        """Open the result."""
        if self.result is None:
            raise ValueError(f"{self.name}: expected a restored image, got one that is not yet")
        silent = "axes" not in format_of(self.result).keeps
        return open_image(self.result, axes=self.header.axes if silent else None)

    def tell(self, axes: str | None, voxel_size: str | None) -> None:
        """Take what its user says of it.

        Raises
        ------
        ValueError
            Axes that do not fit it.
        """
        opened = open_image(self.source, axes=axes, this_file=self.this_file) if axes else None
        if opened is not None:
            self.header = opened.header
        self.axes, self.voxel_size = axes, voxel_size
        if self.state in ("asks", "ready"):
            self.state = "asks" if self.answers and axes is None else "ready"

    def described(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        header = self.header
        return {
            "id": self.identity,
            "name": self.name,
            "uploaded": self.folder is not None,
            "shape": list(header.shape),
            "dtype": str(header.dtype),
            "axes": header.axes,
            "pixelSize": header.pixel_size,
            "channels": list(header.channels),
            "answers": list(self.answers),
            "saidAxes": self.axes,
            "saidVoxelSize": self.voxel_size,
            "state": self.state,
            "share": round(self.share, 4),
            "message": self.message,
            "notes": list(self.notes),
            "result": None if self.result is None else self.result_name,
            "resultDepth": self.depth,
            "key": self.key,
            "fetched": self.fetched,
        }


def look(source: Path, *, this_file: bool) -> tuple[Image, tuple[str, ...]]:
    """Open an image, and say what its axes may be where its file does not.

    Returns
    -------
    image : Image
        With the first of the possible axes.
    answers : tuple of str
        Possible axes; none where they are known.

    Raises
    ------
    ValueError, OSError
        It cannot be opened.
    """
    try:
        return open_image(source, this_file=this_file), ()
    except ValueError as error:
        for answers in _ANSWERS.values():
            try:
                return open_image(source, axes=answers[0], this_file=this_file), answers
            except (ValueError, OSError):
                continue
        raise error from None


def output_base(source: Path) -> Path:
    """Return the file of an image, which may be one of several in it."""
    return split_part(source)[0]
