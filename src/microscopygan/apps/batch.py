"""Restore images from the command line: what the options mean, progress, a line for each image."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..image.formats import (
    as_url,
    bare_name,
    contents,
    format_of,
    is_image_folder,
    is_output,
    is_zarr,
    list_images,
    output_exists,
    output_name,
    output_place,
    split_part,
    unfinished,
    without_secrets,
)
from ..restoration.models import GENERALIST, MODELS

if TYPE_CHECKING:
    from ..restoration.model import Restorer

FAILURES = (
    ValueError,
    OSError,
    MemoryError,
    ModuleNotFoundError,
)  # what an image or its output may raise
_OF_MODEL = {"device", "defect", "strength"}
_TILE = 256  # pixels; side of the plane by which the speed of a model is measured


def restore_batch(
    images: Sequence[Path | str],
    output: Path | str,
    model: Path | str = GENERALIST,
    *,
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    **options: Any,
) -> dict[Path | str, Exception]:
    """Restore images one after the other and print what became of each.

    Parameters
    ----------
    images
        Files, folders, quoted patterns, URLs.
    output
        A folder or its URL; or, for one image, a file or Zarr name.
    model
        The name of a model that ships, a ``restorer.onnx``, or a package of BioImage.IO.
    overwrite
        Replace outputs that exist.
    resume
        Go on with outputs that an interrupted run left unfinished, also in place of others; keep
        those that are finished, unless `overwrite`.
    strict
        Stop at the first image that cannot be restored.
    quiet
        Print nothing but errors and what `as_json` asks for.
    as_json
        Print one JSON object a line for each image, failures included, and no progress bar.
    options
        Further arguments of `restore_file`.

    Returns
    -------
    dict
        What is wrong with those of several images that could not be restored.

    Raises
    ------
    ValueError, OSError
        As for `outputs_of` and `load`; as for `restore_file` where there is one image only.
    """
    from ..restoration.api import load, restore_file

    tell: Callable[[str], None] = (lambda line: None) if quiet or as_json else say
    alone = bool(options.get("this_file"))
    pairs = outputs_of(images, output, overwrite=overwrite or resume, this_file=alone)
    keep = resume and not overwrite
    waiting = [(source, path) for source, path in pairs if not (keep and _is_done(path))]
    if kept := len(pairs) - len(waiting):
        tell(f"{kept} of {len(pairs)} outputs were finished before and are kept.")
    how = {name: options.pop(name) for name in _OF_MODEL & set(options)}
    limit = {"timeout": options["timeout"]} if "timeout" in options else {}
    restorer = load(model, threads=options.get("threads"), **how, **limit)
    options |= {"model": restorer, "overwrite": overwrite, "resume": resume}
    failures: dict[Path | str, Exception] = {}
    for source, path in waiting:
        about: dict[str, Any] = {"input": _shown(source), "output": _shown(path)}
        try:
            with _progress(_shown(source), quiet or as_json) as bar, _how_to_go_on(path, tell):
                done = restore_file(source, path, progress=bar, **options)
        except FAILURES as error:
            failures[source] = error
            about["error"] = one_line(error)
        else:
            speed = done.pixels / 1e6 / max(done.seconds, 1e-9)
            about |= {"pixels": done.pixels, "seconds": done.seconds}
            about |= {"megapixels_per_second": speed, "notes": done.notes}
            tell(f"{_shown(path)}  ({speed:.1f} megapixels/s)")
            for note in done.notes:
                tell(f"  {note}")
        if as_json:
            say(json.dumps(about))
        if failures and (strict or len(pairs) == 1):
            break
    if failures and len(pairs) == 1:
        raise failures[source]
    list_failures(failures, len(waiting), "restored")
    return failures


def list_failures(failures: dict[Path | str, Exception], number: int, done: str) -> None:
    """Print to the error stream which of so many images could not be ``done``, and why."""
    if not failures:
        return
    print(f"microscopygan: {len(failures)} of {number} images not {done}:", file=sys.stderr)
    for source, error in failures.items():
        line = one_line(error)
        name = printable(_shown(source))
        named = line if name in line else f"{name}: {line}"
        print(f"  {named}", file=sys.stderr)


def list_models(*, as_json: bool = False) -> None:
    """Print the models that ship: size, defects, speed on this machine, page.

    Parameters
    ----------
    as_json
        Print one JSON object a line for each.
    """
    from ..restoration.model import Restorer

    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    for name, row in MODELS.items():
        restorer = Restorer(name)
        card, size, speed = restorer.card, row.path.stat().st_size, _network_speed(restorer)
        if as_json:
            about = {"name": name, "file": str(row.path), "bytes": size, "card": row.page}
            about |= {"parameters": row.parameters, "megapixels_per_second": round(speed, 2)}
            about |= {"device": restorer.device, "threads": restorer.threads}
            about |= card.model_dump(include={"defects", "hints", "halo", "outputs", "planes"})
            print(json.dumps(about | {"licence": card.licence}))
            continue
        console.print(f"{name}  ({size / 1e6:.1f} MB, {row.parameters:,} parameters)")
        console.print(f"  restores: {', '.join(card.defects)}")
        console.print(f"  hints:    {', '.join(card.hints) or 'none'}")
        console.print(f"  speed:    {speed:.1f} megapixels/s here ({restorer.device})")
        console.print(f"  card:     {row.page}")


def _network_speed(restorer: Restorer) -> float:
    """Measure megapixels a second of the network on a small plane, the best of three."""
    import numpy as np

    plane = np.random.default_rng(0).random((_TILE, _TILE), np.float32)
    restorer.restore_plane(plane)  # prepares what later runs find ready
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        restorer.restore_plane(plane)
        seconds.append(time.perf_counter() - start)
    return plane.size / 1e6 / min(seconds)


def outputs_of(
    images: Sequence[Path | str], output: Path | str, *, overwrite: bool, this_file: bool = False
) -> list[tuple[Path | str, Path | str]]:
    """Pair each input image with its output; nothing is written where any output exists.

    A single image may have a file name as its output; several, or a folder, take a folder. At a
    URL, all outputs are Zarr.

    Raises
    ------
    FileNotFoundError
        No such input.
    ValueError
        No images, two outputs of one name, or an output that is an input.
    FileExistsError
        An output exists and `overwrite` is not set.
    """
    sources = list_images(images, sets=not this_file)
    if not sources:
        raise ValueError(f"{', '.join(map(str, images))}: expected images, found none")
    folder, url = Path(output), as_url(output)
    named = is_output(folder) and (bool(url) or is_zarr(folder) or not folder.is_dir())
    pairs: list[tuple[Path | str, Path | str]]
    if len(sources) == 1 and named and not _is_folder(images[0]):
        pairs = [(sources[0], folder)]
    elif named and len(images) == 1 and len({split_part(Path(one))[0] for one in sources}) == 1:
        pairs = [(source, folder / str(split_part(Path(source))[1])) for source in sources]
    else:
        pairs = _in_folder(sources, folder, this_file)
    if url:
        pairs = [(source, output_place(_as_zarr(Path(path)))) for source, path in pairs]
    names = [path for _, path in pairs]
    for path in names:
        if names.count(path) > 1:
            raise ValueError(
                f"{Path(path).name}: expected different names, got two; restore them apart"
            )
    for source, path in pairs:
        if isinstance(source, Path) and isinstance(path, Path) and _is_part_of(path, source):
            raise ValueError(f"{path}: the output is the input; choose another folder")
        if not overwrite and output_exists(path):
            raise FileExistsError(f"{_shown(path)} exists; give --overwrite, or another output")
    return pairs


def _as_zarr(path: Path) -> Path:
    """Name a Zarr after an output that would be a file."""
    if format_of(path).folder:
        return path
    return path.with_name(f"{bare_name(path)}.ome.zarr")


def _shown(place: Path | str) -> str:
    """Name a file or a URL without the secrets of the latter."""
    return without_secrets(str(place)) if as_url(place) else str(place)


def _in_folder(
    images: Sequence[Path | str], output: Path, this_file: bool
) -> list[tuple[Path | str, Path | str]]:
    """Name the outputs in a folder; sets of one name are named after their first file."""
    names = [output_name(source, this_file=this_file) for source in images]
    return [
        (source, output / (output_name(source, this_file=True) if names.count(name) > 1 else name))
        for source, name in zip(images, names, strict=True)
    ]


def _is_part_of(path: Path, source: Path) -> bool:
    """Whether a file is one of those that an image lies in."""
    return path.exists() and any(path.samefile(file) for file in contents(source).files)


def _is_folder(image: Path | str) -> bool:
    return Path(image).is_dir() and not is_image_folder(Path(image))


@contextmanager
def _progress(name: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with megapixels per second and the time left; yield what moves it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, markup=False, emoji=False)
    hidden = hidden or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        shown = bar.add_task(printable(Path(name).name), total=None, speed="")

        def move(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            text = f"{speed / 1e6:.1f} megapixels/s" if speed else ""
            bar.update(shown, completed=done, total=total, speed=text)

        yield move


@contextmanager
def _how_to_go_on(path: Path | str, tell: Callable[[str], None]) -> Iterator[None]:
    """Say, where an output is interrupted, that it can be resumed."""
    try:
        yield
    except (KeyboardInterrupt, OSError) as error:
        stopped = isinstance(error, KeyboardInterrupt)
        if format_of(Path(path)).resumes and (stopped or _is_begun(path)):
            how = "Interrupted." if stopped else "What is finished was kept."
            tell(f"{how} The same command with --resume goes on with {_shown(path)}.")
        raise


def _is_done(path: Path | str) -> bool:
    """Whether an output is finished, and none is being made in its place."""
    return output_exists(path) and unfinished(path) is None


def _is_begun(path: Path | str) -> bool:
    """Whether there is an unfinished output; not, where that cannot be found out."""
    try:
        return unfinished(path) is not None
    except (ValueError, OSError):
        return False


def one_line(error: BaseException) -> str:
    """Say what an exception says in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    return printable(" ".join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    r"""Write what steers a terminal, as names of files may hold it, as it is written in Python.

    Examples
    --------
    >>> print(printable("\x1b[31ma.tif"))
    \x1b[31ma.tif
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def say(line: str) -> None:
    """Print a line; that nobody reads any more what is printed ends no work."""
    try:
        print(printable(line), flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
