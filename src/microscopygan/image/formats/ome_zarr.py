"""Read OME-Zarr (0.1 to 0.5) and plain Zarr arrays, from a folder or a URL."""

import math
import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..axes import AXES, name_axes
from ..image import Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray, one_line
from . import ZARR_METADATA, as_url

NOTE = "microscopygan"  # the attribute that holds the provenance
_PACKAGES = {
    **{"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"},
    **{"az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"},
}
_TINY, _MANY = 4096, 1_000_000  # bytes of a chunk, and their number, that no reading ever ends


@dataclass
class _Level:
    """The full-resolution array of an image and what its group says of it."""

    location: str
    array: Any
    axes: str | None = None
    sizes: dict[str, float | None] = field(default_factory=dict)
    interval: float | None = None
    channels: tuple[str, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)


def open_ngff(location: Path | str, axes: str | None, fallback: bool) -> Image:
    """Open the full resolution of an OME-Zarr image, or a Zarr array.

    Parameters
    ----------
    location
        Folder or URL of a multiscale image, of a group that holds one image only
        (bioformats2raw), of one level of an image, or of a plain array, whose axes must be given
        unless its dimensions have names.
    axes, fallback
        As for `axes.name_axes`.

    Returns
    -------
    Image
        A scale without a unit is no pixel size: it stays unknown.

    Raises
    ------
    ValueError
        No image or several, damaged metadata, axes that do not fit, or a package for this kind of
        URL is not installed.
    FileNotFoundError
        There is nothing.
    """
    name = str(location)
    level = _level(name)
    array = level.array
    shape = tuple(array.shape)
    if level.axes is not None and len(level.axes) != len(shape) and axes is None:
        raise ValueError(
            f"{name}: expected one axis for each dimension of {shape}, got {level.axes!r} in its "
            "metadata; give --axes"
        )
    _check_chunks(array, name)
    named = name_axes(name, shape, level.axes, axes, fallback)
    number = shape[named.index("C")] if "C" in named else 1
    source = partial(_open_array, _absolute(level.location))
    return Image(
        LazyArray(name, source, shape, array.dtype, tuple(array.chunks)),
        named,
        known_sizes(level.sizes, named),
        location,
        level.channels if len(level.channels) == number and named == level.axes else (),
        level.interval if "T" in named else None,
        level.provenance,
    )


def missing_chunks(image: Image) -> int:
    """Count the chunks (or shards) that a local Zarr image lacks; they are read as fill value.

    Parameters
    ----------
    image
        From `formats.open_image`.

    Returns
    -------
    int
        0 for images that are no local Zarr.
    """
    source = getattr(image.array, "source", None)
    if not isinstance(source, partial) or source.func is not _open_array:
        return 0
    location: str = source.args[0]
    if as_url(location):
        return 0
    array = _open_array(location)
    blocks = array.shards or array.chunks
    expected: int = math.prod(-(-n // b) for n, b in zip(array.shape, blocks, strict=True))
    pattern = re.compile(r"(?:c[/.])?\d+(?:[/.]\d+)*|c")
    root = Path(location)
    found = sum(
        pattern.fullmatch((Path(folder) / file).relative_to(root).as_posix()) is not None
        for folder, _, files in os.walk(root)
        for file in files
    )
    return max(expected - found, 0)


def _absolute(location: str) -> str:
    """Name a place so that a process with another working directory finds it."""
    return location if as_url(location) else os.path.abspath(location)


def _open_array(location: str) -> Any:
    node = _node(location)
    if not hasattr(node, "chunks"):
        raise ValueError(f"{location}: expected a Zarr array, got a group; copy it again")
    return node


def _node(location: str) -> Any:
    """Open the Zarr array or group at a path or URL for reading."""
    import zarr

    store: Any = location if as_url(location) is None else _remote(location)
    try:
        return zarr.open(store, mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{location}: expected a Zarr group or array, found no metadata "
            f"({', '.join(ZARR_METADATA[:3])}); check the name, or copy it again"
        ) from None
    except OSError as error:
        raise OSError(f"{location}: cannot be read ({one_line(error)}); check the name") from None
    except Exception as error:  # damaged metadata raise anything
        raise ValueError(
            f"{location}: expected Zarr metadata, got damaged or unknown ones "
            f"({one_line(error)}); copy it again"
        ) from None


def _remote(url: str) -> Any:
    scheme = urlsplit(url).scheme
    try:
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(url, read_only=True)
    except ValueError as error:
        raise ValueError(
            f"{url}: expected a URL such as https://… or s3://…, got another kind "
            f"({one_line(error, 80)}); copy it to this machine"
        ) from None
    except ImportError as error:
        package = _PACKAGES.get(scheme, "fsspec")
        raise ValueError(
            f"{url}: expected the package {package} for {scheme} URLs ({one_line(error, 80)}); "
            f"pip install 'microscopygan[remote]' {package}"
        ) from None


def _level(location: str) -> _Level:
    """Find the array to read, and what is known of it."""
    node = _node(location)
    if hasattr(node, "chunks"):
        return _inner_level(location, node) or _plain_array(location, node)
    attributes = dict(node.attrs)
    scales = _multiscales(attributes)
    if scales is not None:
        return _described(location, attributes, scales, 0)
    inner = _images_inside(node)
    if len(inner) == 1:
        return _level(f"{location.rstrip('/')}/{inner[0]}")
    if inner:
        raise ValueError(
            f"{location}: expected one image, got a group of {len(inner)} ({_few(inner)}); name "
            f"one, such as {location.rstrip('/')}/{inner[0]}"
        )
    raise ValueError(
        f"{location}: expected an OME-Zarr image or a Zarr array, got a group without images; "
        "name an array inside of it"
    )


def _images_inside(group: Any) -> list[str]:
    """Paths of the images or arrays in a group that is no image itself, such as a plate."""
    attributes = dict(group.attrs)
    plate = (attributes.get("ome") or attributes).get("plate")
    if isinstance(plate, dict):
        return [f"{well['path']}/0" for well in plate.get("wells", [])]
    return sorted(name for name, _ in group.members() if name != "OME")


def _multiscales(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first multiscale image of a group's attributes, 0.5 or older."""
    ome = attributes.get("ome")
    scales = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    return dict(scales[0]) if scales else None


def _inner_level(location: str, array: Any) -> _Level | None:
    """Describe an array that is a level of a multiscale image, one or two folders above it."""
    parts = location.rstrip("/").split("/") if "/" in location else list(Path(location).parts)
    for depth in (1, 2):
        above, inner = "/".join(parts[:-depth]), "/".join(parts[-depth:])
        if not above or above.endswith(":/"):
            return None
        try:
            attributes = dict(_node(above).attrs)
            scales = _multiscales(attributes)
        except (ValueError, OSError):
            continue
        paths = [level.get("path") for level in (scales or {}).get("datasets", [])]
        if scales is not None and inner in paths:
            found = _described(above, attributes, scales, paths.index(inner))
            found.location, found.array = location, array
            return found
    return None


def _plain_array(location: str, array: Any) -> _Level:
    """Describe an array by the names of its dimensions, where it has them."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    letters = [str(name).upper() for name in names]
    named = "".join(letters) if letters and set(letters) <= set(AXES) else None
    note = array.attrs.get(NOTE)
    return _Level(location, array, named, provenance=note if isinstance(note, dict) else {})


def _described(
    location: str, attributes: dict[str, Any], scales: dict[str, Any], index: int
) -> _Level:
    """Describe a level by its multiscale metadata."""
    dataset = scales["datasets"][index]
    inner = f"{location.rstrip('/')}/{dataset['path']}"
    try:
        array = _open_array(inner)
    except FileNotFoundError:
        raise ValueError(
            f"{location}: expected the level {dataset['path']!r} that its metadata name, found no "
            "array metadata there; copy it again"
        ) from None
    letters, units = _axes(scales.get("axes"), array.ndim, location)
    if len(letters) != array.ndim:
        return _Level(inner, array, letters)
    factors = [
        a * b for a, b in zip(_scale(scales, array.ndim), _scale(dataset, array.ndim), strict=True)
    ]
    scale = dict(zip(letters, zip(factors, units, strict=True), strict=False))
    note = attributes.get(NOTE)
    return _Level(
        inner,
        array,
        letters,
        {letter: micrometres(*scale[letter]) for letter in "ZYX" if letter in scale},
        seconds(*scale["T"]) if "T" in scale else None,
        _channels(attributes),
        note if isinstance(note, dict) else {},
    )


def _axes(axes: Any, ndim: int, location: str) -> tuple[str, list[str]]:
    """Letters and units of the axes; before version 0.3 they were always TCZYX."""
    if axes is None:
        return AXES, [""] * ndim
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in axes]
    kinds = {"time": "T", "channel": "C"}
    letters = [
        kinds.get(str(entry.get("type")), str(entry.get("name")).upper()) for entry in entries
    ]
    if not set(letters) <= set(AXES) or len(set(letters)) != len(letters):
        raise ValueError(
            f"{location}: expected axes of t, c, z, y, x, got "
            f"{', '.join(str(entry.get('name')) for entry in entries)[:60]}; export it with these"
        )
    return "".join(letters), [str(entry.get("unit", "")) for entry in entries]


def _scale(entry: dict[str, Any], ndim: int) -> list[float]:
    """Scale factors of an entry's transformations, 1 for each dimension where it states none."""
    for transformation in entry.get("coordinateTransformations") or []:
        factors = transformation.get("scale")
        if transformation.get("type") == "scale" and factors and len(factors) == ndim:
            return [float(factor) for factor in factors]
    return [1.0] * ndim


def _channels(attributes: dict[str, Any]) -> tuple[str, ...]:
    ome = attributes.get("ome")
    omero = (ome if isinstance(ome, dict) else attributes).get("omero") or {}
    labels = [channel.get("label") for channel in omero.get("channels") or []]
    return tuple(map(str, labels)) if all(labels) else ()


def _check_chunks(array: Any, name: str) -> None:
    """Refuse chunks so small and so many that reading them would never end."""
    number = math.prod(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
    size = math.prod(array.chunks) * array.dtype.itemsize
    if number > _MANY and size < _TINY:
        raise ValueError(
            f"{name}: expected chunks of a few thousand pixels, got {number} of {size} bytes; "
            "rechunk it, or copy it again"
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
