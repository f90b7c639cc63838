"""The set encoder that ships, run without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .features import SIDE, features, scaled

KEY = "stages"  # of the file's metadata: the stages and parameters that it was trained for
_AT_ONCE = 2  # places of the field of view that go through the network at a time
_SETS = 3  # of images, where there are more than go into one
_LARGEST = 8  # images of a set
_SQUARES = 24  # looked at, of all images; one of each at least
_PLACES = 6  # of the field of view looked at, at most
_TRIED = 16  # places of which the liveliest are looked at
_ALIKE = 6  # squares of clean images

Plane = NDArray[np.generic]
Floats = NDArray[np.float64]


class Reading(NamedTuple):
    """What the encoder says of a set of images, a row for each place looked at.

    Attributes
    ----------
    stages
        (L, S) logits of the stages, in the order of `names`.
    parameters
        By (stage, parameter): (L, bins) log-probabilities.
    names
        The stages that the encoder knows.
    """

    stages: Floats
    parameters: dict[tuple[str, str], Floats]
    names: tuple[str, ...]


@cache
def _session():  # type: ignore[no-untyped-def]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it costs others
    path = files("microscopygan") / "weights" / "encoder.onnx"
    return onnxruntime.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])


def read_set(
    defective: Sequence[Plane], clean: Sequence[Plane], rng: np.random.Generator
) -> Reading:
    """Let the encoder look at some places of a set of images.

    Parameters
    ----------
    defective
        Planes (Y, X) in any units.
    clean
        Clean planes, of any specimen; may be empty.
    rng
        Chooses images and places.
    """
    session = _session()
    known = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    theirs = [_liveliest(plane, rng) for plane in _some(clean, _ALIKE, rng)]
    alike = np.stack(theirs) if theirs else np.zeros((1, SIDE, SIDE), np.float32)
    alike_numbers = np.stack([features(square) for square in alike])
    logits = []
    sets = _sets(defective, rng)
    count = min(_PLACES, max(1, _SQUARES // sum(map(len, sets))))
    for images in sets:
        squares = np.stack([_squares(images, place) for place in _places(images, count, rng)])
        numbers = np.stack([[features(square) for square in some] for some in squares])
        for first in range(0, len(squares), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            count = len(squares[part])
            feed = {
                "images": squares[part],
                "numbers": numbers[part],
                "alike": np.repeat(alike[None], count, 0),
                "alike_numbers": np.repeat(alike_numbers[None], count, 0),
            }
            logits.append(session.run(None, feed)[0])
    return _sorted(np.concatenate(logits).astype(np.float64), known)


def _sorted(logits: Floats, known: list[dict[str, object]]) -> Reading:
    """Take a row of logits apart into stages and parameters."""
    names = tuple(str(stage["name"]) for stage in known)
    found, first = {}, len(names)
    for stage in known:
        for name, bins in dict(stage["parameters"]).items():  # type: ignore[call-overload]
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


def _squares(images: Sequence[Plane], place: tuple[int, int]) -> NDArray[np.float32]:
    return np.stack([scaled(_cut(image, place)) for image in images])


def _cut(image: Plane, place: tuple[int, int]) -> NDArray[np.float32]:
    """Cut a square; an image that is smaller is mirrored."""
    y, x = place
    square = np.asarray(image[y : y + SIDE, x : x + SIDE], np.float32)
    missing = [(0, SIDE - length) for length in square.shape]
    return np.pad(square, missing, mode="symmetric") if any(m for _, m in missing) else square


def _liveliest(plane: Plane, rng: np.random.Generator) -> NDArray[np.float32]:
    return scaled(_cut(plane, _places([plane], 1, rng)[0]))
