"""Read OME-Zarr (0.1 to 0.5) and plain Zarr arrays, from a folder or a URL."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..axes import AXES, name_axes
from ..image import Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray, one_line
from . import (
    TIMEOUT,
    ZARR_METADATA,
    ZIPPED,
    Contents,
    Request,
    as_url,
    numbered,
    without_secrets,
)

NOTE = "microscopygan"  # the attribute that holds the provenance
_NO_IMAGES = ("OME", "labels", "tables", "shapes", "points")  # groups of other things
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
    origin: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_ngff(location: Path | str, request: Request) -> Image:
    """Open the full resolution of an OME-Zarr image, or a Zarr array.

    Parameters
    ----------
    location
        Folder or URL of a multiscale image, of a group that holds one image only
        (bioformats2raw), of one level of an image, or of a plain array, whose axes must be given
        unless its dimensions have names.
    request
        Its part is the path of an image in the group, or its number.

    Returns
    -------
    Image
        A scale without a unit is no pixel size: it is kept among the details.

    Raises
    ------
    ValueError
        No image or several, damaged metadata, axes that do not fit, or a package for this kind of
        URL is not installed.
    FileNotFoundError
        There is nothing.
    """
    name, groups, axes = str(location), {}, request.axes
    if request.part is not None:
        inner = _inner(name, request.part, request.timeout)
        groups = _groups(name, inner, request.timeout)
        name = f"{name.rstrip('/')}/{inner}"
    level = _level(name, request.timeout)
    if groups:
        _complete(level, str(location), inner, request.timeout)
    array = level.array
    shape = tuple(array.shape)
    if level.axes is not None and len(level.axes) != len(shape) and axes is None:
        raise ValueError(
            f"{name}: expected one axis for each dimension of {shape}, got {level.axes!r} in its "
            "metadata; give --axes"
        )
    _check_chunks(array, name)
    named = name_axes(name, shape, level.axes, axes, request.fallback)
    number = shape[named.index("C")] if "C" in named else 1
    source = partial(_open_array, _absolute(level.location), request.timeout)
    return Image(
        LazyArray(without_secrets(name), source, shape, array.dtype, tuple(array.chunks)),
        named,
        known_sizes(level.sizes, named),
        _source(location, request.part, name),
        level.channels if len(level.channels) == number and named == level.axes else (),
        level.interval if "T" in named else None,
        level.provenance,
        {a: place for a, place in level.origin.items() if a in named},
        level.details | _codecs(array) | ({"groups": groups} if groups else {}),
        level.notes,
    )


def _source(location: Path | str, part: str | None, name: str) -> Path | str:
    """Name an image as it is opened again: what lies in a ZIP file has no path of its own."""
    if not isinstance(location, Path):
        return without_secrets(name)
    return Path(f"{location}#{part}") if part and location.is_file() else Path(name)


def contents(path: Path) -> Contents:
    """List the images of a group: the fields of a plate, the series of bioformats2raw."""
    node = _node(str(path), TIMEOUT)
    if hasattr(node, "chunks") or _multiscales(dict(node.attrs)) is not None:
        return Contents((path.name,), frozenset([path]))
    return Contents(tuple(_images_inside(node)), frozenset([path]))


def _codecs(array: Any) -> dict[str, Any]:
    """How the chunks of an array are compressed, as Zarr 3 says it; nothing where it cannot."""
    try:
        codecs = [_codec(one) for one in array.compressors]
    except (AttributeError, KeyError, TypeError):
        return {}
    return {"codecs": codecs}


def _codec(compressor: Any) -> dict[str, Any]:
    if hasattr(compressor, "to_dict"):
        return dict(compressor.to_dict())
    about = compressor.get_config()
    name = {"zstd": "zstd", "blosc": "blosc", "gzip": "gzip", "zlib": "gzip"}[about["id"]]
    kept = {key: about[key] for key in ("level", "cname", "clevel", "blocksize") if key in about}
    if name == "blosc":
        kept["shuffle"] = ("bitshuffle", "noshuffle", "shuffle", "bitshuffle")[about["shuffle"] + 1]
    return {"name": name, "configuration": kept}


def _inner(location: str, part: str, timeout: float) -> str:
    """Path of an image in a group, by its path or number."""
    names = tuple(_images_inside(_node(location, timeout)))
    if names and part.isdecimal() and part not in names:
        return names[numbered(location, names, part)]
    return _path_inside(part.strip("/"), location)


def _path_inside(path: object, location: str) -> str:
    """Return the path of something in a group as its metadata state it.

    Raises
    ------
    ValueError
        It leads out of the group.
    """
    if ".." in re.split(r"[/\\]", str(path)):
        raise ValueError(
            f"{location}: expected all parts of an image inside of its Zarr, got the path {path!r} "
            "in its metadata; save it again"
        )
    return str(path)


def _groups(location: str, inner: str, timeout: float) -> dict[str, dict[str, Any]]:
    """Attributes of the groups above an image, by their path, such as those of plate and well."""
    parts = inner.split("/")
    paths = ["/".join(parts[:k]) for k in range(len(parts))]
    groups = {}
    for path in paths:
        try:
            attributes = dict(_node(f"{location.rstrip('/')}/{path}".rstrip("/"), timeout).attrs)
        except FileNotFoundError:  # a row of a plate may lack metadata
            attributes = {}
        ome = attributes.pop("ome", {})
        groups[path] = {**attributes, **(ome if isinstance(ome, dict) else {})}
    return groups


def missing_chunks(image: Image) -> int:
    """Count the chunks (or shards) that a Zarr image lacks; they are read as fill value.

    Parameters
    ----------
    image
        From `formats.open_image`.

    Returns
    -------
    int
        0 for images that are no Zarr. Of one at a URL, each chunk that was not read yet is asked
        for.
    """
    source = getattr(image.array, "source", None)
    if not isinstance(source, partial) or source.func is not _open_array:
        return 0
    location: str = source.args[0]
    if as_url(location):
        from .remote import missing_keys

        return missing_keys(image.array.opened())
    array = source()
    blocks = array.shards or array.chunks
    expected: int = math.prod(-(-n // b) for n, b in zip(array.shape, blocks, strict=True))
    pattern = re.compile(r"(?:c[/.])?\d+(?:[/.]\d+)*|c")
    stored = sum(pattern.fullmatch(name) is not None for name in _files(location))
    return max(expected - stored, 0)


def _files(location: str) -> Iterator[str]:
    """Yield the paths of all files below a place on this machine, a folder or within a ZIP."""
    if not os.path.isdir(location):
        from .ome_zarr_zip import files_in

        yield from files_in(location)
    for folder, _, files in os.walk(location):
        for file in files:
            yield (Path(folder) / file).relative_to(location).as_posix()


def _absolute(location: str) -> str:
    """Name a place so that a process with another working directory finds it."""
    return location if as_url(location) else os.path.abspath(location)


def _open_array(location: str, timeout: float) -> Any:
    node = _node(location, timeout)
    if not hasattr(node, "chunks"):
        raise ValueError(f"{location}: expected a Zarr array, got a group; copy it again")
    return node


def _node(location: str, timeout: float) -> Any:
    """Open the Zarr array or group at a path or URL for reading."""
    node = _opened(location, timeout)
    if hasattr(node, "chunks"):
        from .bounded import limit_of

        try:
            node.store.limit = limit_of(node)
        except ValueError as error:
            raise ValueError(f"{location}: {error}; rechunk it") from None
    return node


def _opened(location: str, timeout: float) -> Any:
    import zarr

    store, inner = _store(location, timeout)
    try:
        return zarr.open(store, path=inner, mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{location}: expected a Zarr group or array, found no metadata "
            f"({', '.join(ZARR_METADATA[:3])}); check the name, or copy it again"
        ) from None
    except (ConnectionError, TimeoutError) as error:
        raise ConnectionError(
            f"{location}: cannot be read ({one_line(error)}); try again, or later"
        ) from None
    except OSError as error:
        raise OSError(f"{location}: cannot be read ({one_line(error)}); check the name") from None
    except Exception as error:  # damaged metadata raise anything
        raise ValueError(
            f"{location}: expected Zarr metadata, got damaged or unknown ones "
            f"({one_line(error)}); copy it again"
        ) from None


def _store(location: str, timeout: float) -> tuple[Any, str | None]:
    """Return what Zarr reads of a place, and the path inside of that."""
    if as_url(location) is not None:
        from .remote import PatientStore

        return PatientStore(location, timeout), None
    if any(suffix in location.lower() for suffix in ZIPPED):
        from .ome_zarr_zip import ZippedStore, split_zip

        if zipped := split_zip(location):
            return ZippedStore(zipped[0]), zipped[1]
    from .bounded import BoundedStore

    return BoundedStore(location), None


def _level(location: str, timeout: float) -> _Level:
    """Find the array to read, and what is known of it."""
    node = _node(location, timeout)
    if hasattr(node, "chunks"):
        return _inner_level(location, node, timeout) or _plain_array(location, node)
    attributes = dict(node.attrs)
    scales = _multiscales(attributes)
    if scales is not None:
        level = _described(location, attributes, scales, 0, timeout)
        if "labels" in node:
            level.notes = ("The labels beside the image are not restored and not copied.",)
        return level
    inner = tuple(_images_inside(node))
    if inner:
        name = inner[numbered(location, inner, None)]
        level = _level(f"{location.rstrip('/')}/{name}", timeout)
        _complete(level, location, name, timeout)
        return level
    raise ValueError(
        f"{location}: expected an OME-Zarr image or a Zarr array, got a group without images; "
        "name an array inside of it"
    )


def _complete(level: _Level, location: str, inner: str, timeout: float) -> None:
    """Add what the OME-XML of bioformats2raw says of an image."""
    node = _node(location, timeout)
    if "bioformats2raw.layout" not in {**node.attrs, **(node.attrs.get("ome") or {})}:
        return
    from .bioformats2raw import beside, complete

    if found := beside(node, inner):
        complete(level, found)
        level.details = level.details | {"beside": found}


def _images_inside(group: Any) -> list[str]:
    """Paths of the images or arrays in a group that is no image itself, such as a plate."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome") or attributes
    if isinstance(plate := ome.get("plate"), dict):
        wells = [str(well["path"]) for well in plate.get("wells", []) if well["path"] in group]
        return [f"{well}/{name}" for well in wells for name in _images_inside(group[well])]
    if isinstance(well := ome.get("well"), dict):
        return [_path_inside(image["path"], str(group.name)) for image in well.get("images", [])]
    names = []
    for name, member in sorted(group.members()):
        if name not in _NO_IMAGES:
            one = hasattr(member, "chunks") or _multiscales(dict(member.attrs)) is not None
            names += [name] if one else [f"{name}/{inner}" for inner in _images_inside(member)]
    return names


def _multiscales(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first multiscale image of a group's attributes, 0.5 or older."""
    ome = attributes.get("ome")
    scales = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    return dict(scales[0]) if scales else None


def _inner_level(location: str, array: Any, timeout: float) -> _Level | None:
    """Describe an array that is a level of a multiscale image, one or two folders above it."""
    parts = location.rstrip("/").split("/") if "/" in location else list(Path(location).parts)
    for depth in (1, 2):
        above, inner = "/".join(parts[:-depth]), "/".join(parts[-depth:])
        if not above or above.endswith(":/"):
            return None
        try:
            attributes = dict(_node(above, timeout).attrs)
            scales = _multiscales(attributes)
        except ConnectionError:
            raise
        except (ValueError, OSError):
            continue
        paths = [level.get("path") for level in (scales or {}).get("datasets", [])]
        if scales is not None and inner in paths:
            level = _described(above, attributes, scales, paths.index(inner), timeout)
            level.location, level.array = location, array
            return level
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
    location: str, attributes: dict[str, Any], scales: dict[str, Any], index: int, timeout: float
) -> _Level:
    """Describe a level by its multiscale metadata."""
    dataset = scales["datasets"][index]
    inner = f"{location.rstrip('/')}/{_path_inside(dataset['path'], location)}"
    try:
        array = _open_array(inner, timeout)
    except FileNotFoundError:
        raise ValueError(
            f"{location}: expected the level {dataset['path']!r} that its metadata name, found no "
            "array metadata there; copy it again"
        ) from None
    letters, units = _axes(scales.get("axes"), array.ndim, location)
    if len(letters) != array.ndim:
        return _Level(inner, array, letters)
    scale, shift = _transformed(scales, dataset, array.ndim)
    by_letter = dict(zip(letters, zip(scale, shift, units, strict=True), strict=False))
    sizes = {a: micrometres(abs(by_letter[a][0]), by_letter[a][2]) for a in letters if a in "ZYX"}
    note, ome = attributes.get(NOTE), attributes.get("ome")
    omero = dict((ome if isinstance(ome, dict) else attributes).get("omero") or {})
    channels = [dict(channel) for channel in omero.pop("channels", None) or []]
    labels = [channel.pop("label", None) for channel in channels]
    details: dict[str, Any] = {
        "name": scales.get("name"),
        "channels": channels if any(channels) else [],
        "omero": omero,
        "scales": {
            a: [by_letter[a][0], by_letter[a][2]]
            for a, size in sizes.items()
            if size is None and (by_letter[a][2] or by_letter[a][0] != 1)
        },
        "reversed": [a for a, size in sizes.items() if size and by_letter[a][0] < 0],
        "shifts": {a: by_letter[a][1] for a, size in sizes.items() if not size and by_letter[a][1]},
    }
    return _Level(
        inner,
        array,
        letters,
        sizes,
        seconds(by_letter["T"][0], by_letter["T"][2]) if "T" in by_letter else None,
        tuple(map(str, labels)) if all(labels) else (),
        note if isinstance(note, dict) else {},
        {
            a: by_letter[a][1] * (micrometres(1, by_letter[a][2]) or 1.0)
            for a, size in sizes.items()
            if size and by_letter[a][1]
        },
        {name: value for name, value in details.items() if value},
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


def _transformed(
    scales: dict[str, Any], dataset: dict[str, Any], ndim: int
) -> tuple[list[float], list[float]]:
    """Scale and translation of a level: its own transformations, then those of all levels."""
    scale, shift = [1.0] * ndim, [0.0] * ndim
    for entry in (dataset, scales):
        for transformation in entry.get("coordinateTransformations") or []:
            kind = transformation.get("type")
            values = transformation.get(kind)
            if kind not in ("scale", "translation") or not values or len(values) != ndim:
                continue
            if kind == "scale":
                scale = [a * float(b) for a, b in zip(scale, values, strict=True)]
                shift = [a * float(b) for a, b in zip(shift, values, strict=True)]
            else:
                shift = [a + float(b) for a, b in zip(shift, values, strict=True)]
    return scale, shift


def _check_chunks(array: Any, name: str) -> None:
    """Refuse chunks so small and so many that reading them would never end."""
    number = math.prod(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
    size = math.prod(array.chunks) * array.dtype.itemsize
    if number > _MANY and size < _TINY:
        raise ValueError(
            f"{name}: expected chunks of a few thousand pixels, got {number} of {size} bytes; "
            "rechunk it, or copy it again"
        )
