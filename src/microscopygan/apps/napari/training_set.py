"""Folders and layers become one training set, in the layout that ``microscopygan train`` reads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...image.formats import list_images, write
from ..restore_options import RestoreOptions
from .layers import image_of

ROLES = ("defective", "clean", "input", "target")


@dataclass(frozen=True)
class Source:
    """Where the images of one role come from: a folder, or layers.

    Attributes
    ----------
    folder
        Holds image files.
    layers
        Image layers of napari; of pairs, in one order.
    """

    folder: Path | None = None
    layers: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return self.folder is not None or bool(self.layers)


def folder_of(role: str, defect: str) -> str:
    """Return where the images of a role lie in a training set.

    Examples
    --------
    >>> folder_of("defective", "noise"), folder_of("input", "noise")
    ('noise', 'pairs/noise/input')
    """
    alone = {"defective": defect, "clean": "clean"}
    return alone.get(role) or f"pairs/{defect}/{role}"


def check_sources(sources: Mapping[str, Source], defect: str) -> None:
    """Raise unless there is something to learn from.

    Raises
    ------
    ValueError
        Neither defective images nor pairs, half of the pairs, or no name of the defect.
    """
    given = {role for role in ROLES if sources.get(role)}
    if not defect or any(a in defect for a in '/\\:*?"<>|') or defect in ("pairs", "test", "clean"):
        raise ValueError(f"Defect: expected a name such as noise, got {defect!r}.")
    if len(given & {"input", "target"}) == 1:
        raise ValueError("Pairs: choose both sides, the bad images and the good ones.")
    if not given & {"defective", "input"}:
        raise ValueError("Choose bad images, or pairs of bad and good ones.")
    if defect != "noise" and "clean" not in given and "input" not in given:
        raise ValueError(f"To learn {defect}, choose good images as well, or pairs.")


def write_training_set(folder: Path, defect: str, sources: Mapping[str, Source]) -> Path:
    """Write a training set; what lay there before of another one is removed.

    Parameters
    ----------
    folder
        To be made.
    defect
        Name of the defect.
    sources
        By role: ``defective``, ``clean``, and of pairs ``input`` and ``target``.

    Raises
    ------
    ValueError
        See `check_sources`; or pairs of layers of different number, or a folder without images.
    FileExistsError
        The folder is there and holds something else.
    """
    check_sources(sources, defect)
    _clear(folder)
    pairs = [sources.get(side, Source()).layers for side in ("input", "target")]
    if pairs[0] and pairs[1] and len(pairs[0]) != len(pairs[1]):
        raise ValueError(
            f"Pairs: expected as many good layers as bad ones, got {len(pairs[1])} and "
            f"{len(pairs[0])}."
        )
    (folder / _MARK).parent.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    for role, source in sources.items():
        if source:
            _fill(folder / folder_of(role, defect), source, numbered=role in ("input", "target"))
    return folder


_MARK = ".made-by-microscopygan"


def _clear(folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / _MARK).exists():
        raise FileExistsError(f"{folder} is there already; choose another run folder.")
    shutil.rmtree(folder)


def _fill(folder: Path, source: Source, *, numbered: bool) -> None:
    """Copy the images of a folder, or write those of layers."""
    folder.mkdir(parents=True)
    if source.folder is not None:
        _copy(list_images([source.folder]), folder, source.folder)
        return
    for number, layer in enumerate(source.layers):
        image = image_of(layer, RestoreOptions())
        name = f"{number}.ome.tif" if numbered else f"{number}_{_plain(layer.name)}.ome.tif"
        write(folder / name, _in_memory(image))


def _in_memory(image: Any) -> Any:
    return replace(image, array=np.asarray(image.array), source=None)


def _copy(paths: Sequence[Path | str], folder: Path, source: Path) -> None:
    if not paths:
        raise ValueError(f"{source}: expected images, found none.")
    for path in map(Path, paths):
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy2(path, folder / path.name)


def _plain(name: str) -> str:
    return "".join(a if a.isalnum() else "_" for a in name)
