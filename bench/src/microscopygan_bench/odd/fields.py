"""Which image is what: fields to learn from, clean ones, and fields for the test.

Every plane of the data is a field of its own, and serves one purpose, for all families alike:

=========  ======  ==============================================================
purpose    fields  images
=========  ======  ==============================================================
defective  16      100 squares, the first ten of ten fields; with their clean ones
clean      9       54 squares, specimens of the same sort
test       24      24 squares, one a field
=========  ======  ==============================================================

A field of 480 x 480 pixels holds nine squares that do not overlap; those with most structure are
taken, as nobody keeps images of nothing. Clean images of unlike specimens are of nuclei.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from microscopygan_bench.odd.families import FAMILIES, SIDE, CameraMaps, Microscope, microscope

Planes = Mapping[str, NDArray[np.float32]]  # by name; (SIDE, SIDE), clean ones on about 0..1

FIELDS = {"defective": 16, "clean": 9, "test": 24}
MANY, CLEAN, FEW = 100, 54, 10
_BLACK, _WHITE = 5000, 10_000  # counts of intensity 0, and more at intensity 1
_BRIGHT = 99.8  # percentile of a field that becomes intensity 1
_OUTSHONE = 3.0  # a field with pixels so bright has no grey levels left for the rest
_SPECIMENS = {"er": "sim/biosr_er_*.tif", "ccp": "sim/biosr_ccp_*.tif"}
_UNLIKE = "clean/dsb2018_*.tif"


@dataclass(frozen=True)
class FamilyImages:
    """All images of one family.

    Attributes
    ----------
    defective
        100 images; the first ten are the ten unpaired ones, and the inputs of the ten pairs.
    targets
        The clean images behind them.
    like, unlike
        Clean images of other fields: of the same sort of specimen, and of nuclei.
    test, test_targets
        24 images of other fields, and the clean ones behind them.
    """

    defective: Planes
    targets: Planes
    like: Planes
    unlike: Planes
    test: Planes
    test_targets: Planes

    @cached_property
    def digest(self) -> str:
        """Hash of all pixels: results of other data, or other formulas, are not mixed."""
        digest = hashlib.blake2b(digest_size=8)
        for planes in (self.defective, self.targets, self.like, self.unlike, self.test):
            for name, plane in planes.items():
                digest.update(name.encode() + to_counts(plane).tobytes())
        return digest.hexdigest()


def to_counts(plane: NDArray[np.generic]) -> NDArray[np.uint16]:
    """Write a plane as counts of a camera of 16 bits, intensities of -0.5 to 6 without loss."""
    counts = _BLACK + _WHITE * np.asarray(plane, np.float64)
    return np.clip(counts.round(), 0, 65535).astype(np.uint16)


def read_maps(data: Path) -> CameraMaps:
    """Read the maps of the real camera.

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    return CameraMaps(
        *(
            tifffile.imread(data / "camera" / f"scmos_{name}.tif").astype(np.float64)
            for name in CameraMaps._fields
        )
    )


def read_family(data: Path, name: str) -> FamilyImages:
    """Make the images of a family, the same ones each time.

    Parameters
    ----------
    data
        Folder with ``sim/``, ``clean/`` and ``camera/``.
    name
        Of the family.

    Raises
    ------
    ValueError
        Images are missing or too small.
    FileNotFoundError
        The camera's maps are missing.
    """
    fields = _fields(data, _SPECIMENS[FAMILIES[name].specimen], sum(FIELDS.values()))
    order = list(np.random.default_rng(24).permutation(sorted(fields)))
    parts: dict[str, dict[str, NDArray[np.float32]]] = {}
    for purpose, count in FIELDS.items():
        mine, order = order[:count], order[count:]
        parts[purpose] = {field: fields[field] for field in mine}
    targets = first_of_each(_richest(parts["defective"], MANY), FEW)
    tests = {field: max(squares(plane), key=np.std) for field, plane in parts["test"].items()}
    spoil = microscope(name, read_maps(data))
    return FamilyImages(
        _spoilt(spoil, name, targets),
        targets,
        _richest(parts["clean"], CLEAN),
        _nuclei(data),
        _spoilt(spoil, name, tests),
        tests,
    )


def field_of(image: str) -> str:
    """Return the field that an image is of.

    >>> field_of("biosr_er_07-3"), field_of("biosr_er_07")
    ('biosr_er_07', 'biosr_er_07')
    """
    return image.partition("-")[0]


def squares(field: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Cut a plane into squares that do not overlap, row by row; what is left over is cut off."""
    starts = [range(0, length - SIDE + 1, SIDE) for length in field.shape]
    return [field[y : y + SIDE, x : x + SIDE] for y in starts[0] for x in starts[1]]


def first_of_each(images: Planes, count: int) -> dict[str, NDArray[np.float32]]:
    """Put one image of each of `count` fields first, and keep the order otherwise."""
    seen: dict[str, str] = {}
    for name in images:
        seen.setdefault(field_of(name), name)
    first = list(seen.values())[:count]
    return {name: images[name] for name in dict.fromkeys([*first, *images])}


def _fields(data: Path, pattern: str, count: int) -> dict[str, NDArray[np.float32]]:
    """Read planes, each scaled so that its range becomes about 0 to 1."""
    fields = {path.stem: scaled(tifffile.imread(path)) for path in sorted(data.glob(pattern))}
    usable = {name: plane for name, plane in fields.items() if plane.max() <= _OUTSHONE}
    if len(usable) < count:
        raise ValueError(
            f"{data / pattern}: expected {count} images at least, got {len(usable)}; name the "
            "folder that holds sim/, clean/ and camera/, or set MICROSCOPYGAN_DATA to it"
        )
    return usable


def scaled(plane: NDArray[np.generic]) -> NDArray[np.float32]:
    """Bring a clean plane to about 0..1, the brightest few pixels above."""
    values = np.asarray(plane, np.float32)
    low, high = float(values.min()), float(np.percentile(values, _BRIGHT))
    return (values - low) / np.float32(high - low)


def _richest(fields: Planes, count: int) -> dict[str, NDArray[np.float32]]:
    """Cut fields, and keep the squares of most structure; the richest one of a field comes first.

    Raises
    ------
    ValueError
        Too few squares.
    """
    every = {f"{f}-{k}": cut for f, plane in fields.items() for k, cut in enumerate(squares(plane))}
    if len(every) < count:
        raise ValueError(
            f"expected {count} squares of {SIDE} pixels, got {len(every)} of {len(fields)} fields; "
            "give larger images"
        )
    ranked = sorted(every, key=lambda name: -float(every[name].std()))[:count]
    return {name: every[name] for name in sorted(ranked, key=lambda n: _field_first(n, ranked))}


def _field_first(name: str, ranked: Sequence[str]) -> tuple[str, int]:
    return field_of(name), ranked.index(name)


def _nuclei(data: Path) -> dict[str, NDArray[np.float32]]:
    """Read the middle of clean images of nuclei, one an image."""
    fields = _fields(data, _UNLIKE, CLEAN)
    large = {name: plane for name, plane in fields.items() if min(plane.shape) >= SIDE}
    few = np.random.default_rng(24).permutation(sorted(large))[:CLEAN]
    return {str(name): _middle(large[name]) for name in few}


def _middle(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    y, x = ((length - SIDE) // 2 for length in plane.shape)
    return plane[y : y + SIDE, x : x + SIDE]


def _spoilt(spoil: Microscope, family: str, planes: Planes) -> dict[str, NDArray[np.float32]]:
    """Take an image of each plane; what it looks like depends on the family and its name alone."""
    return {
        name: spoil.image(plane, image_random(family, name)).astype(np.float32)
        for name, plane in planes.items()
    }


def image_random(family: str, image: str, draw: int = 0) -> np.random.Generator:
    """Return the generator of one image of a family."""
    return np.random.default_rng([zlib.crc32(f"{family} {image}".encode()), draw])
