"""Restore files of any size: opened lazily, restored block by block, written by region."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .. import __version__
from ..image.formats import (
    FORMATS,
    Header,
    Image,
    Target,
    create,
    format_of,
    missing_chunks,
    open_image,
)
from .api import load
from .intensity_maps import Scales
from .job import BlockRestorer, Job, Progress, Report, check_resumed, counting, marked_blocks
from .model import GENERALIST, Restorer, processors
from .plan import free_memory, plan
from .tasks import Options, Task, choose_task, output_pixel_size

_CLUSTER_MEMORY = 2 * 10**9  # bytes for each thread of a cluster
_AXIAL_CHUNKS = {"Z": 32, "Y": 256, "X": 256}  # pixels; windows are the better the more Z they hold


@dataclass(frozen=True)
class Restored:
    """What became of a file.

    Attributes
    ----------
    path
        The output.
    pixels
        Number of pixels of the output.
    seconds
        From opening the input to the finished output.
    notes
        What a user should know about the result, a sentence each.
    """

    path: Path
    pixels: int
    seconds: float
    notes: tuple[str, ...]


def restore_file(
    input: Path | str,
    output: Path | str,
    model: Path | str | Restorer = GENERALIST,
    *,
    axes: str | None = None,
    pixel_size: dict[str, float] | None = None,
    channels: Iterable[int] | None = None,
    intensity: str = "volume",
    dtype: str = "same",
    task: str = "plane",
    keep_sampling: bool = False,
    memory: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    defect: str | Iterable[str] = (),
    strength: float = 1.0,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Restored:
    """Restore an image file.

    Parameters
    ----------
    input
        An image file or a Zarr folder or URL, see `open_image`.
    output
        Its suffix chooses the format, see `create`. Appears when it is complete.
    model, axes, pixel_size, channels, intensity, dtype, task, keep_sampling
        As for `restore`.
    device, defect, strength
        As for `restore`.
    memory
        Bytes that the program may take, all its workers together; half of what is free where not
        given. On a cluster those of each of its threads, 2 GB. The input's size does not matter.
    threads
        Threads of the network, of each worker; the processors divided by the workers where not
        given, one on a cluster.
    workers
        Processes of this machine; several need a Zarr output. A script that asks for several
        must start its work below ``if __name__ == "__main__":``.
    scheduler
        Address of a running Dask cluster, which does the work instead; needs a Zarr output.
    overwrite
        Replace an output that is there.
    resume
        Go on with what an interrupted run with the same options left of a Zarr output.
    progress
        Called after each block with the numbers of pixels done and in all.

    Returns
    -------
    Restored

    Raises
    ------
    ValueError
        Options that do not fit the image or the output, damaged, NaN or infinite pixels, or an
        output that is the input.
    FileExistsError
        The output is there, or another run writes it.
    FileNotFoundError, OSError
        A file cannot be read or written, the disk is full, or workers keep dying.
    MemoryError
        It takes more memory; the message says how much.
    """
    start = time.perf_counter()
    output = Path(output).absolute()
    if scheduler is not None and "://" not in str(input):
        input = Path(input).absolute()  # the cluster's processes run in other folders
    image = open_image(input, axes=axes)
    if pixel_size is not None:
        image = replace(image, pixel_size=image.pixel_size | pixel_size)
    several = workers > 1 or scheduler is not None
    _check_output(image, output, several=several, overwrite=overwrite)
    share = _share(threads, workers, scheduler)
    restorer = load(model, device=device, threads=share, defect=defect, strength=strength)
    if restorer is model and share < restorer.threads:
        how = (restorer.told, restorer.strength)
        restorer = Restorer(restorer.path, restorer.device, share, *how)
    options = Options(
        task, intensity, None if channels is None else tuple(channels), dtype, keep_sampling
    )
    todo = choose_task(image, restorer, options)
    todo.scales.measure()  # once, for all workers and for the provenance
    if memory is None:
        memory = free_memory() // 2 if scheduler is None else _CLUSTER_MEMORY
    header = _header(image, todo, restorer, options)
    about = _fingerprint(image, todo, restorer, options)
    if resume:
        check_resumed(output, about)
    chunks = _chunks(output, task, header.axes)
    with create(output, header, overwrite=overwrite, resume=resume, chunks=chunks) as target:
        job = _job(image, todo, restorer, about, target, memory // workers)
        _run(job, workers, scheduler, counting(job, progress))
    seconds = time.perf_counter() - start
    return Restored(output, math.prod(todo.shape), seconds, _notes(image, restorer, todo.scales))


def _chunks(output: Path, task: str, axes: str) -> tuple[int, ...] | None:
    """Chunks of an output that has any, where others than those of planes suit the task."""
    if task != "axial" or not format_of(output).blocks:
        return None
    return tuple(_AXIAL_CHUNKS.get(letter, 1) for letter in axes)


def _check_output(image: Image, output: Path, *, several: bool, overwrite: bool) -> None:
    """Refuse early what cannot be written."""
    if isinstance(image.source, Path):
        source, target = image.source.resolve(), output.resolve()
        if source == target or source in target.parents or target in source.parents:
            raise ValueError(f"{output}: the output is the input; choose another name")
    if several and not format_of(output).blocks:
        able = ", ".join(suffix for form in FORMATS if form.blocks for suffix in form.suffixes)
        raise ValueError(
            f"{output}: expected an output of {able}, which several workers can write; use one "
            "worker or another name"
        )
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; choose another name or allow overwriting")


def _share(threads: int | None, workers: int, scheduler: str | None) -> int:
    """Return the threads of each worker."""
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    return threads or (1 if scheduler is not None else max(1, processors() // workers))


def _header(image: Image, task: Task, restorer: Restorer, options: Options) -> Header:
    """Describe the output, and how it came about."""
    card = restorer.card
    provenance = {
        "program": f"microscopygan {__version__}",
        "model": {
            "file": restorer.path.name,
            "sha256": restorer.sha256,
            "told": list(restorer.told),
            "strength": restorer.strength,
            "program": card.program,
            "defects": list(card.defects),
            "training": card.training,
        },
        "input": Path(str(image.source)).name,
        "settings": asdict(options),
        "intensity": _maps(task.scales),
    }
    return replace(
        image.header,
        shape=task.shape,
        dtype=task.dtype,
        pixel_size=output_pixel_size(image, options),
        provenance=image.provenance | {"restoration": provenance},
    )


def _maps(scales: Scales) -> dict[str, object]:
    """State the intensity maps: what 0 and 1 stood for, by index along the axes they have."""
    parts = {
        " ".join(f"{a}{k}" for a, k in zip(scales.letters, key, strict=True)) or "all": [
            scale.map.offset,
            scale.map.offset + scale.map.scale,
        ]
        for key, scale in scales.items()
    }
    return {"covers": scales.scope, "low, high": list(scales.percentiles), "maps": parts}


def _fingerprint(
    image: Image, task: Task, restorer: Restorer, options: Options
) -> dict[str, object]:
    """State all that the pixels of the output depend on."""
    source = image.source
    return asdict(options) | {
        **restorer.identity,
        "input": str(source.resolve() if isinstance(source, Path) else source),
        "intensity maps": _maps(task.scales),
    }


def _job(
    image: Image,
    task: Task,
    restorer: Restorer,
    about: dict[str, object],
    target: Target,
    memory: int,
) -> Job:
    """Plan the blocks, or take those of the run that is resumed."""
    blocks, tile = plan(
        task,
        restorer.card,
        memory,
        source=image.array.dtype,
        unit=target.blocks,
        chunks=image.chunks,
    )
    work = BlockRestorer(restorer, task, image.array, tile, str(image.source))
    if target.group is None:
        return Job(work, target.array, blocks)
    return Job(work, target.array, *marked_blocks(target.group, blocks, about))


def _run(job: Job, workers: int, scheduler: str | None, report: Report) -> None:
    if scheduler is None and workers == 1:
        job.run(report)
        return
    from .workers import run_cluster, run_processes  # which takes long to import

    if scheduler is not None:
        run_cluster(job, scheduler, report)
    else:
        run_processes(job, workers, report)


def _notes(image: Image, restorer: Restorer, scales: Scales) -> tuple[str, ...]:
    notes = []
    missing = missing_chunks(image)
    if missing:
        notes.append(f"{missing} chunks of the input are not stored and were read as its fill.")
    if not restorer.card.tileable:
        notes.append(
            "The model was applied to whole planes: tiles would give another result, since its "
            "layers depend on statistics of the whole plane."
        )
    if any(scale.sampled for scale in scales.values()):
        notes.append(
            "Intensity maps were measured on evenly spread blocks, since the image is large."
        )
    constant = sum(scale.constant for scale in scales.values())
    if constant:
        notes.append(
            f"{constant} of {len(scales)} parts hold the same intensity everywhere and were copied."
        )
    return tuple(notes)
