"""Packages of BioImage.IO as models to restore with: our own ones whole, simple ones of others.

Nothing is unpacked to the disk, no file but those named is read, none larger than a limit.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ...model_card import ModelCard

_DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml")
_LARGEST_TEXT, _LARGEST_MODEL = 2**20, 2**29  # bytes
_BYTES_PER_PIXEL = 1800  # that networks of others are expected to take
_UNSAFE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


class Package(NamedTuple):
    """What a package is used as.

    Attributes
    ----------
    content
        An ``.onnx`` file.
    card
        What the package says of another program's model; None of ours, whose file says it.
    smallest
        Side of the smallest plane that the model takes, in pixels.
    """

    content: bytes
    card: ModelCard | None = None
    smallest: int = 1


def read_package(path: Path) -> Package:
    """Read a package.

    Parameters
    ----------
    path
        A ``.zip`` file.

    Raises
    ------
    ValueError
        Not a package, damaged or with paths that lead out of it; or a model of another program that
        is more than one network from a plane to a plane of the same size, on intensities between
        two percentiles.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _package(archive, path.stem)
    except _RefusalError as refusal:
        raise ValueError(f"{path}: expected {refusal}") from None
    except _DAMAGED as error:
        raise ValueError(
            f"{path}: expected a package of BioImage.IO, cannot read it ({error})"
        ) from None


class _RefusalError(ValueError):
    """What was expected and what came."""


def _package(archive: zipfile.ZipFile, name: str) -> Package:
    for member in archive.namelist():
        if _UNSAFE.search(member):
            raise _RefusalError(f"files inside the package, got {member!r}; do not use it")
    about = _description(archive)
    own = _at(about, "config", "microscopygan", "model")
    if isinstance(own, str):
        stated = [each for each in _list(about, "attachments") if _at(each, "source") == own]
        content = _checked(archive, stated[0] if stated else {"source": own})
        return Package(content)
    return _simple(archive, about, name)


def _description(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    names = [name for name in _DESCRIPTIONS if name in archive.namelist()]
    if not names:
        raise _RefusalError("a package of BioImage.IO, got a zip without rdf.yaml")
    text = _bytes(archive, names[0], _LARGEST_TEXT)
    try:
        about = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _RefusalError(f"a description in YAML, got a damaged {names[0]} ({reason})") from None
    if _at(about, "type") != "model":
        raise _RefusalError(f"the description of a model, got {_at(about, 'type')!r}")
    return about  # type: ignore[no-any-return]


def _bytes(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """Read one file; its stated size is not believed."""
    try:
        with archive.open(name) as file:
            content = file.read(largest + 1)
    except KeyError:
        raise _RefusalError(f"the file {name!r} in the package, which lacks it") from None
    if len(content) > largest:
        raise _RefusalError(f"{name} of at most {largest >> 20} MB, got a larger one")
    return content


def _checked(archive: zipfile.ZipFile, file: Mapping[str, Any]) -> bytes:
    """Read an ONNX file that is as it was packed, and whole."""
    source = _at(file, "source")
    if not isinstance(source, str):
        raise _RefusalError(f"the name of an ONNX file in the package, got {source!r}")
    content = _bytes(archive, source, _LARGEST_MODEL)
    stated = _at(file, "sha256")
    if stated is not None and hashlib.sha256(content).hexdigest() != stated:
        raise _RefusalError(f"{source} with the hash that the description states, got another file")
    if external_data(content):
        raise _RefusalError(f"{source} with its weights, got one that names other files")
    return content


def _simple(archive: zipfile.ZipFile, about: Mapping[str, Any], name: str) -> Package:
    """Take a model of another program, where it is simple enough."""
    version = str(_at(about, "format_version"))
    if not version.startswith("0.5."):
        raise _RefusalError(f"a description of format 0.5, got {version}; convert it")
    inputs, outputs = _list(about, "inputs"), _list(about, "outputs")
    if len(inputs) != 1 or len(outputs) != 1:
        raise _RefusalError(f"one input and one output, got {len(inputs)} and {len(outputs)}")
    weights = _at(about, "weights", "onnx")
    if weights is None or _at(weights, "external_data") is not None:
        stated = _at(about, "weights")
        there = ", ".join(map(str, stated)) if isinstance(stated, Mapping) and stated else "none"
        raise _RefusalError(f"weights as one ONNX file, got {there}; convert them")
    smallest, multiple = _input_size(_axes(inputs[0], "input"))
    halo = _output_halo(_axes(outputs[0], "output"), str(_at(inputs[0], "id")))
    low, high = _percentiles(inputs[0], outputs[0])
    card = ModelCard(
        name=str(_at(about, "name") or name),
        program=f"BioImage.IO {version}",
        halo=halo or (0, 0),
        multiple=multiple,
        tileable=halo is not None,
        bytes_per_pixel=_BYTES_PER_PIXEL,
        low=low,
        high=high,
        defects=(),
        licence=str(_at(about, "license") or "not stated"),
    )
    return Package(_checked(archive, weights), card, smallest)


def _axes(tensor: Any, which: str) -> list[Any]:
    """Return the axes y and x of a tensor of single grey planes."""
    axes = _list(tensor, "axes")
    kinds = [_at(axis, "id") or _at(axis, "type") for axis in axes]
    if kinds != ["batch", "channel", "y", "x"] or len(_list(axes[1], "channel_names")) != 1:
        raise _RefusalError(f"an {which} of the axes batch, one channel, y, x, got {kinds}")
    return axes[2:]


def _input_size(axes: list[Any]) -> tuple[int, int]:
    """Return the smallest side and the step, the same for y and x."""
    sizes = [(_at(axis, "size", "min"), _at(axis, "size", "step")) for axis in axes]
    least, step = sizes[0]
    fit = isinstance(least, int) and isinstance(step, int) and 0 < step <= least <= 4096
    if not fit or sizes[0] != sizes[1] or least % step:
        raise _RefusalError(
            "planes of any size that is a multiple of a step, the same for y and x, got "
            f"{[_at(axis, 'size') for axis in axes]}"
        )
    return least, step


def _output_halo(axes: list[Any], source: str) -> tuple[int, int] | None:
    """Return the halo, None where the description states none."""
    halos: list[int] = []
    for axis, letter in zip(axes, "yx", strict=True):
        size, halo = _at(axis, "size"), _at(axis, "halo")
        same = {"tensor_id": source, "axis_id": letter}
        stated = size if isinstance(size, Mapping) else {}
        if {key: value for key, value in stated.items() if value} != same:
            raise _RefusalError(f"an output of the input's size, got {size} for {letter}")
        if _at(axis, "scale") not in (None, 1):
            raise _RefusalError(f"an output of the input's size, got a scale for {letter}")
        if isinstance(halo, int) and 0 <= halo <= 4096:
            halos.append(halo)
    return (halos[0], halos[1]) if len(halos) == 2 else None


def _percentiles(source: Any, target: Any) -> tuple[float, float]:
    """Return the percentiles that become 0 and 1; no other processing is known here."""
    before = [step for step in _list(source, "preprocessing") if not _is_float(step)]
    after = [step for step in _list(target, "postprocessing") if not _is_float(step)]
    names = [_at(step, "id") for step in (*before, *after)]
    if names != ["scale_range"] or after:
        raise _RefusalError(
            "the preprocessing scale_range alone, and no postprocessing, got "
            f"{', '.join(map(str, names)) or 'none'}"
        )
    axes = _at(before[0], "kwargs", "axes")
    whole = axes is None or (isinstance(axes, list) and "y" in axes and "x" in axes)
    low = _at(before[0], "kwargs", "min_percentile") or 0.0
    high = _at(before[0], "kwargs", "max_percentile") or 100.0
    numbers = all(isinstance(each, int | float) for each in (low, high))
    if not (whole and numbers and 0 <= low < high <= 100):
        raise _RefusalError(f"percentiles of whole planes, got {_at(before[0], 'kwargs')}")
    return float(low), float(high)


def _is_float(step: Any) -> bool:
    return (_at(step, "id"), _at(step, "kwargs", "dtype")) == ("ensure_dtype", "float32")


def _at(value: Any, *keys: str) -> Any:
    """Return what lies below keys of nested mappings, None where something lacks."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _list(value: Any, key: str) -> list[Any]:
    found = _at(value, key)
    return found if isinstance(found, list) else []


# Where tensors lie in an ONNX file: for each kind of message, the numbers of the fields that hold
# others. https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}


def external_data(model: bytes) -> bool:
    """Whether a tensor of an ONNX file lies in another file, wherever in the graph it is used.

    Raises
    ------
    ValueError
        Not such a file.
    """
    pending = [(memoryview(model), "model")]
    while pending:
        message, kind = pending.pop()
        if kind == "external":
            return True
        for number, content in _parts(message):
            inside = _FIELDS[kind].get(number)
            if inside is not None:
                pending.append((content, inside))
    return False


def _parts(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and content of each field of a protobuf message that has a length."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            _, place = _varint(message, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            length, place = _varint(message, place)
            if place + length > len(message):
                raise _RefusalError("an ONNX file, got a damaged one")
            yield key >> 3, message[place : place + length]
            place += length
        else:
            raise _RefusalError("an ONNX file, got something else")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Read a number of variable length; return where it ends, too."""
    value = 0
    for k in range(10):
        if place + k >= len(message):
            break
        value |= (message[place + k] & 127) << (7 * k)
        if message[place + k] < 128:
            return value, place + k + 1
    raise _RefusalError("an ONNX file, got a damaged one")
