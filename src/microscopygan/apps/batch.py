"""Restore images from the command line: what the options mean, progress, a line for each image."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..image.formats import format_of
from .flow import outputs_of

if TYPE_CHECKING:
    from ..restoration.model import Restorer

_OF_MODEL = {"device", "threads", "defect", "strength"}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def restore_batch(
    images: Sequence[Path | str],
    output: Path,
    model: Path | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    **options: Any,
) -> None:
    """Restore images one after the other and print what became of each.

    Parameters
    ----------
    images
        Files, folders, quoted patterns, URLs.
    output
        A folder; or, for one image, a file or Zarr name.
    model
        A ``restorer.onnx``; the generalist that ships where not given.
    overwrite
        Replace outputs that exist.
    resume
        Keep outputs that exist, and go on with those that an interrupted run left.
    quiet
        Print nothing but errors.
    as_json
        Print one JSON object a line for each image, and no progress bar.
    options
        Further arguments of `restore_file`.

    Raises
    ------
    ValueError, OSError
        As for `outputs_of` and `restore_file`.
    """
    from ..restoration.api import load, restore_file
    from ..restoration.models import GENERALIST

    console = Console(quiet=quiet, soft_wrap=True)
    chosen = outputs_of(images, output, overwrite=overwrite or resume)
    if resume:
        chosen = [(source, path) for source, path in chosen if not path.exists()]
    network: Path | str | Restorer = model or GENERALIST
    if options.get("scheduler") is None and options.get("workers", 1) == 1:  # opened once for all
        network = load(network, **{name: options.pop(name) for name in _OF_MODEL & set(options)})
    for source, path in chosen:
        with _progress(str(source), quiet or as_json) as progress, _how_to_go_on(path, console):
            done = restore_file(
                source,
                path,
                network,
                overwrite=overwrite,
                resume=resume,
                progress=progress,
                **options,
            )
        speed = done.pixels / 1e6 / max(done.seconds, 1e-9)
        if as_json:
            about = {"input": str(source), "output": str(path), "pixels": done.pixels}
            about |= {"seconds": done.seconds, "megapixels_per_second": speed, "notes": done.notes}
            console.print_json(json.dumps(about), indent=None, highlight=False)
            continue
        console.print(f"{path}  ({speed:.1f} megapixels/s)", highlight=False)
        for note in done.notes:
            console.print(f"  {note}", highlight=False)


def parse_bytes(text: str) -> int:
    """Read a size of memory such as ``2GB``, ``1500 MB`` or a number of bytes.

    Examples
    --------
    >>> parse_bytes("1.5GB")
    1500000000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text.upper())
    unit = "" if found is None else found[2].rstrip("B") + "B"
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"memory: expected a size such as 2GB or 1500MB, got {text!r}")
    return int(float(found[1]) * _UNITS[unit])


def parse_channels(text: str) -> tuple[int, ...]:
    """Read channel numbers such as ``0,2``.

    Examples
    --------
    >>> parse_channels("0,2")
    (0, 2)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"channels: expected numbers from 0 on such as 0,2, got {text!r}"
        ) from None


def parse_voxel_size(text: str) -> dict[str, float]:
    """Read pixel sizes in µm, ``z,y,x`` or ``y,x``.

    Examples
    --------
    >>> parse_voxel_size("0.5,0.1,0.1")
    {'Z': 0.5, 'Y': 0.1, 'X': 0.1}
    """
    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (2, 3) or not all(0 < size < float("inf") for size in sizes):
        raise ValueError(
            f"voxel size: expected positive z,y,x (or y,x) in µm such as 0.5,0.1,0.1, got {text!r}"
        )
    return dict(zip("ZYX"[-len(sizes) :], sizes, strict=True))


@contextmanager
def _progress(name: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with megapixels per second and the time left; yield what moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as bar:
        shown = bar.add_task(Path(name).name, total=None, speed="")

        def move(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            text = f"{speed / 1e6:.1f} megapixels/s" if speed else ""
            bar.update(shown, completed=done, total=total, speed=text)

        yield move


@contextmanager
def _how_to_go_on(path: Path, console: Console) -> Iterator[None]:
    """Say, where an output is interrupted, that it can be resumed."""
    try:
        yield
    except KeyboardInterrupt:
        if format_of(path).resumes:
            console.print(f"Interrupted. The same command with --resume goes on with {path}.")
        raise
