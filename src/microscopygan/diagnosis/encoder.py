"""What a set of images shows: the set encoder and the trees that ship, run without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .features import SIDE, count, features, filled, scaled, set_features
from .sessions import session, stages_of
from .trees import stage_logits, stage_names, tree_inputs

_FILE = "encoder.onnx"
_SETS = 3  # of images, where there are more than go into one
_LARGEST = 8  # images of a set
_SQUARES = 24  # looked at, of all images; one of each at least
_PLACES = 6  # of the field of view looked at, at most
_TRIED = 16  # places of which the liveliest are looked at
_ALIKE = 4  # squares of clean images, as many as the trees were taught with

Plane = NDArray[np.generic]
Numbers = NDArray[np.float32]
Floats = NDArray[np.float64]
Squares = Sequence[Numbers]  # (128, 128) each


class Reading(NamedTuple):
    """What a set of images shows, a row for each place looked at.

    Attributes
    ----------
    stages
        (L, S) logits of the stages, in the order of `names`.
    parameters
        By (stage, parameter): (L, bins) log-probabilities.
    names
        The stages that are told apart.
    """

    stages: Floats
    parameters: dict[tuple[str, str], Floats]
    names: tuple[str, ...]


def read_set(
    defective: Sequence[Plane], clean: Sequence[Plane], rng: np.random.Generator
) -> Reading:
    """Look at some places of a set of images.

    Parameters
    ----------
    defective
        Planes (Y, X) in any units.
    clean
        Clean planes, of any specimen; may be empty.
    rng
        Chooses images and places.
    """
    theirs = [_liveliest(plane, rng) for plane in _some(clean, _ALIKE, rng)]
    clean_numbers = _measured(theirs)
    of_clean = set_features(theirs) if theirs else np.zeros(0, np.float32)
    readings, inputs = [], []
    sets = _sets(defective, rng)
    places = min(_PLACES, max(1, _SQUARES // sum(map(len, sets))))
    for images in sets:
        for place in _places(images, places, rng):
            squares = _squares(images, place)
            numbers, of_set = _measured(squares), set_features(squares)
            said = encoded(squares, numbers, theirs, clean_numbers)
            readings.append(said)
            inputs.append(tree_inputs(numbers, of_set, clean_numbers, of_clean, said.stages[0]))
    parameters = {
        key: np.concatenate([reading.parameters[key] for reading in readings])
        for key in readings[0].parameters
    }
    return Reading(stage_logits(np.stack(inputs)), parameters, stage_names())


def encoded(squares: Squares, numbers: Numbers, clean: Squares, clean_numbers: Numbers) -> Reading:
    """Return what the set encoder alone says of a set of images at one place.

    Parameters
    ----------
    squares : sequence of N arrays, each (128, 128)
        As `diagnosis.features.scaled` gives them.
    numbers : array, shape (N, count())
        Of `diagnosis.features.features`.
    clean, clean_numbers
        The same of M clean images; M may be 0.
    """
    alike = clean if len(clean) else [np.zeros((SIDE, SIDE), np.float32)]
    feed = {
        "images": np.stack(squares),
        "numbers": numbers,
        "alike": np.stack(alike),
        "alike_numbers": clean_numbers if len(clean) else _measured(alike),
    }
    logits = session(_FILE).run(None, {name: values[None] for name, values in feed.items()})[0]
    return _sorted(logits.astype(np.float64), stages_of(_FILE))


def _measured(squares: Squares) -> Numbers:
    measured = [features(square) for square in squares]
    return np.stack(measured) if measured else np.zeros((0, count()), np.float32)


def _sorted(logits: Floats, known: Sequence[dict[str, Any]]) -> Reading:
    """Take a row of logits apart into stages and parameters."""
    names = tuple(str(stage["name"]) for stage in known)
    found, first = {}, len(names)
    for stage in known:
        for name, bins in stage["parameters"].items():
            part = logits[:, first : first + bins]
            first += bins
            part = part - part.max(axis=1, keepdims=True)
            found[str(stage["name"]), name] = part - np.log(np.exp(part).sum(1, keepdims=True))
    return Reading(logits[:, : len(names)], found, names)


def _some(planes: Sequence[Plane], count: int, rng: np.random.Generator) -> list[Plane]:
    if len(planes) <= count:
        return list(planes)
    return [planes[int(k)] for k in rng.permutation(len(planes))[:count]]


def _sets(planes: Sequence[Plane], rng: np.random.Generator) -> list[list[Plane]]:
    """Divide images into sets of one shape: what a camera leaves lies at one place in all."""
    shapes: dict[tuple[int, ...], list[Plane]] = {}
    for plane in planes:
        shapes.setdefault(np.shape(plane), []).append(plane)
    sets = []
    for same in sorted(shapes.values(), key=len, reverse=True):
        order = rng.permutation(len(same))[: _SETS * _LARGEST]
        for part in np.array_split(order, -(-len(order) // _LARGEST)):
            sets.append([same[int(k)] for k in part])
    return sets[:_SETS]


def _places(images: Sequence[Plane], count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Choose corners of squares: on a grid, the liveliest ones."""
    height, width = images[0].shape
    rows, columns = (_corners(length) for length in (height, width))
    corners = [(y, x) for y in rows for x in columns]
    corners = [corners[int(k)] for k in rng.permutation(len(corners))[:_TRIED]]

    def light(corner: tuple[int, int]) -> float:
        y, x = corner
        squares = [np.asarray(i[y : y + SIDE, x : x + SIDE], np.float32) for i in images[:4]]
        return float(np.mean([square.std() for square in squares]))

    return sorted(corners, key=light, reverse=True)[:count]


def _corners(length: int) -> list[int]:
    if length <= SIDE:
        return [0]
    return sorted({int(k) for k in np.linspace(0, length - SIDE, -(-length // SIDE))})


def _squares(images: Sequence[Plane], place: tuple[int, int]) -> list[Numbers]:
    return [scaled(_cut(image, place)) for image in images]


def _cut(image: Plane, place: tuple[int, int]) -> Numbers:
    """Cut a square; an image that is smaller is mirrored."""
    y, x = place
    return filled(image[y : y + SIDE, x : x + SIDE])


def _liveliest(plane: Plane, rng: np.random.Generator) -> Numbers:
    return scaled(_cut(plane, _places([plane], 1, rng)[0]))
