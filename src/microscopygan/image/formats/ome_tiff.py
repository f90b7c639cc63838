"""OME-TIFF as its XML tells it: images of several files, companions, series that stopped early."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import tifffile

from ..image import Header, micrometres, seconds
from . import Contents
from .tiff import NOTE, About, provenance_of

Place = tuple[int, ...]  # index along the axes other than Y and X
Stored = tuple[Path, int]  # the file that holds a plane, and which of its pages that is

_MOST_PLANES = 10_000_000
_UUIDS = UUID("9f0c1c3e-6d0b-4c58-9e0c-0b6b7f4a51d2")  # of the files written here
_NO_LENGTHS = ("pixel", "reference frame")  # units of OME
_CHANNEL_TEXTS = ("Fluor", "AcquisitionMode", "ContrastMethod", "IlluminationType")
_PLANE_VALUES = {
    **{"DeltaT": "s", "ExposureTime": "s"},
    **{"PositionX": "reference frame", "PositionY": "reference frame"},
    **{"PositionZ": "reference frame"},
}


@dataclass(frozen=True)
class OmeImage:
    """An image of an OME-XML.

    Attributes
    ----------
    name
        Of the image; empty where it has none.
    lead
        Its axes other than Y and X, the slowest first.
    lengths
        Of these axes, as the XML states them.
    samples
        Values of a pixel: 3 for colour photographs.
    planes
        Where each plane lies, as far as the XML says.
    pixels, image
        The elements of the XML.
    """

    name: str
    lead: str
    lengths: tuple[int, ...]
    samples: int
    planes: dict[Place, Stored]
    pixels: ElementTree.Element
    image: ElementTree.Element

    @property
    def files(self) -> frozenset[Path]:
        """The files that it lies in."""
        return frozenset(file for file, _ in self.planes.values())


class Ome:
    """The OME-XML of a TIFF file or of a companion.

    Parameters
    ----------
    path
        The file. That of a companion holds nothing but the XML.
    text
        The XML; of a file that names a companion (``BinaryOnly``), that companion is read.

    Raises
    ------
    ValueError
        A companion that is missing, or a file outside of the folder.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.companion: Path | None = path if path.suffix.lower() == ".ome" else None
        root = ElementTree.fromstring(text)
        only = root.find("{*}BinaryOnly")
        if only is not None:
            self.companion = self._beside(only.get("MetadataFile", ""))
            if not self.companion.is_file():
                raise ValueError(
                    f"{path}: expected its companion {self.companion.name} beside it, got none; "
                    "copy it there, or give --this-file"
                )
            root = ElementTree.fromstring(self.companion.read_text(encoding="utf-8"))
        self.root = root
        self._uuid = root.get("UUID")

    @cached_property
    def images(self) -> list[OmeImage]:
        """Images in their order, those without planes left out."""
        images = [self._image(element) for element in self.root.findall("{*}Image")]
        return [image for image in images if image.planes]

    @property
    def contents(self) -> Contents:
        """Names of the images, and the files that are there of them."""
        files = {file for image in self.images for file in image.files if file.is_file()}
        files |= {self.path} | ({self.companion} if self.companion else set())
        names = tuple(image.name or str(k) for k, image in enumerate(self.images))
        return Contents(names, frozenset(files), self._name(files) if len(files) > 1 else None)

    def _name(self, files: set[Path]) -> str:
        """Name a set: as its companion or image is named, or as its files begin."""
        if self.companion is not None:
            return self.companion.stem.removesuffix(".companion")
        names = {image.name for image in self.images}
        name = names.pop() if len(names) == 1 else ""
        if name and re.fullmatch(r"[^/\\:*?\"<>|]+", name):
            return re.sub(r"\.ome\.tiff?$", "", name)
        stems = sorted(file.stem.removesuffix(".ome") for file in files)
        common = len([1 for a, b in zip(stems[0], stems[-1], strict=False) if a == b])
        prefix = next(
            (stems[0][:n] for n in range(common, -1, -1) if stems[-1].startswith(stems[0][:n])), ""
        )
        return re.sub(r"[\W_]*[a-zA-Z]?\d*$", "", prefix) or stems[0]

    def _image(self, element: ElementTree.Element) -> OmeImage:
        pixels = element.find("{*}Pixels")
        if pixels is None:
            return OmeImage("", "", (), 1, {}, element, element)
        channel = pixels.find("{*}Channel")
        samples = int(channel.get("SamplesPerPixel", 1)) if channel is not None else 1
        lead = pixels.get("DimensionOrder", "XYZCT")[:1:-1]
        lengths = tuple(
            int(pixels.get(f"Size{letter}", 1)) // (samples if letter == "C" else 1)
            for letter in lead
        )
        if math.prod(lengths) > _MOST_PLANES:
            raise ValueError(f"{self.path}: expected at most ten million planes, got {lengths}")
        planes = dict(self._planes(pixels, lead, lengths))
        return OmeImage(element.get("Name", ""), lead, lengths, samples, planes, pixels, element)

    def _planes(
        self, pixels: ElementTree.Element, lead: str, lengths: tuple[int, ...]
    ) -> Iterator[tuple[Place, Stored]]:
        """Yield where each plane lies."""
        total = math.prod(lengths)
        parts = pixels.findall("{*}TiffData") or [ElementTree.Element("TiffData")]
        for part in parts:
            first = tuple(int(part.get(f"First{letter}", 0)) for letter in lead)
            if any(k >= n for k, n in zip(first, lengths, strict=True)):
                continue
            file, page = self._file(part.find("{*}UUID")), int(part.get("IFD", 0))
            number = int(part.get("PlaneCount") or part.get("NumPlanes") or 0)
            if not number:
                number = 1 if part.get("IFD") else pages_of(file)
            start = int(np.ravel_multi_index(first, lengths)) if lead else 0
            for k in range(min(number, total - start)):
                place = tuple(int(i) for i in np.unravel_index(start + k, lengths))
                yield place, (file, page + k)

    def _file(self, uuid: ElementTree.Element | None) -> Path:
        """Return the file that a plane lies in; one that was renamed is known by its UUID."""
        if uuid is None or (uuid.text and uuid.text == self._uuid and not self.companion):
            return self.path
        name = uuid.get("FileName", "")
        if not name or name.lower() == self.path.name.lower():
            return self.path
        return self._beside(name)

    def _beside(self, name: str) -> Path:
        if not name or re.search(r"[/\\]", name) or name in (".", ".."):
            raise ValueError(
                f"{self.path}: expected all files of an image in one folder, got {name!r} in its "
                "metadata; copy them together and save it again"
            )
        return self.path.with_name(name)


def pages_of(file: Path) -> int:
    """Count the pages of a TIFF file; 0 where there is none."""
    if not file.is_file() or file.suffix.lower() == ".ome":
        return 0
    with tifffile.TiffFile(file) as opened:
        return len(opened.pages)


def present(image: OmeImage, own: Path, pages: int) -> dict[Place, Stored]:
    """Return the planes of an image that are there.

    Parameters
    ----------
    image
        Of an `Ome`.
    own, pages
        The file that was opened, and the number of its pages.
    """
    last: dict[Path, int] = {}
    for file, page in image.planes.values():
        last[file] = max(last.get(file, 0), page)
    numbers = {
        file: pages if file == own else 1 if not page and file.is_file() else pages_of(file)
        for file, page in last.items()
    }
    return {
        place: (file, page) for place, (file, page) in image.planes.items() if page < numbers[file]
    }


def complete(
    lead: str, lengths: tuple[int, ...], there: set[Place], *, files_missing: bool = False
) -> tuple[tuple[int, ...], str | None]:
    """Return the lengths of what is there of an image as a whole, and a line where that is less.

    An acquisition that was stopped early gives its complete time points, and a stack or list of
    channels the planes that it has; where the metadata name files that are not there, these
    are no such stack.

    Raises
    ------
    ValueError
        Planes are missing in between.
    """
    missing = [place for place in np.ndindex(*lengths) if place not in there]
    if not missing:
        return lengths, None
    long = [k for k, n in enumerate(lengths) if n > 1]
    time = lead.find("T")
    axis = time if time in long else long[0] if len(long) == 1 and not files_missing else -1
    kept = min(place[axis] for place in missing) if axis >= 0 else 0
    later = [place for place in there if axis >= 0 and place[axis] > kept]
    total = math.prod(lengths)
    if kept < 1 or later:
        raise ValueError(f"{len(missing)} of {total} planes are missing")
    what = {"T": "time points", "Z": "planes", "C": "channels"}[lead[axis]]
    lost = sum(place[axis] == kept for place in there)
    more = f"; {lost} planes of the next one are left out" if lost else ""
    return (
        (*lengths[:axis], kept, *lengths[axis + 1 :]),
        f"Only {kept} of the {lengths[axis]} {what} that its metadata state are there and complete"
        f"{more}.",
    )


class Planes:
    """Pixels of an image whose planes lie anywhere in TIFF files, read plane by plane.

    Parameters
    ----------
    planes
        File and page of each plane, the last of the other axes running fastest.
    shape
        Of the image, Y and X last.
    dtype
        Of a pixel.
    """

    _OPEN = 16  # files that stay open at once

    def __init__(self, planes: list[Stored], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._planes, self.shape, self.dtype = planes, shape, dtype
        self._files: dict[Path, tifffile.TiffFile] = {}
        self._last: tuple[Stored, np.ndarray] | None = None

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        grid = np.arange(len(self._planes)).reshape(self.shape[:-2])[key[:-2]]
        rows = [self._plane(*self._planes[k])[key[-2:]] for k in grid.ravel()]
        return np.stack(rows).reshape(*grid.shape, *rows[0].shape)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _plane(self, path: Path, number: int) -> np.ndarray:
        if self._last is not None and self._last[0] == (path, number):
            return self._last[1]
        page = self._opened(path).pages[number]
        plane = np.asarray(page.asarray())
        if plane.shape != self.shape[-2:]:
            raise ValueError(
                f"{path}: page {number} has shape {plane.shape}, not that of the image"
            )
        self._last = (path, number), plane
        return plane

    def _opened(self, path: Path) -> tifffile.TiffFile:
        if path not in self._files:
            if len(self._files) >= self._OPEN:
                self._files.pop(next(iter(self._files))).close()
            self._files[path] = tifffile.TiffFile(path)
        return self._files[path]


def ome_description(
    root: ElementTree.Element,
    image: ElementTree.Element,
    lead: str,
    lengths: tuple[int, ...],
    kept: tuple[int, ...],
) -> About:
    """What OME-XML says of an image; of its planes, those within the lengths `kept`."""
    pixels = image.find("{*}Pixels")
    if pixels is None:
        return About()
    scales, sizes = {}, {}
    for letter in "ZYX":
        size = pixels.get(f"PhysicalSize{letter}")
        unit = pixels.get(f"PhysicalSize{letter}Unit", "µm")
        sizes[letter] = micrometres(size, unit)
        if size is not None and micrometres(1, unit) is None:
            scales[letter] = [float(size), unit]
    channels = pixels.findall("{*}Channel")
    names = [channel.get("Name") for channel in channels]
    interval = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    entries = root.findall(f".//{{*}}MapAnnotation[@Namespace='{NOTE}']/{{*}}Value/{{*}}M")
    planes = _plane_values(pixels, lead, lengths, kept)
    return About(
        sizes,
        tuple(name for name in names if name) if all(names) else (),
        interval,
        provenance_of("{" + ",".join(f"{json.dumps(e.get('K'))}:{e.text}" for e in entries) + "}"),
        {a: values[0] for a in "ZYX" if (values := planes.get(f"Position{a}"))},
        {
            "name": image.get("Name"),
            "acquired": _text(image, "AcquisitionDate"),
            "description": _text(image, "Description"),
            "channels": about if any(about := [_channel(one) for one in channels]) else [],
            "planes": planes,
            "scales": scales,
        },
    )


def _text(image: ElementTree.Element, name: str) -> str | None:
    element = image.find(f"{{*}}{name}")
    return None if element is None else element.text


def _channel(channel: ElementTree.Element) -> dict[str, Any]:
    """Colour as RRGGBB, wavelengths in nm, and texts."""
    about: dict[str, Any] = {
        key: value for key in _CHANNEL_TEXTS if (value := channel.get(key)) is not None
    }
    if colour := channel.get("Color"):
        about["color"] = f"{(int(colour) >> 8) & 0xFFFFFF:06X}"
    for name in ("Emission", "Excitation"):
        length = micrometres(
            channel.get(f"{name}Wavelength"), channel.get(f"{name}WavelengthUnit", "nm")
        )
        if length is not None:
            about[name.lower()] = round(length * 1000, 6)
    return about


def _plane_values(
    pixels: ElementTree.Element, lead: str, lengths: tuple[int, ...], kept: tuple[int, ...]
) -> dict[str, list[float]]:
    """Values of each plane by name, in µm and seconds; only those that all planes have."""
    places = {
        tuple(int(plane.get(f"The{a}", 0)) for a in lead): plane
        for plane in pixels.findall("{*}Plane")
    }
    wanted = list(np.ndindex(*kept)) if lead else [()]
    if (not lead and len(places) != 1) or any(place not in places for place in wanted):
        return {}
    values: dict[str, list[float]] = {}
    for name, usual in _PLANE_VALUES.items():
        converted = [
            _converted(places[place].get(name), places[place].get(f"{name}Unit", usual))
            for place in wanted
        ]
        if all(value is not None for value in converted):
            values[name] = [float(value) for value in converted if value is not None]
    return values


def _converted(value: object, unit: object) -> float | None:
    """Convert a time or a place, which may be 0 or negative, to seconds or µm."""
    factor = seconds(1, unit) or micrometres(1, unit)
    try:
        return float(str(value)) * factor if factor else None
    except ValueError:
        return None


def ome_settings(header: Header, order: str) -> dict[str, Any]:
    """Return what makes tifffile write all that is known of an image as OME-XML.

    The file's UUID follows from what is written: the same image gives the same bytes. Else it
    would hold the time and the machine's network address.
    """
    details = header.details
    metadata: dict[str, Any] = {"axes": order, "UUID": str(uuid5(_UUIDS, f"{order} {header}"))}
    for letter, size in header.pixel_size.items():
        metadata[f"PhysicalSize{letter}"] = size
        metadata[f"PhysicalSize{letter}Unit"] = "µm"
    for letter, (size, unit) in details.get("scales", {}).items():
        if unit in _NO_LENGTHS and size > 0:
            metadata |= {f"PhysicalSize{letter}": size, f"PhysicalSize{letter}Unit": unit}
    if header.interval is not None and "T" in order:
        metadata |= {"TimeIncrement": header.interval, "TimeIncrementUnit": "s"}
    texts = {"name": "Name", "acquired": "AcquisitionDate", "description": "Description"}
    metadata |= {texts[key]: details[key] for key in texts if details.get(key)}
    if channel := _channel_attributes(header):
        metadata["Channel"] = channel
    if plane := _plane_attributes(header, order):
        metadata["Plane"] = plane
    if header.provenance:
        values = {key: json.dumps(value) for key, value in header.provenance.items()}
        metadata["MapAnnotation"] = {"Namespace": NOTE, "Value": values}
    return {"ome": True, "metadata": metadata}


def _channel_attributes(header: Header) -> dict[str, list[Any]]:
    """Attributes of the channels, one value for each channel; only those that all have."""
    about: dict[str, list[Any]] = {}
    if header.channels:
        about["Name"] = list(header.channels)
    channels = header.details.get("channels", [])
    keys = set.intersection(*(set(channel) for channel in channels)) if channels else set()
    for key in sorted(keys):
        values = [channel[key] for channel in channels]
        if key == "color":
            signed = [int(value[:6], 16) << 8 | 0xFF for value in values]
            about["Color"] = [value - 2**32 if value >= 2**31 else value for value in signed]
        elif key in ("emission", "excitation"):
            about[f"{key.capitalize()}Wavelength"] = values
            about[f"{key.capitalize()}WavelengthUnit"] = ["nm"] * len(values)
        elif key in _CHANNEL_TEXTS:
            about[key] = values
    return about


def _plane_attributes(header: Header, order: str) -> dict[str, list[Any]]:
    """Attributes of the planes: times, exposures and places."""
    lead = [header.shape[header.axes.index(letter)] for letter in order[:-2]]
    number = math.prod(lead)
    values = {key: list(v) for key, v in header.details.get("planes", {}).items()}
    for letter, place in header.origin.items():
        if f"Position{letter}" not in values:
            step = header.pixel_size.get("Z", 0.0) if letter == "Z" and "Z" in order else 0.0
            along = np.indices(lead)[order.index("Z")].ravel() if step else np.zeros(number)
            values[f"Position{letter}"] = (place + step * along).tolist()
    about: dict[str, list[Any]] = {}
    for key, given in values.items():
        if len(given) == number:
            unit = "µm" if key.startswith("Position") else "s"
            about |= {key: given, f"{key}Unit": [unit] * number}
    return about
