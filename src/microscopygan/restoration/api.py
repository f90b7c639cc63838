"""Restore arrays and images in memory, or lazily."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..image.axes import name_axes
from ..image.formats import Image, open_image
from ..image.image import check_kind
from .dask_arrays import DaskSource, is_dask, lazily_restored
from .job import BlockRestorer, Job, Progress, counting
from .model import GENERALIST, Restorer
from .plan import free_memory, plan
from .tasks import Options, choose_task, output_pixel_size


def load(
    model: Path | str | Restorer = GENERALIST,
    *,
    device: str = "auto",
    threads: int | None = None,
    defect: str | Iterable[str] = (),
    strength: float = 1.0,
) -> Restorer:
    """Open a model once, for use with many images and by any number of threads.

    Parameters
    ----------
    model
        A ``restorer.onnx``; the generalist that ships where not given. A `Restorer` is returned
        as it is.
    device, threads, defect, strength
        As for `Restorer`.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `Restorer`; or a `Restorer` and a defect or a strength, which it has already.
    """
    if not isinstance(model, Restorer):
        return Restorer(model, device, threads, defect, strength)
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
    intensity: str = "volume",
    dtype: str = "same",
    task: str = "plane",
    keep_sampling: bool = False,
    memory: int | None = None,
    device: str = "auto",
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
        A ``restorer.onnx``, or what `load` gave; the generalist that ships where not given.
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
        ``same`` as the input (integers are rounded and clipped to their range) or ``float32``.
    task
        ``plane`` restores each plane; ``axial`` makes stacks isotropic.
    keep_sampling
        Of the axial task: return to the planes of the input.
    memory
        Bytes that the work may take besides input and output; half of what is free where not
        given.
    device, threads, defect, strength
        As for `Restorer`, where `model` is a file.
    progress
        Called after each block with the numbers of pixels done and in all.

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
    given = _as_image(image, axes, pixel_size)
    chosen = Options(task, intensity, _as_channels(channels), dtype, keep_sampling)
    restorer = load(model, device=device, threads=threads, defect=defect, strength=strength)
    restored = _restored(given, restorer, chosen, memory, progress)
    if not isinstance(image, Image):
        return restored
    return replace(given, array=restored, pixel_size=output_pixel_size(given, chosen))


def _restored(
    image: Image,
    restorer: Restorer,
    options: Options,
    memory: int | None,
    progress: Progress | None,
) -> Any:
    """Return the restored pixels, as a numpy or Dask array."""
    task = choose_task(image, restorer, options)
    budget = free_memory() // 2 if memory is None else memory
    blocks, tile = plan(task, restorer.card, budget, source=image.array.dtype, chunks=image.chunks)
    work = BlockRestorer(restorer, task, image.array, tile, str(image.source or "image"))
    if isinstance(image.array, DaskSource):
        about = (restorer.identity, options, image.axes, image.pixel_size)
        return lazily_restored(image.array, work, about)
    result = np.empty(task.shape, task.dtype)
    job = Job(work, result, blocks)
    job.run(counting(job, progress))
    return result


def _as_image(image: Any, axes: str | None, pixel_size: dict[str, float] | None) -> Image:
    """Return what the user gave as an image; its pixels may be lazy."""
    if isinstance(image, str | os.PathLike):
        given = open_image(os.fspath(image), axes=axes)
    elif isinstance(image, Image):
        given = image if axes is None else replace(image, axes=axes)
    else:
        array = image if hasattr(image, "shape") and hasattr(image, "dtype") else _stacked(image)
        given = Image(array, axes or _plain_axes(array.shape))
    if pixel_size is not None:
        given = replace(given, pixel_size=given.pixel_size | pixel_size)
    check_kind(given.array.dtype, given.array.shape, str(given.source or "image"))
    return replace(given, array=DaskSource(given.array)) if is_dask(given.array) else given


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
    if len(shape) == 2 or 1 in shape:
        return name_axes("image", shape, None, None, fallback=True)
    raise ValueError(
        f"image: {len(shape)} dimensions {tuple(shape)}: which are they? Give axes, one letter of "
        "TCZYX for each, for example ZYX, TYX or CYX for three"
    )


def _as_channels(channels: Iterable[int] | None) -> tuple[int, ...] | None:
    return None if channels is None else tuple(dict.fromkeys(channels))
