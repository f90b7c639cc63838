"""Training sets: folders of images become normalised planes, with their images' names.

Two layouts are accepted, beside those in which others publish theirs (see `published`)::

    dataset/clean/                               NAME_X.npy   defective, (N, H, W[, 1])
    dataset/<defect>/                            NAME_Y.npy   clean, same shape
    dataset/pairs/<defect>/{input,target}/
    dataset/test/<defect>/{input,target}/        (the 2019 layout; one NAME a defect)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..image.axes import to_volumes
from ..image.formats import Image, check_pixels, list_images, read
from ..image.intensity import fit_affine, percentile_map
from .names import (
    check_defects,
    folders_in,
    images_in,
    label_of,
    matched,
    named_folders,
    stem_of,
)
from .published import PublishedPair, evenly, find_published, thinned
from .published_pixels import scanned_along_x

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
        Of one of the layouts, see the module and `published`. Volumes (each time and channel of
        a file) are normalised as a whole by `percentile_map`.
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
        An empty folder, none or several of the layouts, inputs without target, of different or
        too small size, or images that `read` or `check_pixels` refuse. The message names the
        file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"expected a dataset folder, {folder} does not exist")
    if not folder.is_dir():
        raise ValueError(f"expected a dataset folder, got the file {folder}; name its folder")
    published = find_published(folder)
    if published:
        return _load_published(folder, published, match_pairs, min_size)
    folders, files = folders_in(folder), list_images([folder])
    if folders and files:
        raise ValueError(
            f"{folder}: expected either folders or NAME_X.npy and NAME_Y.npy files, got both "
            f"({folders[0].name}/ and {files[0].name}); keep one layout"
        )
    if files:
        return _by_part(_load_arrays(files, match_pairs, min_size))
    return _load_folders(folder, match_pairs, min_size)


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
    training, validation : list
        With two images or more, at least one image on each side; else all are kept.

    Raises
    ------
    ValueError
        A fraction out of range.

    Examples
    --------
    >>> plane = np.zeros((32, 32), np.float32)
    >>> samples = [Sample(plane, f"{i}#{k}", str(i)) for i in range(4) for k in range(3)]
    >>> training, validation = split(samples, 0.25, np.random.default_rng(0))
    >>> len(training), len(validation)
    (9, 3)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"expected a fraction between 0 and 1, got {fraction}; try 0.1")
    images = sorted({sample.image for sample in samples})
    if len(images) < 2:
        return list(samples), []
    number = min(max(round(fraction * len(images)), 1), len(images) - 1)
    names = {images[i] for i in rng.permutation(len(images))[:number]}
    training = [sample for sample in samples if sample.image not in names]
    return training, [sample for sample in samples if sample.image in names]


def match_intensity(target: np.ndarray, reference: np.ndarray, sigma: float = 6.0) -> np.ndarray:
    """Bring an image onto the intensity scale of another one of the same field.

    Gain a and offset b minimise ``|G(reference) - a G(target) - b|²`` (ordinary least squares),
    G a Gaussian blur: at that coarse scale noise and blur, which only one of the two has, do
    not bias the gain.

    Parameters
    ----------
    target
        The clean image, (..., Y, X), any real dtype; leading axes share one gain and offset.
    reference
        The defective image, same shape.
    sigma
        Standard deviation of the blur in pixels, along Y and X.

    Returns
    -------
    ``a * target + b``, float32. A target that is flat after the blur keeps its gain.

    Raises
    ------
    ValueError
        The shapes differ, or the images do not agree (no positive gain fits).

    Examples
    --------
    >>> clean = np.random.default_rng(0).random((64, 64))
    >>> np.allclose(match_intensity(clean, 3 * clean - 1), 3 * clean - 1, atol=1e-5)
    True
    """
    if target.shape != reference.shape:
        raise ValueError(
            f"expected target and reference of one shape, got {target.shape} and "
            f"{reference.shape}; crop them to the same field"
        )
    exact = np.asarray(target, np.float64)
    x, y = (_blur(v, sigma) for v in (exact, np.asarray(reference, np.float64)))
    fit = fit_affine(x, y, flat=1.0)
    if fit.gain <= 0:
        raise ValueError(
            "expected input and target of one field, but where one is bright the other is dark "
            f"(fitted gain {fit.gain:.3g}); check that they belong together"
        )
    return fit.apply(exact).astype(np.float32)


def _load_folders(folder: Path, match_pairs: bool, min_size: int) -> Dataset:
    named = named_folders(folder)
    check_defects(path for name, path in named.items() if name not in RESERVED)
    loaded = {
        name: _load_samples(path, min_size)
        for name, path in named.items()
        if name not in RESERVED[1:]
    }
    clean = loaded.pop("clean", [])
    pairs, test = (
        _load_pair_folders(named[role], match_pairs, min_size) if role in named else {}
        for role in RESERVED[1:]
    )
    return _checked(folder, Dataset(clean, loaded, pairs, test))


def _checked(folder: Path, dataset: Dataset) -> Dataset:
    """Raise unless there is something to train on, for each of the tests too."""
    if not dataset.defects:
        raise ValueError(
            f"{folder}: expected a folder for each defect, pairs/<defect>/ or NAME_X.npy and "
            "NAME_Y.npy files, got no defective image to train on; see the dataset layout"
        )
    for name in sorted(dataset.test.keys() - set(dataset.defects)):
        raise ValueError(
            f"{folder / 'test' / name}: expected one of the defects {', '.join(dataset.defects)}, "
            f"got {name}, which has no training image; rename it or add some"
        )
    return dataset


def _load_published(
    folder: Path, published: dict[str, list[PublishedPair]], match_pairs: bool, min_size: int
) -> Dataset:
    roles: tuple[dict[str, list[Pair]], ...] = ({}, {})
    for defect, pairs in published.items():
        for for_test, role in enumerate(roles):
            some = [pair for pair in pairs if pair.test == bool(for_test)]
            if some:
                role[defect] = _load_task(defect, some, match_pairs, min_size)
    return _checked(folder, Dataset([], {}, *roles))


def _load_task(
    defect: str, published: list[PublishedPair], match_pairs: bool, min_size: int
) -> list[Pair]:
    """Pairs of one defect and role; axis 0 of axial planes is the scan axis."""
    pairs_read, most = thinned(published)
    pairs: list[Pair] = []
    failed: list[ValueError] = []
    for one in pairs_read:
        try:
            pairs += _image_pairs(one.read(), one.name, one.image, match_pairs, min_size, most)
        except ValueError as error:
            if not one.optional:
                raise
            failed.append(error)
    if len(failed) > len(pairs_read) / 10:
        raise failed[0]
    sides = [p.input for p in pairs], [p.target for p in pairs]
    if "axial" in defect.lower() and scanned_along_x(*sides):
        return [replace(p, input=p.input.T, target=p.target.T) for p in pairs]
    return pairs


def _load_samples(folder: Path, min_size: int) -> list[Sample]:
    """All planes of all images of a folder."""
    samples = []
    for path in images_in(folder):
        volumes = _volumes(read(path), min_size)
        planes = [plane for v in volumes for plane in percentile_map(v).apply(v)]
        names = _plane_names(label_of(path), len(planes))
        samples += [Sample(p, n, stem_of(path)) for p, n in zip(planes, names, strict=True)]
    return samples


def _load_pair_folders(folder: Path, match_pairs: bool, min_size: int) -> dict[str, list[Pair]]:
    """Pairs by defect from ``<defect>/{input,target}/``."""
    folders = named_folders(folder)
    if not folders:
        raise ValueError(
            f"{folder}: expected <defect>/input/ and <defect>/target/, got no folder; add them "
            f"or remove {folder.name}/"
        )
    check_defects(folders.values())
    return {name: _load_pairs(p, match_pairs, min_size) for name, p in folders.items()}


def _load_pairs(folder: Path, match_pairs: bool, min_size: int) -> list[Pair]:
    if folder.name.lower() in RESERVED:
        raise ValueError(f"{folder}: expected a defect's name, got a reserved one; rename it")
    sides = named_folders(folder)
    for side in ("input", "target"):
        if side not in sides:
            raise ValueError(f"{folder}: expected the folders input/ and target/, got no {side}/")
    pairs = []
    for path, clean in matched(sides["input"], sides["target"], both=True):
        both = read(path), read(clean)
        _check_differ(*both)
        pairs += _image_pairs(both, label_of(path), stem_of(path), match_pairs, min_size)
    return pairs


def _image_pairs(
    both: tuple[Image, Image], name: str, unit: str, match_pairs: bool, min_size: int, most: int = 0
) -> list[Pair]:
    """Pairs of the planes of two images, or of so many evenly spaced ones at most."""
    volumes, clean = (_volumes(image, min_size) for image in _aligned(*both))
    number, depth = volumes.shape[0] * volumes.shape[1], volumes.shape[1]
    indices = np.array(evenly(range(number), most or number))
    planes: list[tuple[np.ndarray, np.ndarray]] = []
    for v in np.unique(indices // depth):
        part = indices[indices // depth == v] % depth
        sides = _normalise(volumes[v], clean[v], match_pairs, str(both[0].source), part)
        planes += zip(*sides, strict=True)
    names = _plane_names(name, number)
    return [Pair(a, b, names[k], unit) for k, (a, b) in zip(indices, planes, strict=True)]


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
    for name, some in pairs.items():
        defect, _, part = name.rpartition("_")
        if not defect or part not in parts:
            defect, part = name, "train"
        parts[part].setdefault(defect, []).extend(some)
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
    _check_differ(image, target)
    name = input_path.stem.removesuffix("_X")
    pairs: list[Pair] = []
    for k, arrays in enumerate(zip(image.array, target.array, strict=True)):
        sides = zip(arrays, (input_path, target_path), strict=True)
        one, other = (Image(array, "YX", source=f"{path}#{k}") for array, path in sides)
        names = f"{input_path.name}#{k}", f"{name}#{k}"
        pairs += _image_pairs((one, other), *names, match_pairs, min_size)
    return pairs


def _normalise(
    image: np.ndarray, target: np.ndarray, match_pairs: bool, name: str, planes: Any = ...
) -> tuple[np.ndarray, np.ndarray]:
    """Planes of both on the percentile scale of the whole input; float32, (..., Y, X)."""
    scale = percentile_map(image)
    a, b = scale.apply(image[planes]), scale.apply(target[planes])
    if not match_pairs:
        return a, b
    try:
        return a, match_intensity(b, a)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _blur(array: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of (..., Y, X) along Y and X only."""
    from scipy.ndimage import gaussian_filter  # which the base installation lacks

    widths = (0.0,) * (array.ndim - 2) + (sigma, sigma)
    return np.asarray(gaussian_filter(array, widths, mode="nearest"))


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


def _aligned(image: Image, target: Image) -> tuple[Image, Image]:
    """Bring two images of one shape to one name of the axes: frames may be saved as slices."""
    one, other = _squeezed(image), _squeezed(target)
    if one.array.shape == other.array.shape and one.axes.replace("T", "Z") == other.axes.replace(
        "T", "Z"
    ):
        return one, replace(other, axes=one.axes)
    _check_same_shape(one, other)
    return one, other


def _squeezed(image: Image) -> Image:
    """Leave axes of length 1 out, Y and X apart; pixels, axes and source alone."""
    kept = [k for k, a in enumerate(image.axes) if a in "YX" or image.array.shape[k] > 1]
    array = np.asarray(image.array).reshape([image.array.shape[k] for k in kept])
    return Image(array, "".join(image.axes[k] for k in kept), source=image.source)


def _check_same_shape(image: Image, target: Image) -> None:
    shapes = [f"{one.axes} {one.array.shape}" for one in (image, target)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{image.source}: expected the shape of its target {target.source}, {shapes[1]}, "
            f"got {shapes[0]}; crop both to the same field"
        )


def _check_differ(image: Image, target: Image) -> None:
    """Refuse a pair that teaches nothing, as one where a folder was copied does."""
    if np.array_equal(image.array, target.array):
        raise ValueError(
            f"{image.source}: expected a defective input and a clean target, got the same pixels "
            f"in {target.source}; leave the pair out, or correct one side"
        )


def _plane_names(name: str, number: int) -> list[str]:
    return [name] if number == 1 else [f"{name}#{k}" for k in range(number)]
