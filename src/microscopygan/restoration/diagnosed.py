"""What is wrong with images, and what the restorer at hand can do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..diagnosis import Diagnosis
from ..diagnosis import diagnose as diagnose_planes
from ..diagnosis.planes import Looked, look, planes_each, together
from ..diagnosis.words import ImageDiagnosis, say
from ..image.image import Image
from .model import Restorer
from .models import GENERALIST

MOST = 24  # images of a laboratory that are looked at


def diagnose(
    images: Any,
    clean: Any = (),
    *,
    axes: str | None = None,
    model: Path | str | Restorer = GENERALIST,
    seed: int = 0,
) -> ImageDiagnosis:
    """Find out what is wrong with images of one laboratory.

    Parameters
    ----------
    images
        A path, an array or an `Image`, or a list of such: of one microscope, with the same
        defects. Of stacks some planes are looked at, and each channel by itself.
    clean
        Clean images, best of the same sort of specimen, likewise.
    axes
        One letter of ``TCZYX`` for each dimension; arrays of three and more need it.
    model
        The one that is to restore them: its name, its file, or what `load` gave.
    seed
        Of the choice of what is looked at.

    Returns
    -------
    ImageDiagnosis
        ``print`` shows it in words and units.

    Raises
    ------
    ValueError, OSError
        An image that cannot be read or diagnosed; the line names it.

    Examples
    --------
    >>> noisy = np.random.default_rng(0).poisson(9, (128, 128))
    >>> [finding.name for finding in diagnose(noisy).channels[0].said]
    [...]
    """
    several, others = spread(_listed(images)), spread(_listed(clean))
    looked = [look(one, axes=axes, count=planes_each(len(several))) for one in several]
    shown = [look(one, axes=axes, count=planes_each(len(others))) for one in others]
    return conclude(looked, shown, hints=hints_of(model), seed=seed)


def spread(images: Sequence[Any]) -> list[Any]:
    """Return as many images as are looked at, evenly spread over those given."""
    number = min(len(images), MOST)
    return [images[int(k)] for k in (np.arange(number) + 0.5) * len(images) / max(number, 1)]


def conclude(
    images: Sequence[Looked],
    clean: Sequence[Looked] = (),
    *,
    hints: Sequence[str] = (),
    seed: int = 0,
) -> ImageDiagnosis:
    """Diagnose what was looked at of the images of one laboratory.

    Parameters
    ----------
    images, clean
        As `look` gives them; clean images of one channel serve all.
    hints
        Defects that the model takes as a hint.
    seed
        Of the choice of squares.

    Raises
    ------
    ValueError
        No image.
    """
    if not images:
        raise ValueError("expected images to diagnose, got none; give one or more")
    shown = together(clean)
    channels = []
    for index, channel in enumerate(together(images)):
        like = shown[index if len(shown) > 1 and index < len(shown) else 0].planes if shown else ()
        if channel.planes:
            channels.append(say(channel, like, hints=hints, seed=seed))
    return ImageDiagnosis(tuple(looked.name for looked in images), tuple(channels))


def hints_of(model: Path | str | Restorer) -> tuple[str, ...]:
    """Return the defects that a model takes as a hint."""
    return model.card.hints if isinstance(model, Restorer) else _hints(str(model))


@lru_cache(maxsize=8)
def _hints(model: str) -> tuple[str, ...]:
    return Restorer(model, "cpu", 1).card.hints


def _listed(images: Any) -> list[Any]:
    alone = isinstance(images, str | Path | Image) or hasattr(images, "shape")
    return [images] if alone else list(images)


def found_in(image: Image, channels: Iterable[int] | None = None) -> Diagnosis:
    """Find out what is wrong with an image that is to be restored.

    Parameters
    ----------
    image
        As it is restored; some of its planes are read.
    channels
        Those that are restored, all where not given.

    Raises
    ------
    ValueError
        As for `look`.
    """
    wanted = None if channels is None else set(channels)
    planes: list[NDArray[np.generic]] = []
    for index, channel in enumerate(look(image).channels):
        if wanted is None or index in wanted:
            planes += channel.planes
    return diagnose_planes(planes)
