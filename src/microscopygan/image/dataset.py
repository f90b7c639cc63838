"""Training sets: folders of images become normalised planes, with their images' names.

Two layouts are accepted::

    dataset/clean/                               NAME_X.npy   defective, (N, H, W[, 1])
    dataset/<defect>/                            NAME_Y.npy   clean, same shape
    dataset/pairs/<defect>/{input,target}/
    dataset/test/<defect>/{input,target}/        (the 2019 layout; one NAME a defect)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from .axes import to_volumes
from .formats import Image, check_pixels, list_images, read
from .intensity import match_intensity, percentile_map

RESERVED = ("clean", "pairs", "test")


@dataclass(frozen=True)
class Sample:
    """One plane of an image.

    Attributes
    ----------
    plane
        float32 (Y, X), about 0..1: the percentile map of its whole image or volume.
    name
        File name, with ``#k`` for plane k of several.
    image
        Which image it is from; planes of one image stay together in a `split`.
    """

    plane: np.ndarray
    name: str
    image: str


@dataclass(frozen=True)
class Pair:
    """The same field, defective and clean.

    Attributes
    ----------
    input
        Defective plane, float32 (Y, X), about 0..1 by the percentile map of its image.
    target
        Clean plane, float32 (Y, X), on the scale of `input`.
    name, image
        As for `Sample`.
    """

    input: np.ndarray
    target: np.ndarray
    name: str
    image: str


@dataclass(frozen=True)
class Dataset:
    """What a training run may look at, by role and defect.

    Attributes
    ----------
    clean
        Unpaired clean planes.
    defective
        Unpaired defective planes by defect.
    pairs
        Real training pairs by defect.
    test
        Held-out pairs by defect.
    """

    clean: list[Sample]
    defective: dict[str, list[Sample]]
    pairs: dict[str, list[Pair]]
    test: dict[str, list[Pair]]

    @property
    def defects(self) -> list[str]:
        """Sorted names of the defects that have training images."""
        return sorted(self.defective.keys() | self.pairs.keys())


AnySample = TypeVar("AnySample", Sample, Pair)


def load_dataset(folder: Path | str, *, match_pairs: bool = True, min_size: int = 32) -> Dataset:
    """Load a training set.

    Parameters
    ----------
    folder
        Of either layout, see the module. Volumes (each time and channel of a file) are
        normalised as a whole by `percentile_map`.
    match_pairs
        Bring each target onto its input's scale by `match_intensity`; without, both are
        normalised by the input's percentile map only.
    min_size
        Smallest side accepted, in pixels.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    ValueError
        An empty folder, none or both of the layouts, images without partner, of different or
        too small size, or images that `read` or `check_pixels` refuse. The message names the
        file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"expected a dataset folder, {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"expected a dataset folder, got the file {folder}; name its folder")
    folders, files = _folders(folder), list_images([folder])
    if folders and files:
        raise ValueError(
            f"{folder}: expected either folders or NAME_X.npy and NAME_Y.npy files, got both "
            f"({folders[0].name}/ and {files[0].name}); keep one layout"
        )
    if files:
        return _by_part(_load_arrays(files, match_pairs, min_size))
    return _load_folders(folder, folders, match_pairs, min_size)


def split(
    samples: Sequence[AnySample], fraction: float, rng: np.random.Generator
) -> tuple[list[AnySample], list[AnySample]]:
    """Split by image, never within one.

    Parameters
    ----------
    samples
        Samples or pairs; their order is kept.
    fraction
        Part of the images to hold back, between 0 and 1 (exclusive).
    rng
        Chooses the images.

    Returns
    -------
    kept, held : list
        With two images or more, at least one image on each side; else all are kept.

    Raises
    ------
    ValueError
        A fraction out of range.

    Examples
    --------
    >>> plane = np.zeros((32, 32), np.float32)
    >>> samples = [Sample(plane, f"{i}#{k}", str(i)) for i in range(4) for k in range(3)]
    >>> kept, held = split(samples, 0.25, np.random.default_rng(0))
    >>> len(kept), len(held)
    (9, 3)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"expected a fraction between 0 and 1, got {fraction}; try 0.1")
    images = sorted({sample.image for sample in samples})
    if len(images) < 2:
        return list(samples), []
    number = min(max(round(fraction * len(images)), 1), len(images) - 1)
    chosen = {images[i] for i in rng.permutation(len(images))[:number]}
    kept = [sample for sample in samples if sample.image not in chosen]
    return kept, [sample for sample in samples if sample.image in chosen]


def _load_folders(folder: Path, folders: list[Path], match_pairs: bool, min_size: int) -> Dataset:
    names = [p.name for p in folders]
    for name in names:
        if name not in RESERVED and name.lower() in RESERVED:
            raise ValueError(f"{folder / name}: expected {name.lower()}/; rename the folder")
    loaded = {p.name: _load_samples(p, min_size) for p in folders if p.name not in RESERVED[1:]}
    clean = loaded.pop("clean", [])
    pairs, test = (
        _load_pair_folders(folder / role, match_pairs, min_size) if role in names else {}
        for role in RESERVED[1:]
    )
    dataset = Dataset(clean, loaded, pairs, test)
    if not dataset.defects:
        raise ValueError(
            f"{folder}: expected a folder for each defect, pairs/<defect>/ or NAME_X.npy and "
            "NAME_Y.npy files, got no defective image; see the dataset layout"
        )
    for name in sorted(test.keys() - set(dataset.defects)):
        raise ValueError(
            f"{folder / 'test' / name}: expected one of the defects {', '.join(dataset.defects)}, "
            f"got {name}, which has no training image; rename it or add some"
        )
    return dataset


def _load_samples(folder: Path, min_size: int) -> list[Sample]:
    """All planes of all images of a folder."""
    samples = []
    for path in _images_in(folder):
        volumes = _volumes(read(path), min_size)
        planes = [plane for v in volumes for plane in percentile_map(v).apply(v)]
        names = _plane_names(path.name, len(planes))
        samples += [Sample(p, n, _stem(path)) for p, n in zip(planes, names, strict=True)]
    return samples


def _load_pair_folders(folder: Path, match_pairs: bool, min_size: int) -> dict[str, list[Pair]]:
    """Pairs by defect from ``<defect>/{input,target}/``."""
    folders = _folders(folder)
    if not folders:
        raise ValueError(
            f"{folder}: expected <defect>/input/ and <defect>/target/, got no folder; add them "
            f"or remove {folder.name}/"
        )
    return {p.name: _load_pairs(p, match_pairs, min_size) for p in folders}


def _load_pairs(folder: Path, match_pairs: bool, min_size: int) -> list[Pair]:
    if folder.name.lower() in RESERVED:
        raise ValueError(f"{folder}: expected a defect's name, got a reserved one; rename it")
    sides = []
    for side in ("input", "target"):
        if not (folder / side).is_dir():
            raise ValueError(f"{folder}: expected the folders input/ and target/, got no {side}/")
        sides.append(_by_stem(folder / side))
    inputs, targets = sides
    lonely = sorted(inputs.keys() ^ targets.keys())
    if lonely:
        here, there = ("input", "target") if lonely[0] in inputs else ("target", "input")
        raise ValueError(
            f"{folder}: expected the same file names in input/ and target/, got {lonely[0]} in "
            f"{here}/ only ({len(lonely)} without partner); add it to {there}/ or remove it"
        )
    pairs = []
    for stem, path in inputs.items():
        image, target = read(path), read(targets[stem])
        _check_same_shape(image, target)
        volumes, matched = _volumes(image, min_size), _volumes(target, min_size)
        made = [
            pair
            for a, b in zip(volumes, matched, strict=True)
            for pair in zip(*_normalise(a, b, match_pairs, str(path)), strict=True)
        ]
        names = _plane_names(path.name, len(made))
        pairs += [Pair(a, b, name, stem) for (a, b), name in zip(made, names, strict=True)]
    return pairs


def _load_arrays(files: list[Path], match_pairs: bool, min_size: int) -> dict[str, list[Pair]]:
    """Pairs by defect from the 2019 layout; each index is an image of its own."""
    inputs: dict[str, Path] = {}
    targets: dict[str, Path] = {}
    for path in files:
        name, _, side = path.stem.rpartition("_")
        if path.suffix.lower() != ".npy" or not name or side not in ("X", "Y"):
            raise ValueError(
                f"{path}: expected NAME_X.npy or NAME_Y.npy, or images in clean/, <defect>/ and "
                "pairs/<defect>/; move it into one of these folders"
            )
        if name.lower() in RESERVED:
            raise ValueError(f"{path}: expected a defect's name, got a reserved one; rename it")
        (inputs if side == "X" else targets)[name] = path
    for name in sorted(inputs.keys() ^ targets.keys()):
        path, side = (inputs[name], "Y") if name in inputs else (targets[name], "X")
        raise ValueError(f"{path}: expected {name}_{side}.npy beside it, got none; add it")
    return {
        name: _load_array_pairs(inputs[name], targets[name], match_pairs, min_size)
        for name in sorted(inputs)
    }


def _by_part(pairs: dict[str, list[Pair]]) -> Dataset:
    """Arrays named NAME_test_X.npy are held-out pairs; NAME_train_X.npy is the same as NAME_X."""
    parts: dict[str, dict[str, list[Pair]]] = {"train": {}, "test": {}}
    for name, found in pairs.items():
        defect, _, part = name.rpartition("_")
        if not defect or part not in parts:
            defect, part = name, "train"
        parts[part].setdefault(defect, []).extend(found)
    return Dataset([], {}, parts["train"], parts["test"])


def _load_array_pairs(
    input_path: Path, target_path: Path, match_pairs: bool, min_size: int
) -> list[Pair]:
    image, target = read(input_path), read(target_path)
    for one in (image, target):
        if one.axes != "ZYX":
            raise ValueError(
                f"{one.source}: expected (N, H, W) or (N, H, W, 1), got {one.array.shape}; "
                "stack the images along a first axis"
            )
        _check_size(one, min_size)
    _check_same_shape(image, target)
    name = input_path.stem.removesuffix("_X")
    pairs = []
    for k, (a, b) in enumerate(zip(image.array, target.array, strict=True)):
        check_pixels(a, f"{input_path}#{k}", allow_constant=False)
        check_pixels(b, f"{target_path}#{k}", allow_constant=False)
        normalised = _normalise(a, b, match_pairs, f"{input_path}#{k}")
        pairs.append(Pair(*normalised, f"{input_path.name}#{k}", f"{name}#{k}"))
    return pairs


def _normalise(
    image: np.ndarray, target: np.ndarray, match_pairs: bool, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Both on the input's percentile scale; float32, (..., Y, X)."""
    scale = percentile_map(image)
    a, b = scale.apply(image), scale.apply(target)
    if not match_pairs:
        return a, b
    try:
        return a, match_intensity(b, a)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _volumes(image: Image, min_size: int) -> np.ndarray:
    """Volumes (V, Z, Y, X) of an image, large enough and none of them constant."""
    _check_size(image, min_size)
    volumes = to_volumes(image.array, image.axes)
    for volume in volumes:
        check_pixels(volume, str(image.source), allow_constant=False)
    return volumes


def _check_size(image: Image, min_size: int) -> None:
    height, width = (image.array.shape[image.axes.index(letter)] for letter in "YX")
    if min(height, width) < min_size:
        raise ValueError(
            f"{image.source}: expected at least {min_size}×{min_size} pixels, got "
            f"{height}×{width}; leave it out or crop larger"
        )


def _check_same_shape(image: Image, target: Image) -> None:
    shapes = [f"{one.axes} {one.array.shape}" for one in (image, target)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{image.source}: expected the shape of its partner {target.source}, {shapes[1]}, "
            f"got {shapes[0]}; crop both to the same field"
        )


def _folders(folder: Path) -> list[Path]:
    """Visible folders, sorted."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] not in "._")


def _images_in(folder: Path) -> list[Path]:
    paths = list_images([folder])
    if not paths:
        raise ValueError(
            f"{folder}: expected images (.tif, .png, .npy), got none; add some or remove it"
        )
    return paths


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in _images_in(folder):
        other = found.setdefault(_stem(path), path)
        if other != path:
            raise ValueError(
                f"{folder}: expected one image of each name, got {other.name} and {path.name}; "
                "keep one"
            )
    return found


def _stem(path: Path) -> str:
    """File name without its suffix; ``.ome.tif`` is one."""
    return path.stem.removesuffix(".ome")


def _plane_names(name: str, number: int) -> list[str]:
    return [name] if number == 1 else [f"{name}#{k}" for k in range(number)]
