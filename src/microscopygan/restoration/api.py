"""Restore arrays and images in memory or lazily, and files of any size block by block."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..image.axes import name_axes
from ..image.formats import (
    FORMATS,
    TIMEOUT,
    Compression,
    Header,
    Image,
    Ngff,
    Target,
    contents,
    create,
    format_of,
    missing_chunks,
    open_image,
    output_exists,
    output_place,
    unfinished,
)
from ..image.image import check_kind
from ..image.lazy import Blocks, LazyArray
from . import Device, DtypeName, HotPixels, Neighbours, Scope, TaskName
from .dask_arrays import DaskSource, is_dask, lazily_restored
from .intensity_maps import Scales, without_hot_pixels
from .job import BlockRestorer, Job, Progress, Report, check_resumed, counting, marked_blocks
from .model import Restorer
from .models import GENERALIST
from .plan import free_memory, plan, processors
from .tasks import Options, Task, choose_task, few_levels, output_pixel_size

if TYPE_CHECKING:
    from ..diagnosis import Diagnosis

_CLUSTER_MEMORY = 2 * 10**9  # bytes for each thread of a cluster
_MOST_PLANES = 50  # times as many as the input; more are questioned
_AXIAL_CHUNKS = {"Z": 32, "Y": 256, "X": 256}  # pixels; windows are the better the more Z they hold


@dataclass(frozen=True)
class Restored:
    """What became of a file.

    Attributes
    ----------
    path
        The output, or its URL.
    pixels
        Number of pixels of the output.
    seconds
        From opening the input to the finished output.
    notes
        What a user should know about the result, a sentence each.
    """

    path: Path | str
    pixels: int
    seconds: float
    notes: tuple[str, ...]


def load(
    model: Path | str | Restorer = GENERALIST,
    *,
    device: Device = "auto",
    threads: int | None = None,
    defect: str | Iterable[str] = (),
    strength: float = 1.0,
    timeout: float = TIMEOUT,
) -> Restorer:
    """Open a model once, for use with many images and by any number of threads.

    Parameters
    ----------
    model
        The name of a model that ships, a ``restorer.onnx``, or a package of BioImage.IO. A
        `Restorer` is returned as it is.
    device, threads, defect, strength, timeout
        As for `Restorer`.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `Restorer`; or a `Restorer` and a defect or a strength, which it has already.
    """
    if not isinstance(model, Restorer):
        return Restorer(model, device, threads, defect, strength, timeout)
    if defect or strength != 1:
        raise ValueError("model: it is open already; give defect and strength to load() instead")
    return model


def restore(
    image: Any,
    *,
    model: Path | str | Restorer = GENERALIST,
    axes: str | None = None,
    pixel_size: dict[str, float] | None = None,
    channels: Iterable[int] | None = None,
    intensity: Scope = "volume",
    dtype: DtypeName = "auto",
    task: TaskName = "plane",
    keep_sampling: bool = False,
    hot_pixels: HotPixels = "auto",
    neighbours: Neighbours = "auto",
    memory: int | None = None,
    device: Device = "auto",
    threads: int | None = None,
    defect: str | Iterable[str] = (),
    strength: float = 1.0,
    progress: Progress | None = None,
) -> Any:
    """Restore an image.

    Parameters
    ----------
    image
        An array (numpy, Zarr, Dask, or another one that is read by slicing), an `Image`, or the
        path of an image file. 8/16-bit integers or floats in any unit, finite.
    model
        The name of a model that ships, a ``restorer.onnx``, a package of BioImage.IO, or what
        `load` gave.
    axes
        One letter of ``TCZYX`` for each dimension. Needed for arrays of three and more.
    pixel_size
        µm by axis letter; overrides what the image states. The axial task needs Z, Y and X.
    channels
        Channels to restore, counted from 0; the others are copied. All where not given.
    intensity
        What one intensity map covers: ``volume`` (one map for each time and channel, as in
        training), ``frame`` (each plane), ``image`` (each channel), or ``none``: intensities are
        on about 0..1 already.
    dtype
        ``same`` as the input (integers are rounded and clipped to their range), ``float32``, or
        ``auto``: same, but float32 for integers of so few grey levels that rounding would cost
        more than 0.1 dB, or 1 % of the mean (not for Dask arrays).
    task
        ``plane`` restores each plane; ``axial`` makes stacks isotropic.
    keep_sampling
        Of the axial task: return to the planes of the input.
    hot_pixels
        ``auto`` mends single pixels far brighter than all around them where there clearly are
        some (not of Dask arrays); ``mend`` also where that is less clear, ``keep`` puts them back.
    neighbours
        Of models that see neighbouring planes: ``z`` or ``t`` takes those along this axis,
        ``none`` restores each plane by itself, and ``auto`` takes those along Z, or T where there
        is one plane along Z, if they show the same structures (of Dask arrays, this is measured
        when it is first needed).
    memory
        Bytes that the work may take besides input and output; half of what is free where not
        given.
    device, threads, defect, strength
        As for `Restorer`, where `model` is a file.
    progress
        Called with the numbers of pixels done and in all when the work begins and after each
        window of the network, in the thread that called this function. An exception that it
        raises, such as `Cancelled`, ends the work and comes out of this function.

    Returns
    -------
    numpy.ndarray
        Axes, shape and intensity scale of the input. For a Dask array a Dask array, of which
        nothing is computed yet; its intensity maps are measured when they are first needed, those
        of more than 2**26 pixels on a sample of chunks. For an `Image` an `Image`.

    Raises
    ------
    ValueError
        Options that do not fit the image, or NaN or infinite pixels.
    MemoryError
        It takes more memory; the message says how much.
    FileNotFoundError, OSError
        The model or the image cannot be read.
    """
    options = Options(
        task, intensity, _as_channels(channels), dtype, keep_sampling, hot_pixels, neighbours
    )
    opened, options = prepare(_as_image(image, axes, pixel_size), options)
    if task == "axial" and pixel_size is None:
        _question_planes(opened)
    restorer = load(model, device=device, threads=threads, defect=defect, strength=strength)
    restorer, found = _with_hint(opened, restorer, options.channels)
    restored, notes = _restored(opened, restorer, options, memory, progress)
    if not isinstance(image, Image):
        return restored
    size = output_pixel_size(opened, options)
    notes = (*opened.notes, *notes, *_found_note(found, restorer))
    return replace(opened, array=restored, pixel_size=size, notes=notes)


def restore_file(
    input: Path | str,
    output: Path | str,
    model: Path | str | Restorer = GENERALIST,
    *,
    axes: str | None = None,
    pixel_size: dict[str, float] | None = None,
    channels: Iterable[int] | None = None,
    intensity: Scope = "volume",
    dtype: DtypeName = "auto",
    task: TaskName = "plane",
    keep_sampling: bool = False,
    hot_pixels: HotPixels = "auto",
    neighbours: Neighbours = "auto",
    memory: int | None = None,
    device: Device = "auto",
    threads: int | None = None,
    defect: str | Iterable[str] = (),
    strength: float = 1.0,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    this_file: bool = False,
    compression: Compression = "auto",
    pyramid: bool = False,
    ngff: Ngff = "0.5",
    timeout: float = TIMEOUT,
    progress: Progress | None = None,
) -> Restored:
    """Restore an image file.

    Parameters
    ----------
    input
        An image file or a Zarr folder or URL, see `open_image`.
    output
        Its suffix chooses the format, see `create`; a URL may name a Zarr output. Appears when it
        is complete.
    model, axes, pixel_size, channels, intensity, dtype, task, keep_sampling, hot_pixels, neighbours
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
        Go on with what an interrupted run with the same options left of a Zarr output, and replace
        the output that it was to replace.
    this_file
        Of an image that lies in several files, the planes of this one alone.
    compression, pyramid, ngff
        How the output is stored, see `create`.
    timeout
        Seconds without an answer after which a server is given up; ten times as many for a window
        of the network.
    progress
        Called with the numbers of pixels done and in all when the work begins and after each
        window of the network (of several workers: each block), in the thread that called this
        function. An exception that it raises ends the work and comes out of this function:
        `Cancelled` leaves nothing behind, others what any error leaves.

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
    output = output_place(output)
    if scheduler is not None and "://" not in str(input):
        input = Path(input).absolute()  # the cluster's processes run in other folders
    image = open_image(input, axes=axes, this_file=this_file, timeout=timeout)
    if pixel_size is not None:
        image = replace(image, pixel_size=image.pixel_size | pixel_size)
    elif task == "axial":
        _question_planes(image)
    if hot_pixels == "keep" and task == "axial":
        raise ValueError("hot pixels: expected auto or mend for the axial task, got 'keep'")
    image = without_hot_pixels(_unchecked(image), hot_pixels)
    if dtype == "auto" and not format_of(Path(output)).floats:
        dtype = "same"
    several = workers > 1 or scheduler is not None
    if resume and unfinished(output, timeout=timeout) is not None:
        overwrite = True  # an output beside it is what the interrupted run was to replace
    _check_output(image, output, several=several, overwrite=overwrite, timeout=timeout)
    share = _share(threads, workers, scheduler)
    use: dict[str, Any] = {"defect": defect, "strength": strength, "timeout": timeout}
    restorer = load(model, device=device, threads=share, **use)
    if restorer is model and share < restorer.threads:
        same = (restorer.defect, restorer.strength, restorer.timeout)
        restorer = Restorer(restorer.path, restorer.device, share, *same)
    options = Options(
        task,
        intensity,
        None if channels is None else tuple(channels),
        dtype,
        keep_sampling,
        hot_pixels,
        neighbours,
    )
    restorer, found = _with_hint(image, restorer, options.channels)
    job_task = choose_task(image, restorer, options)
    job_task.scales.measure()  # once, for all workers and for the provenance
    if memory is None:
        memory = free_memory() // 2 if scheduler is None else _CLUSTER_MEMORY
    header = _header(image, job_task, restorer, options, found)
    about = _fingerprint(image, job_task, restorer, options)
    if resume:
        check_resumed(output, about, timeout)
    how: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "timeout": timeout}
    how |= {"compression": compression, "pyramid": pyramid, "ngff": ngff}
    with create(output, header, chunks=_chunks(output, task, header.axes), **how) as target:
        job = _job(image, job_task, restorer, about, target, memory // workers)
        _run(job, workers, scheduler, counting(job, progress), timeout)
    seconds = time.perf_counter() - start
    notes = (*image.notes, *_found_note(found, restorer), *_notes(image, restorer, job_task, dtype))
    notes += _not_kept(image, output, pyramid)
    return Restored(output, math.prod(job_task.shape), seconds, notes)


def _restored(
    image: Image,
    restorer: Restorer,
    options: Options,
    memory: int | None,
    progress: Progress | None,
) -> tuple[Any, tuple[str, ...]]:
    """Return the restored pixels, as a numpy or Dask array, and notes on them."""
    work, blocks = plan_work(image, restorer, options, memory)
    if isinstance(image.array, DaskSource):
        about = (restorer.identity, options, image.axes, image.pixel_size)
        return lazily_restored(image.array, work, about), ()
    result = np.empty(work.task.shape, work.task.dtype)
    job = Job(work, result, blocks)
    job.run(counting(job, progress))
    return result, _neighbours_note(work.task)


def prepare(image: Image, options: Options) -> tuple[Image, Options]:
    """Look at an image before it is restored: hot pixels are mended; of a lazy one nothing is."""
    if not is_dask(image.array) and not isinstance(image.array, DaskSource):
        return without_hot_pixels(image, options.hot_pixels), options
    if not isinstance(image.array, DaskSource):
        image = replace(image, array=DaskSource(image.array))
    return image, replace(options, dtype="same") if options.dtype == "auto" else options


def plan_work(
    image: Image, restorer: Restorer, options: Options, memory: int | None = None
) -> tuple[BlockRestorer, Blocks]:
    """Return what restores any region of an image that is prepared, and the regions that fit.

    Parameters
    ----------
    image, options
        As `prepare` gave them.
    restorer
        The open model.
    memory
        Bytes that the work may take; half of what is free where not given.

    Raises
    ------
    ValueError
        Options that do not fit the image or the model.
    MemoryError
        It takes more memory; the message says how much.
    """
    task = choose_task(image, restorer, options)
    budget = free_memory() // 2 if memory is None else memory
    blocks, tile = plan(task, restorer.card, budget, source=image.array.dtype, chunks=image.chunks)
    return BlockRestorer(restorer, task, image.array, tile, str(image.source or "image")), blocks


def _as_image(image: Any, axes: str | None, pixel_size: dict[str, float] | None) -> Image:
    """Return what the user gave as an image; its pixels may be lazy."""
    if isinstance(image, str | os.PathLike):
        opened = _unchecked(open_image(os.fspath(image), axes=axes))
    elif isinstance(image, Image):
        opened = image if axes is None else replace(image, axes=axes)
    else:
        array = image if hasattr(image, "shape") and hasattr(image, "dtype") else _stacked(image)
        opened = Image(array, axes or _plain_axes(array.shape))
    if pixel_size is not None:
        opened = replace(opened, pixel_size=opened.pixel_size | pixel_size)
    check_kind(opened.array.dtype, opened.array.shape, str(opened.source or "image"))
    return replace(opened, array=DaskSource(opened.array)) if is_dask(opened.array) else opened


def _stacked(arrays: Any) -> np.ndarray:
    """Make an array of nested numbers, or of arrays of one shape."""
    shapes = [tuple(one.shape) for one in arrays if hasattr(one, "shape")]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"image: expected one array, got {len(shapes)} of the shapes "
            f"{', '.join(map(str, shapes[:4]))}, as the levels of a pyramid are; give the first "
            "one, image[0]"
        )
    return np.asarray(arrays)


def _plain_axes(shape: tuple[int, ...]) -> str:
    if not 3 <= len(shape) <= 5 or 1 in shape:
        return name_axes("image", shape, None, None, fallback=True)
    raise ValueError(
        f"image: {len(shape)} dimensions {tuple(shape)}: which are they? Give axes, one letter of "
        "TCZYX for each, for example ZYX, TYX or CYX for three"
    )


def _as_channels(channels: Iterable[int] | None) -> tuple[int, ...] | None:
    return None if channels is None else tuple(dict.fromkeys(channels))


def _chunks(output: Path | str, task: str, axes: str) -> tuple[int, ...] | None:
    """Chunks of an output that has any, where others than those of planes suit the task."""
    if task != "axial" or not format_of(Path(output)).blocks:
        return None
    return tuple(_AXIAL_CHUNKS.get(letter, 1) for letter in axes)


def _check_output(
    image: Image, output: Path | str, *, several: bool, overwrite: bool, timeout: float
) -> None:
    """Refuse early what cannot be written."""
    if image.source == output:
        raise ValueError(f"{output}: the output is the input; choose another name")
    if isinstance(image.source, Path) and isinstance(output, Path):
        source, target = image.source.resolve(), output.resolve()
        taken = {file.resolve() for file in contents(image.source).files}
        if (
            target in taken
            or source == target
            or source in target.parents
            or target in source.parents
        ):
            raise ValueError(f"{output}: the output is the input; choose another name")
    if several and not format_of(Path(output)).blocks:
        able = ", ".join(suffix for form in FORMATS if form.blocks for suffix in form.suffixes)
        raise ValueError(
            f"{output}: expected an output of {able}, which several workers can write; use one "
            "worker or another name"
        )
    if not overwrite and output_exists(output, timeout=timeout):
        raise FileExistsError(f"{output} exists; choose another name or allow overwriting")


def _share(threads: int | None, workers: int, scheduler: str | None) -> int:
    """Return the threads of each worker."""
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    return threads or (1 if scheduler is not None else max(1, processors() // workers))


def _header(
    image: Image, task: Task, restorer: Restorer, options: Options, found: Diagnosis | None
) -> Header:
    """Describe the output, and how it came about."""
    card = restorer.card
    provenance = {
        "program": f"microscopygan {__version__}",
        "model": {
            "name": card.name,
            "file": restorer.path.name,
            "sha256": restorer.sha256,
            "hint": list(restorer.hint),
            "strength": restorer.strength,
            "program": card.program,
            "defects": list(card.defects),
            "training": card.training,
        },
        "input": Path(str(image.source)).name,
        "settings": asdict(options),
        "intensity": _maps(task.scales),
        "found": _provenance(found, task.scales),
    }
    if task.neighbours is not None:
        provenance["neighbours"] = task.neighbours.stated()
    return replace(
        image.header,
        shape=task.shape,
        dtype=task.dtype,
        pixel_size=output_pixel_size(image, options),
        provenance=image.provenance | {"restoration": provenance},
    )


def _with_hint(
    image: Image, restorer: Restorer, channels: tuple[int, ...] | None
) -> tuple[Restorer, Diagnosis | None]:
    """Find out what an image has, where that is wanted, and tell the network."""
    if not restorer.finds_hint:
        return restorer, None
    if isinstance(image.array, DaskSource):
        raise ValueError(
            "defect: expected names for a Dask array, of which nothing is computed yet, got "
            f"'auto'; give some of {', '.join(restorer.card.hints)}, or none"
        )
    try:
        from .diagnosed import found_in  # which needs SciPy, and takes long to import
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"defect: auto needs {error.name}, which is not installed; try: pip install "
            "'microscopygan[evaluate]'"
        ) from error
    found = found_in(image, channels)
    named = [one.stage for one in found.present if one.stage in restorer.card.hints]
    return restorer.with_hint(named, restorer.strength), found


def _found_note(found: Diagnosis | None, restorer: Restorer) -> tuple[str, ...]:
    """Say what was found, and what of it the network was told."""
    if found is None:
        return ()
    shares = {one.stage: f"{one.stage} ({100 * one.probability:.0f} %)" for one in found.present}
    told = ", ".join(shares[name] for name in restorer.hint) or "nothing"
    others = ", ".join(shares[name] for name in shares if name not in restorer.hint)
    more = f" Found, but not known to the model: {others}." if others else ""
    return (f"Found and told to the network: {told}.{more}",)


def _provenance(found: Diagnosis | None, scales: Scales) -> dict[str, object]:
    """State what was found in the input."""
    cut_off = max((scale.cut_off for scale in scales.values()), default=0.0)
    about: dict[str, object] = {"part at the highest value": round(cut_off, 6)} if cut_off else {}
    if found is not None:
        about["defects"] = {one.stage: round(one.probability, 3) for one in found.findings}
    return about


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
    beside = {} if task.neighbours is None else {"neighbouring planes": task.neighbours.stated()}
    return asdict(options) | {
        **restorer.identity,
        **beside,
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


def _run(job: Job, workers: int, scheduler: str | None, report: Report, timeout: float) -> None:
    if scheduler is None and workers == 1:
        job.run(report)
        return
    from .workers import run_cluster, run_processes  # which takes long to import

    if scheduler is not None:
        run_cluster(job, scheduler, report, timeout)
    else:
        run_processes(job, workers, report)


def _unchecked(image: Image) -> Image:
    """Let NaN and infinite pixels through, which a task leaves out or refuses."""
    array = image.array
    return replace(image, array=array.unchecked()) if isinstance(array, LazyArray) else image


def _question_planes(image: Image) -> None:
    """Ask before a stack is made of very many planes, since its sizes may be wrong."""
    depth, width = (image.pixel_size.get(letter) for letter in "ZX")
    if depth and width and depth > _MOST_PLANES * width:
        raise ValueError(
            f"{image.source or 'image'}: expected planes at most {_MOST_PLANES} times as far apart "
            f"as pixels are wide, got Z {depth:g} µm and X {width:g} µm; give --voxel-size z,y,x, "
            "these or the right ones"
        )


def _not_kept(image: Image, place: Path | str, pyramid: bool) -> tuple[str, ...]:
    """Say what the output's format cannot keep."""
    output = Path(place)
    if "cf" not in image.details.get("imagej", {}) or "axes" not in format_of(output).keeps:
        return ()
    plain = format_of(output) == format_of(Path("a.tif")) and not output.stem.endswith(".ome")
    if plain and not pyramid:
        return ()
    return ("ImageJ's calibration of the grey values is kept in .tif only; numbers are as stored.",)


def _notes(image: Image, restorer: Restorer, task: Task, wanted: DtypeName) -> tuple[str, ...]:
    notes, scales = [*_neighbours_note(task)], task.scales
    if wanted == "auto" and task.dtype.kind == "f" and image.array.dtype.kind in "ui":
        much = "0.1 dB" if few_levels(scales) else "1 % of the light"
        notes.append(
            "The image has few grey levels: the output is float32, since rounding would cost more "
            f"than {much} (--dtype same keeps {image.array.dtype})."
        )
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
    if any(scale.masked for scale in scales.values()):
        notes.append(
            "NaN or infinite pixels were left out of statistics and network, and are the same in "
            "the output."
        )
    cut = max((scale.cut_off for scale in scales.values()), default=0.0)
    if cut:
        notes.append(
            f"{100 * cut:.2g} % of the pixels have the highest grey value: light beyond it was not "
            "counted, and is not brought back."
        )
    constant = sum(scale.constant for scale in scales.values())
    if constant:
        notes.append(
            f"{constant} of {len(scales)} parts hold the same intensity everywhere and were copied."
        )
    return tuple(notes)


def _neighbours_note(task: Task) -> tuple[str, ...]:
    """Say what was decided of neighbouring planes, where there was something to decide."""
    note = None if task.neighbours is None else task.neighbours.note
    return () if note is None else (note,)
