"""Write OME-Zarr by region: 0.5 (Zarr 3) or 0.4 (Zarr 2), with a pyramid of resolutions."""

import itertools
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import PROGRESS, Lock, Target, locked, remove
from ..axes import AXES
from ..image import Header
from ..lazy import Blocks, one_line, reordered
from ..pyramid import Factors, mean, next_step, smaller
from . import ZARR_METADATA, ZIPPED, Compression, suffix_of
from .ome_zarr import NOTE

_CHUNKS = {"T": 1, "C": 1, "Z": 16, "Y": 512, "X": 512}
_KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
_BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
_GZIP = {"name": "gzip", "configuration": {"level": 5}}
_CHECKSUM = {"name": "crc32c"}  # so that no bit flips unseen; Zarr 2 has none that others can read
_FORMATS = {"0.4": 2, "0.5": 3}  # Zarr format by version of NGFF

_OF_OME = ("plate", "well", "bioformats2raw.layout", "series")  # attributes of groups
_COLOURS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


def create_ngff(
    path: Path | str,
    header: Header,
    *,
    overwrite: bool,
    resume: bool,
    chunks: tuple[int, ...] | None,
    shards: tuple[int, ...] | None,
    ngff: str,
    compression: Compression,
    timeout: float,
) -> Target:
    """Create an OME-Zarr folder beside its final name, or go on with one.

    Parameters
    ----------
    path
        The final name or URL; the folder is ``NAME.part`` until it is finished.
    header
        What is written. The file's axes are in the order TCZYX, as OME-Zarr demands; the target's
        array has those of `header`.
    overwrite, resume, chunks, shards, ngff, compression, timeout
        As for `formats.create`; chunks of 512×512 pixels of up to 16 planes where None.

    Raises
    ------
    FileExistsError
        An unfinished output, and neither `overwrite` nor `resume`; or another run writes it.
    ValueError
        Blocks or a version that cannot be, or an unfinished output of another shape.
    OSError
        The disk is full.
    """
    blocks = _blocks(path, header, chunks, shards, ngff)
    folder = _folder(path, ngff, timeout)
    with folder.locked() as lock:
        if folder.begun() and not (resume or overwrite):
            raise FileExistsError(
                f"{folder.part}: an interrupted run left this; resume it, or allow overwriting"
            )
        return _target(folder, header, lock, resume, blocks, ngff, compression)


class LocalFolder:
    """A Zarr output on this machine, and the folder beside it where it is written."""

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, path.with_name(f"{path.name}.part")

    def locked(self) -> AbstractContextManager[Lock]:
        """Make the output's folder and take its lock."""
        return locked(self.path)

    def store(self) -> Any:
        """Return what Zarr opens."""
        return self.part

    def beside(self, name: str) -> Any:
        """Return what Zarr opens, for a group above the output."""
        return name

    def begun(self) -> bool:
        """Tell whether there is an unfinished output."""
        return self.part.exists()

    def resumes(self) -> bool:
        """Tell whether an unfinished output can be gone on with."""
        own = not self.part.is_symlink()
        return own and any((self.part / "0" / name).exists() for name in ZARR_METADATA)

    def clear(self) -> None:
        """Remove what is unfinished."""
        remove(self.part)

    def tidy(self) -> None:
        """Remove what writers left that were killed."""
        for leftover in self.part.rglob("*.partial"):
            leftover.unlink(missing_ok=True)

    def target(self, lock: Lock, *rest: Any) -> Target:
        """Return the output being written."""
        return Target(self.path, self.part, lock, *rest)


def _folder(path: Path | str, ngff: str, timeout: float) -> Any:
    if not isinstance(path, Path):
        from .remote import RemoteFolder

        return RemoteFolder(path, timeout)
    if suffix_of(path) not in ZIPPED:
        return LocalFolder(path)
    from .ome_zarr_zip import ZippedFolder

    return ZippedFolder(path, ngff)


def _target(
    folder: Any,
    header: Header,
    lock: Any,
    resume: bool,
    blocks: tuple[tuple[int, ...], tuple[int, ...] | None],
    ngff: str,
    compression: Compression,
) -> Target:
    """Make the unfinished output, or open it."""
    import zarr

    axes = "".join(letter for letter in AXES if letter in header.axes)
    places = [header.axes.index(letter) for letter in axes]
    layout = {
        "shape": tuple(header.shape[i] for i in places),
        "dtype": header.dtype,
        "chunks": tuple(blocks[0][i] for i in places),
        "shards": tuple(blocks[1][i] for i in places) if blocks[1] else None,
    }
    if resume and folder.resumes():
        group, array = _unfinished(folder, layout, _format(ngff))
    else:
        folder.clear()
        try:
            group = zarr.open_group(folder.store(), mode="w", zarr_format=_format(ngff))
            compressors = _compressors if ngff == "0.5" else _compressors_of_0_4
            layout["compressors"] = compressors(header, compression)
            array = _new_array(group, "0", layout, axes)
        except BaseException:
            folder.clear()
            raise
    _write_groups(folder, header, ngff)
    target: Target = folder.target(
        lock,
        reordered(array, axes, header.axes),
        lambda: _complete(folder, group, array, axes, header, ngff),
        blocks[1] or blocks[0],
        group,
    )
    return target


def _compressors(header: Header, wanted: Compression) -> list[dict[str, Any]]:
    """Return how chunks are compressed: as the input's, or by Zstandard; then a checksum."""
    stated = header.details.get("codecs") or [_ZSTD]
    if wanted != "auto":
        stated = {"none": [], "zlib": [_GZIP], "zstd": [_ZSTD]}[wanted]
    return [*(codec for codec in stated if codec != _CHECKSUM), _CHECKSUM]


def _compressors_of_0_4(header: Header, wanted: Compression) -> dict[str, Any] | None:
    """Return how chunks are compressed: by Blosc, as all readers of 0.4 know it, or as wanted."""
    if wanted != "auto":
        return {"none": None, "zlib": {"id": "zlib", "level": 5}, "zstd": {"id": "zstd"}}[wanted]
    stated = (codec for codec in header.details.get("codecs", ()) if codec["name"] == "blosc")
    about: dict[str, Any] = next(stated, {"configuration": {}})["configuration"]
    return _BLOSC | {key: about[key] for key in ("cname", "clevel") if key in about}


def _write_groups(folder: Any, header: Header, ngff: str) -> None:
    """Write what is said above an image, of plate and well, where it gets the same place."""
    import zarr

    groups: dict[str, dict[str, Any]] = header.details.get("groups", {})
    parts = str(folder.path).replace(os.sep, "/").split("/")
    if len(parts) <= len(groups) or not groups:
        return
    above, root = parts[: -len(groups)], "/".join(parts[: -len(groups)])
    deepest = max(groups, key=lambda name: len(name.split("/")) if name else 0)
    if "/".join(parts[:-1]) != f"{root}/{deepest}".rstrip("/"):
        return
    if not above[-1].lower().endswith(".zarr"):
        return
    for inner, attributes in groups.items():
        known = {key: attributes[key] for key in _OF_OME if key in attributes}
        others = {key: attributes[key] for key in attributes.keys() - {*_OF_OME, "version"}}
        if ngff == "0.5":
            plain = {
                key: {k: v for k, v in value.items() if k != "version"}
                if isinstance(value, dict)
                else value
                for key, value in known.items()
            }
            attributes = {**others, "ome": {"version": ngff, **plain}} if known else others
        else:
            attributes = {**others} | {
                key: {**value, "version": ngff} if isinstance(value, dict) else value
                for key, value in known.items()
            }
        place = folder.beside(f"{root}/{inner}".rstrip("/"))
        group = zarr.open_group(place, mode="a", zarr_format=_format(ngff))
        group.attrs.put(attributes)
        if not inner and "beside" in header.details:
            from .bioformats2raw import write_beside

            write_beside(group, header.details["beside"], header)


def _blocks(
    path: Path | str,
    header: Header,
    chunks: tuple[int, ...] | None,
    shards: tuple[int, ...] | None,
    version: str,
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Shapes of chunks and shards in the header's axes, checked."""
    if version not in _FORMATS:
        raise ValueError(f"{path}: expected NGFF 0.4 or 0.5, got {version!r}; try 0.5")
    if shards and version != "0.5":
        raise ValueError(f"{path}: expected NGFF 0.5 for shards, got {version}; leave them out")
    chunk_shape = chunks or tuple(_CHUNKS[letter] for letter in header.axes)
    for shape in filter(None, (chunk_shape, shards)):
        if len(shape) != len(header.shape) or min(shape) < 1:
            raise ValueError(
                f"{path}: expected chunks and shards of {len(header.shape)} positive lengths "
                f"({header.axes}), got {tuple(shape)}; give one for each axis"
            )
    chunk_shape = tuple(min(c, n) for c, n in zip(chunk_shape, header.shape, strict=True))
    if shards is None:
        return chunk_shape, None
    # A shard holds whole chunks; one that reaches over the edge is cut after its last chunk.
    whole = tuple(
        min(s, -(-n // c) * c) for s, n, c in zip(shards, header.shape, chunk_shape, strict=True)
    )
    if any(s % c for s, c in zip(whole, chunk_shape, strict=True)):
        raise ValueError(
            f"{path}: expected shards of whole chunks {chunk_shape}, got {tuple(shards)}; take "
            "multiples"
        )
    return chunk_shape, whole


def _format(version: str) -> Any:
    return _FORMATS[version]


def _new_array(group: Any, name: str, layout: dict[str, Any], axes: str) -> Any:
    """Create a level. Blocks of zeros are written too, so that a missing one is a loss."""
    settings: dict[str, Any] = {"dimension_names": list(axes.lower())}
    if group.metadata.zarr_format == 2:
        settings = {
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
            "attributes": {"_ARRAY_DIMENSIONS": list(axes.lower())},
        }
    return group.create_array(
        name,
        **layout,
        fill_value=0,
        overwrite=True,
        config={"write_empty_chunks": True},
        **settings,
    )


def _unfinished(folder: Any, layout: dict[str, Any], form: Any) -> tuple[Any, Any]:
    """Open an unfinished output, which must be what would be made anew."""
    import zarr

    try:
        group = zarr.open_group(folder.store(), mode="r+", zarr_format=form)
        with zarr.config.set({"array.write_empty_chunks": True}):
            array: Any = group["0"]
        found = {name: getattr(array, name) for name in layout}
    except Exception as error:  # damaged metadata raise anything
        raise ValueError(
            f"{folder.path}: expected an unfinished output to resume, got another Zarr "
            f"({one_line(error)}); start it anew with overwriting"
        ) from None
    for name, wanted in layout.items():
        if found[name] != wanted:
            raise ValueError(
                f"{folder.path}: expected an unfinished output of {name} {wanted} to resume, got "
                f"{found[name]}; start it anew with overwriting"
            )
    return group, array


def _complete(folder: Any, group: Any, array: Any, axes: str, header: Header, version: str) -> None:
    """Make the pyramid and write the metadata, which make the folder an image, last."""
    folder.tidy()
    factors = [(1,) * array.ndim]
    for number in itertools.count(1):
        step = next_step(array.shape, axes)
        if step is None:
            break
        array = _halved(group, str(number), array, step, axes)
        factors.append(tuple(f * s for f, s in zip(factors[-1], step, strict=True)))
    group.attrs.put(_attributes(header, axes, factors, _display(array, axes, header), version))
    if PROGRESS in group:
        del group[PROGRESS]


def _halved(group: Any, name: str, above: Any, step: Factors, axes: str) -> Any:
    """Write the mean of 2×2 pixels of a level, block by block; pixels at an odd edge are kept."""
    shape = smaller(above.shape, step)
    chunks = tuple(min(c, n) for c, n in zip(above.chunks, shape, strict=True))
    shards = above.shards
    if shards and any(s > -(-n // c) * c for s, n, c in zip(shards, shape, chunks, strict=True)):
        shards = None
    if shards and any(s % c for s, c in zip(shards, chunks, strict=True)):
        shards = None
    layout = {"shape": shape, "dtype": above.dtype, "chunks": chunks, "shards": shards}
    layout["compressors"] = above.compressors or None
    array = _new_array(group, name, layout, axes)
    for block in Blocks(shape, shards or chunks):
        made = np.empty([part.stop - part.start for part in block], array.dtype)
        for part in Blocks(made.shape, chunks):
            source = tuple(
                slice((b.start + p.start) * s, (b.start + p.stop) * s)
                for b, p, s in zip(block, part, step, strict=True)
            )
            made[part] = mean(above[source], step)
        array[block] = made
    return array


def _attributes(
    header: Header, axes: str, factors: list[Factors], channels: list[Any], version: str
) -> dict[str, object]:
    """All attributes of the image's group."""
    multiscale = {
        "axes": [_axis(letter, header) for letter in axes],
        "datasets": [
            {"path": str(k), "coordinateTransformations": _transformations(header, axes, f)}
            for k, f in enumerate(factors)
        ],
        "type": "mean",
    }
    if name := header.details.get("name"):
        multiscale = {"name": name, **multiscale}
    omero = {"omero": {**header.details.get("omero", {}), "channels": channels}} if channels else {}
    note: dict[str, object] = {NOTE: header.provenance} if header.provenance else {}
    if version == "0.4":
        return {"multiscales": [{"version": version, **multiscale}], **omero, **note}
    return {"ome": {"version": version, "multiscales": [multiscale], **omero}, **note}


def _axis(letter: str, header: Header) -> dict[str, str]:
    axis = {"name": letter.lower(), "type": _KINDS[letter]}
    if letter in header.pixel_size:
        axis["unit"] = "micrometer"
    elif letter in header.details.get("scales", {}):
        if unit := header.details["scales"][letter][1]:
            axis["unit"] = unit
    elif letter == "T" and header.interval is not None:
        axis["unit"] = "second"
    return axis


def _transformations(header: Header, axes: str, factors: Factors) -> list[dict[str, object]]:
    """Scale of a level, and the shift of the centre of its first pixel."""
    steps = header.pixel_size | ({"T": header.interval} if header.interval is not None else {})
    steps |= {a: -steps[a] for a in header.details.get("reversed", ()) if a in steps}
    steps |= {a: size for a, (size, _) in header.details.get("scales", {}).items()}
    places = header.details.get("shifts", {}) | header.origin
    sizes = [float(steps.get(letter, 1.0)) for letter in axes]
    scale = [size * factor for size, factor in zip(sizes, factors, strict=True)]
    shift = [
        float(places.get(letter, 0.0)) + size * (factor - 1) / 2
        for letter, size, factor in zip(axes, sizes, factors, strict=True)
    ]
    transformations: list[dict[str, object]] = [{"type": "scale", "scale": scale}]
    if any(shift):
        transformations.append({"type": "translation", "translation": shift})
    return transformations


def _display(smallest: Any, axes: str, header: Header) -> list[dict[str, object]]:
    """Names of the channels, with the colour and range of display that OME-Zarr asks for.

    The range is that of the middle plane of the pyramid's last level.
    """
    number = header.shape[header.axes.index("C")] if "C" in header.axes else 1
    stated: list[dict[str, Any]] = header.details.get("channels", [])
    if not header.channels and not stated:
        return []
    return [
        _channel(smallest, axes, header.channels[k : k + 1], stated[k] if stated else {}, k, number)
        for k in range(number)
    ]


def _channel(
    smallest: Any, axes: str, name: tuple[str, ...], stated: dict[str, Any], k: int, number: int
) -> dict[str, object]:
    """One channel as it is stated, or else as its pixels suggest."""
    window = stated.get("window")
    if not window:
        place = {"Y": slice(None), "X": slice(None), "C": k}
        key = tuple(place.get(a, n // 2) for a, n in zip(axes, smallest.shape, strict=True))
        plane = np.asarray(smallest[key])
        finite = plane[np.isfinite(plane)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        window = {"min": low, "max": high, "start": low, "end": high}
    colour = _COLOURS[k % len(_COLOURS)] if number > 1 else "FFFFFF"
    label = {"label": name[0]} if name else {}
    return {**label, "color": colour, "active": True} | stated | {"window": window}
