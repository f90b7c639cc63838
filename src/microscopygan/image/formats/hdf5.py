"""HDF5 through h5py, an optional extra: datasets, also of ilastik, Imaris and BigDataViewer."""

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..axes import AXES
from ..image import Image, micrometres
from ..lazy import Blocks, Slices, one_line
from . import Contents, Request, numbered
from .plain import DEFLATE
from .stored import Pixels, Stored, image_of, view_setup

_IMARIS = "DataSet/ResolutionLevel 0"
_MOST = 2**30  # bytes of a chunk, which is decoded as a whole
_SMALL = 2**28  # bytes that a chunk of whatever content may be decoded to
_PLAUSIBLE = 20_000  # pixels' bytes for each byte on the disk; more are a damaged shape
_OBJECTS = 100_000  # of a file that are looked at


def open_hdf5(path: Path, request: Request) -> Image:
    """Open an image of an HDF5 file; its pixels are read by slicing.

    Parameters
    ----------
    path
        Of Imaris: the full resolution of all channels and time points. Of BigDataViewer: one of
        the setups (``s00``), whose XML beside it states sizes. Of others, a dataset of two and
        more dimensions; of ilastik, its axes are known.
    request
        The name or number of the image where there are several, and axes where none are named.

    Returns
    -------
    Image
        Axes of length 1 that the file names are dropped, except Y and X.

    Raises
    ------
    ValueError
        h5py is not installed, no or several images, pixels that lie in another file, a colour
        image, axes not stated, or chunks that would fill the memory.
    """
    with _opened(path) as file:
        images = _images(path, file)
        if not images:
            raise ValueError(f"{path}: expected a dataset of 2 to 5 dimensions, got none")
        part = None if request.part is None else request.part.strip("/")
        name = list(images)[numbered(str(path), tuple(images), part)]
        stored = _described(path, file, images[name])
        missing = _check_datasets(file, stored)
    notes = (f"{missing} chunks of the image are not there: read as 0.",) if missing else ()
    return image_of(stored, request, _Pixels, notes=notes)


def contents(path: Path) -> Contents:
    """List the images of a file."""
    with _opened(path) as file:
        return Contents(tuple(_images(path, file)), frozenset([path]))


def _opened(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise ValueError(
            f"{path}: expected h5py to read {path.suffix} files, it is not installed; pip install "
            "'microscopygan[hdf5]'"
        ) from None
    return h5py.File(path, "r", locking="best-effort")


def _images(path: Path, file: Any) -> dict[str, tuple[str, ...]]:
    """Return the names of the datasets of each image, by the image's name."""
    if _there(file, _IMARIS):
        return {path.stem: tuple(_of_imaris(file))}
    times = sorted(name for name in file if re.fullmatch(r"t\d{5,}", name) and _there(file, name))
    setups = {name for time in times for name in file[time] if re.fullmatch(r"s\d{2,}", name)}
    if setups:
        return {
            name: tuple(f"{time}/{name}/0/cells" for time in times)
            for name in sorted(setups, key=lambda name: int(name[1:]))
        }
    return {name: (name,) for name in _datasets(file)}


def _datasets(file: Any) -> list[str]:
    """Names of the datasets of numbers of two and more dimensions; no link is followed."""
    names: list[str] = []
    seen = 0

    def visit(name: str, one: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if hasattr(one, "chunks") and one.ndim > 1 and one.dtype.kind in "uif":
            names.append(name)
        return True if seen >= _OBJECTS else None

    file.visititems(visit)
    return names


def _there(file: Any, name: str) -> bool:
    """Whether something lies in the file itself, not behind a link."""
    import h5py

    group = file
    for part in name.split("/"):
        if not isinstance(group, h5py.Group):
            return False
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return False
        group = group[part]
    return True


def _described(path: Path, file: Any, names: tuple[str, ...]) -> Stored:
    """Describe an image by what its kind of file says of it."""
    for name in names:
        if not _there(file, name):
            raise ValueError(f"{path}: expected {name} in the file itself, got a link or nothing")
    if names[0].startswith(_IMARIS):
        return _imaris(path, file, names)
    if re.fullmatch(r"t\d{5,}/s\d{2,}/0/cells", names[0]):
        return _big_data_viewer(path, file, names)
    dataset = file[names[0]]
    stated = _axes(dataset)
    steps = np.ravel(dataset.attrs.get("element_size_um", ())).tolist()
    sizes = (
        {a: micrometres(step, "um") for a, step in zip("ZYX", steps, strict=True)}
        if (len(steps) == 3)
        else {}
    )
    return Stored(path, names, dataset.shape, 0, stated, dataset.dtype, sizes)


def _axes(dataset: Any) -> str | None:
    """Axes by vigra's tags, as ilastik writes them, or by the labels of the dimensions."""
    letters = [str(dimension.label).upper() for dimension in dataset.dims]
    if "axistags" in dataset.attrs:
        tags = json.loads(_text(dataset.attrs["axistags"]))
        letters = [str(axis["key"]).upper() for axis in tags["axes"]]
    fits = set("YX") <= set(letters) <= set(AXES) and len(set(letters)) == dataset.ndim
    return "".join(letters) if fits and len(letters) == dataset.ndim else None


def _of_imaris(file: Any) -> Iterator[str]:
    """Yield the names of the datasets, time by time, channel by channel."""
    times, channels = _numbers(file[_IMARIS], "TimePoint"), []
    for time in range(times):
        group = f"{_IMARIS}/TimePoint {time}"
        channels.append(_numbers(file[group], "Channel") if _there(file, group) else 0)
    for time, channel in product(range(times), range(max(channels, default=0))):
        yield f"{_IMARIS}/TimePoint {time}/Channel {channel}/Data"


def _numbers(group: Any, what: str) -> int:
    return sum(re.fullmatch(rf"{what} \d+", name) is not None for name in group)


def _imaris(path: Path, file: Any, names: tuple[str, ...]) -> Stored:
    times = _numbers(file[_IMARIS], "TimePoint")
    first, about = file[names[0]], _attributes(file, "DataSetInfo/Image")
    stated = _attributes(file, names[0].rpartition("/")[0])
    lengths = [int(stated.get(f"ImageSize{a}", n)) for a, n in zip("ZYX", first.shape, strict=True)]
    if any(not 0 < n <= whole for n, whole in zip(lengths, first.shape, strict=True)):
        raise ValueError(f"it states a size of {lengths} pixels")
    sizes, origin = _imaris_extent(about, lengths)
    count = len(names) // times
    channels = [_attributes(file, f"DataSetInfo/Channel {k}") for k in range(count)]
    labels = [one.get("Name", "") for one in channels]
    texts = {"name": "Name", "description": "Description", "acquired": "RecordingDate"}
    kinds = [_imaris_channel(one) for one in channels]
    return Stored(
        path,
        names,
        (times, count, *lengths),
        2,
        "TCZYX",
        first.dtype,
        sizes,
        origin,
        tuple(labels) if all(labels) else (),
        _imaris_interval(_attributes(file, "DataSetInfo/TimeInfo")),
        {key: about.get(name) for key, name in texts.items()}
        | {"channels": kinds if any(kinds) else []},
    )


def _imaris_extent(
    about: dict[str, str], lengths: list[int]
) -> tuple[dict[str, float | None], dict[str, float]]:
    """Sizes of a pixel, and the centre of the first one, by the ends of the whole image."""
    sizes: dict[str, float | None] = {}
    origin: dict[str, float] = {}
    unit = about.get("Unit", "um")
    for k, (letter, n) in enumerate(zip("XYZ", reversed(lengths), strict=True)):
        start, end = (_number(about.get(f"Ext{which}{k}")) for which in ("Min", "Max"))
        size = sizes[letter] = micrometres((end - start) / n, unit)
        if size is not None:
            origin[letter] = start * (micrometres(1, unit) or 1.0) + size / 2
    return sizes, origin


def _attributes(file: Any, name: str) -> dict[str, str]:
    """Attributes of a group as texts, which Imaris writes letter by letter."""
    if not _there(file, name):
        return {}
    return {key: _text(value) for key, value in file[name].attrs.items()}


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        value = b"".join(value.ravel().tolist())
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(text: object) -> float:
    """Return a number, NaN where the text is none."""
    try:
        return float(str(text))
    except ValueError:
        return math.nan


def _imaris_channel(about: dict[str, str]) -> dict[str, Any]:
    """Colour as RRGGBB, wavelengths in nm."""
    kind: dict[str, Any] = {}
    colour = [_number(part) for part in about.get("Color", "").split()]
    if len(colour) == 3 and all(0 <= part <= 1 for part in colour):
        kind["color"] = "".join(f"{round(255 * part):02X}" for part in colour)
    for name in ("Emission", "Excitation"):
        length = _number(about.get(f"LSM{name}Wavelength"))
        if length > 0 and math.isfinite(length):
            kind[name.lower()] = length
    return kind


def _imaris_interval(about: dict[str, str]) -> float | None:
    """Seconds between the first two time points."""
    try:
        first, second = (datetime.fromisoformat(about[f"TimePoint{k}"]) for k in (1, 2))
    except (KeyError, ValueError):
        return None
    passed = (second - first).total_seconds()
    return passed if passed > 0 else None


def _big_data_viewer(path: Path, file: Any, names: tuple[str, ...]) -> Stored:
    first, setup = file[names[0]], names[0].split("/")[1]
    dtype = first.dtype  # whose sign counts for nothing: these are unsigned numbers
    unsigned = np.dtype(f"u{dtype.itemsize}") if dtype.kind == "i" else dtype
    name, sizes = view_setup(path, int(setup[1:]))
    shape = (len(names), *first.shape)
    return Stored(path, names, shape, 1, "TZYX", unsigned, sizes, details={"name": name})


def _check_datasets(file: Any, stored: Stored) -> int:
    """Count the chunks that are missing; refuse datasets that cannot be read as they say.

    Raises
    ------
    ValueError
        Pixels in other files, datasets of different shape, chunks that are too large, or a shape of
        which next to nothing is on the disk.
    """
    missing = disk = size = 0
    for name in stored.names:
        dataset = file[name]
        if dataset.is_virtual or dataset.external:
            raise ValueError(
                f"{stored.path}: expected the pixels of {name} in the file itself, got some in "
                "other files; copy them into one"
            )
        inner = stored.shape[stored.lead :]
        if len(dataset.shape) != len(inner) or any(
            n < wanted for n, wanted in zip(dataset.shape, inner, strict=True)
        ):
            raise ValueError(f"{name} has shape {dataset.shape}, not that of the others, {inner}")
        size += math.prod(dataset.shape) * dataset.dtype.itemsize
        disk += dataset.id.get_storage_size()
        if dataset.chunks is not None:
            _check_chunk(stored.path, dataset)
            missing += len(Blocks(dataset.shape, dataset.chunks)) - dataset.id.get_num_chunks()
    if size > max(_PLAUSIBLE * disk, _SMALL):
        raise ValueError(
            f"{stored.path}: expected pixels of shape {stored.shape}, got next to none on the "
            "disk; copy it again"
        )
    return missing


def _check_chunk(path: Path, dataset: Any) -> None:
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if size > _MOST:
        raise ValueError(
            f"{path}: expected chunks of at most {_MOST / 1e9:.1f} GB, which are decoded at once, "
            f"got {size / 1e9:.1f} GB; rechunk it"
        )


class _Pixels(Pixels):
    """Pixels of an image, in one or more datasets of a file that stays open."""

    def __init__(self, stored: Stored, kept: tuple[int, ...]) -> None:
        super().__init__(stored, kept)
        self._file = _opened(stored.path.absolute())

    def region(self, name: str, region: Slices) -> np.ndarray:
        dataset = self._file[name]
        try:
            _check_decoded(dataset, region)
            return np.asarray(dataset[region])
        except OSError as error:  # as h5py calls damage
            raise ValueError(one_line(error)) from None

    def close(self) -> None:
        self._file.close()


def _check_decoded(dataset: Any, region: Slices) -> None:
    """Refuse chunks that gzip would decode to far more than they should be."""
    if dataset.compression != "gzip":
        return
    from .bounded import decoded_size

    limit = math.prod(dataset.chunks) * dataset.dtype.itemsize
    touched = (
        range(part.start // n * n, part.stop, n)
        for part, n in zip(region, dataset.chunks, strict=True)
    )
    for place in product(*touched):
        stored = dataset.id.get_chunk_info_by_coord(place)
        if stored.byte_offset is None or DEFLATE * stored.size < _SMALL:
            continue
        _, content = dataset.id.read_direct_chunk(place)
        if decoded_size(content, "zlib", limit + _SMALL) > limit + _SMALL:
            raise ValueError(
                f"a chunk of {limit} bytes would be decoded to far more, which is an attack or "
                "damage"
            )
