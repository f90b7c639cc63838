"""Training sets as they are published: pairs found in the layouts of CARE, W2S and FMD.

CARE (CSBDeep), one defect, named after the folder ``DEFECT``::

    DEFECT/*.npz                            patches: X, Y and axes such as SCYX or SCZYX
    DEFECT/{GT,low,condition_1,...}/*.tif   every folder beside GT/ holds inputs, by file name

W2S, defects ``noise`` and, where there is ``sim/``, ``lowres``; fields 081 to 120 are for tests::

    {avg1,...,avg400,sim}/NNN_C.npy         or .png: field NNN, channel C
    ImageNNN/wf_channelC.npy                the 400 raw exposures

FMD, defect ``noise``; field of view 19 is for tests, as are the images of ``test_mix``::

    TYPE/{raw,avg2,...,gt}/FOV/*.png
    test_mix/{raw,avg2,...,gt}/*.png

Each may be parted into ``train/`` and ``test/``, or ``train_data/`` and ``test_data/``, and lie
one or two folders deep, so that a dataset is a folder for each set: ``dataset/axial/train.npz``.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..image.formats import Image, list_images, split_part
from .names import folded, folders_in, images_in, matched, stem_of
from .published_pixels import open_patches, read_both, read_enlarged, read_exposures

PIXELS = 2**27  # read of a defect's training pairs, and of its test pairs: 1 GiB as two float32
_DEEP = 2  # folders below the dataset's own in which a set is looked for
_PARTS = {"train": False, "train_data": False, "test": True, "test_data": True}  # held out?
_NO_DEFECTS = {*_PARTS, "clean", "pairs"}
_W2S_TRAINING = 80  # fields 1 to 80 of 120
_W2S_RAW = re.compile(r"Image\d{3}")
_FMD_TEST = "19"  # field of view
_FMD_PARTS = re.compile(r"(Confocal|TwoPhoton|WideField)_\w+|test_mix")

T = TypeVar("T")
Layout = Callable[[Path, str], dict[str, list["PublishedPair"]]]


@dataclass(frozen=True)
class PublishedPair:
    """Two images of the same field in a published set, not read yet.

    Attributes
    ----------
    name
        File name with the folder that tells it from others; ``#k`` is patch k of a file.
    image
        The field it is from. Noise realisations, channels and planes of one field stay together.
    read
        Gives input and target in the file's dtype and units; raises `ValueError` or `OSError`.
    test
        Held out by those who published it.
    optional
        One of many patches: may be left out where nothing can be learnt from it.
    """

    name: str
    image: str
    read: Callable[[], tuple[Image, Image]]
    test: bool = False
    optional: bool = False


def find_published(folder: Path) -> dict[str, list[PublishedPair]]:
    """Find the published sets in a dataset folder.

    Parameters
    ----------
    folder
        Holds a set in one of the module's layouts, or sets one or two folders deep; several of
        one defect are joined, their fields told apart by their folders.

    Returns
    -------
    Pairs by defect; empty where there is no published set.

    Raises
    ------
    ValueError
        Sets beside other images, two layouts in one folder, inputs without target, ``.npz``
        files that do not hold patches, or a set in a folder not named after its defect.
    """
    return _search(folder, _DEEP)


def thinned(pairs: Sequence[PublishedPair]) -> tuple[list[PublishedPair], int]:
    """Choose what is read where a set is too large to be read as a whole.

    Returns
    -------
    pairs : list
        Evenly spaced pairs, all of them where one plane of each is at most `PIXELS` together.
    planes : int
        How many evenly spaced planes of each are read at most, so that all are about `PIXELS`.
    """
    image, _ = pairs[0].read()
    height, width = (image.array.shape[image.axes.index(letter)] for letter in "YX")
    most = max(PIXELS // (height * width), 1)
    spaced = evenly(pairs, most)
    return spaced, most // len(spaced)


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Choose at most so many evenly spaced items, the first and last among them.

    Examples
    --------
    >>> evenly(range(10), 4), evenly("abc", 5)
    ([0, 3, 6, 9], ['a', 'b', 'c'])
    """
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(most, len(items)))]


def care_patches(folder: Path, defect: str) -> dict[str, list[PublishedPair]]:
    """Pairs of CSBDeep's ``.npz`` files; each index of S is an image of its own.

    Which patches are of one field is not stored. Of files above `PIXELS`, evenly spaced patches
    are listed. Pixels stay on disk until they are asked for, unless the file is compressed.
    """
    _check_defect(folder, defect)
    pairs = []
    for path in _patch_files(folder):
        patches = open_patches(path)
        where = path.relative_to(folder).with_suffix("").as_posix()
        test = path.stem.lower().split("_")[-1] == "test"
        pairs += [
            PublishedPair(f"{where}.npz#{k}", f"{where}#{k}", partial(patches.read, k), test, True)
            for k in evenly(range(len(patches)), max(PIXELS // patches.pixels, 1))
        ]
    return {defect: pairs}


def care_stacks(folder: Path, defect: str) -> dict[str, list[PublishedPair]]:
    """Pairs as for CSBDeep's ``RawData.from_folder``: file names in ``GT/`` and beside it."""
    _check_defect(folder, defect)
    truth = _ground_truth(folder) or folder / "GT"
    inputs = [p for p in folders_in(folder) if p != truth and list_images([p])]
    if not inputs:
        raise ValueError(
            f"{folder}: expected a folder of images such as low/ beside {truth.name}/, got none; "
            "add it"
        )
    pairs = [
        PublishedPair(f"{where.name}/{path.name}", stem_of(path), partial(read_both, path, clean))
        for where in inputs
        for path, clean in matched(where, truth)
    ]
    return {defect: pairs}


def w2s(folder: Path, defect: str) -> dict[str, list[PublishedPair]]:
    """Pairs of W2S: the noisiest average or exposure to avg400, and avg400 to SIM."""
    raw = [p for p in folders_in(folder) if _W2S_RAW.fullmatch(p.name)]
    if raw:
        return {"noise": [_w2s_exposures(path) for one in raw for path in _channels(one)]}
    clean, sim, noisy = folder / "avg400", folder / "sim", _noisiest(folder, "avg400")
    sets: dict[str, list[PublishedPair]] = {}
    if noisy is not None:
        sets["noise"] = [_w2s_pair(a, b, read_both) for a, b in matched(noisy, clean)]
    if sim.is_dir():
        sets["lowres"] = [_w2s_pair(b, a, read_enlarged) for a, b in matched(sim, clean)]
    if not sets:
        raise ValueError(f"{folder}: expected avg1/ or sim/ beside avg400/, got neither; add it")
    return sets


def fmd(folder: Path, defect: str) -> dict[str, list[PublishedPair]]:
    """Pairs of FMD: the noisiest captures to the average of 50, for each field of view.

    Where there is ``test_mix/``, made of captures of the test fields, it takes their place.
    """
    mix = folder / "test_mix"
    kinds = [p for p in folders_in(folder) if _is_fmd(p) and p != mix]
    if not kinds and not mix.is_dir():
        kinds = [folder]
    pairs = [pair for kind in kinds for pair in _fmd_type(kind)]
    if mix.is_dir():
        pairs = [pair for pair in pairs if not pair.test]
        for path, clean in matched(_fmd_noisy(mix), mix / "gt"):
            image = f"{path.stem.rpartition('_')[0]}/{_FMD_TEST}"
            reader = partial(read_both, path, clean)
            pairs.append(PublishedPair(f"test_mix/{path.name}", image, reader, test=True))
    return {"noise": pairs}


def _search(folder: Path, deep: int) -> dict[str, list[PublishedPair]]:
    """Pairs of the set in a folder, or of the sets in the folders below."""
    here = _pairs_here(folder)
    if here:
        _check_one(folder, ["a set of pairs"], [p for p in folders_in(folder) if _is_set(p)])
    if here or not deep:
        return here
    inside = {sub: _search(sub, deep - 1) for sub in folders_in(folder)}
    sets = [sub for sub in inside if inside[sub]]
    if sets:
        others = [sub for sub in inside if not inside[sub] and _holds_images(sub)]
        _check_one(folder, [*(f"{p.name}/" for p in sets[:1])], [*others, *_images_in(folder)])
    joined: dict[str, list[PublishedPair]] = {}
    for sub in sets:
        for defect, pairs in inside[sub].items():
            joined.setdefault(defect, []).extend(
                replace(
                    p, image=f"{sub.name}/{p.image}", test=p.test or _PARTS.get(sub.name, False)
                )
                for p in pairs
            )
    return joined


def _pairs_here(folder: Path) -> dict[str, list[PublishedPair]]:
    """Pairs of the set that lies in a folder and in its training and test parts."""
    defect = folded(folder.resolve().name)
    joined: dict[str, list[PublishedPair]] = {}
    parts = [(folder, False), *((folder / name, test) for name, test in _PARTS.items())]
    for part, test in parts:
        layout = _layout(part) if part.is_dir() else None
        for name, pairs in layout(part, defect).items() if layout else ():
            marked = [replace(pair, test=pair.test or test) for pair in pairs]
            joined.setdefault(name, []).extend(marked)
    return joined


def _layout(folder: Path) -> Layout | None:
    """Recognise the layout of a folder."""
    names = [p.name for p in folders_in(folder)]
    truth = _ground_truth(folder)
    layouts: dict[str, Layout] = {}
    if _patch_files(folder):
        layouts[_patch_files(folder)[0].name] = care_patches
    if "avg400" in names or any(_W2S_RAW.fullmatch(name) for name in names):
        layouts["avg400/ or ImageNNN/"] = w2s
    if any(_is_fmd(p) for p in folders_in(folder)):
        layouts["test_mix/ or TYPE/"] = fmd
    elif truth is not None:
        fields = folders_in(truth) and not list_images([truth])
        layouts[f"{truth.name}/"] = fmd if fields else care_stacks
    if layouts:
        _check_one(folder, list(layouts), _images_in(folder))
    return next(iter(layouts.values()), None)


def _check_one(folder: Path, sets: list[str], others: Sequence[Path]) -> None:
    """Raise unless there is one published set and nothing else."""
    if len(sets) + len(others) > 1:
        first, second = [*sets, *(f"{p.name}/" if p.is_dir() else p.name for p in others)][:2]
        raise ValueError(
            f"{folder}: expected one layout, got {first} and {second}; give each set a folder of "
            "its own, and other images another dataset"
        )


def _is_set(folder: Path) -> bool:
    """Whether a folder within a set is a set by itself, and not a part of that one."""
    part = folder.name in _PARTS or folder.name.startswith("channel_") or _is_fmd(folder)
    return not part and _layout(folder) is not None


def _is_fmd(folder: Path) -> bool:
    """Whether a folder is named as a type of FMD and parted as one."""
    return bool(_FMD_PARTS.fullmatch(folder.name)) and bool(folders_in(folder))


def _holds_images(folder: Path) -> bool:
    return folder.name.lower() in _NO_DEFECTS or bool(list_images([folder]))


def _check_defect(folder: Path, defect: str) -> None:
    """Raise where a set has no folder that names its defect."""
    if defect.lower() in _NO_DEFECTS:
        raise ValueError(
            f"{folder}: expected a folder named after its defect, got {defect}; name it noise, "
            "axial, lowres or the like, or give the folder above"
        )


def _ground_truth(folder: Path) -> Path | None:
    return next((p for p in folders_in(folder) if p.name.lower() == "gt"), None)


def _noisiest(folder: Path, clean: str) -> Path | None:
    """Folder of the fewest averaged exposures: raw/, avg1/, avg2/ and so on."""
    averages = {
        int(p.name[3:] or 0): p
        for p in folders_in(folder)
        if re.fullmatch(r"avg\d+|raw", p.name) and p.name != clean
    }
    return averages[min(averages)] if averages else None


def _w2s_pair(
    path: Path, target: Path, reader: Callable[[Path, Path], tuple[Image, Image]]
) -> PublishedPair:
    return _w2s_field(path, path.stem.split("_"), partial(reader, path, target))


def _w2s_exposures(path: Path) -> PublishedPair:
    return _w2s_field(path, [path.parent.name[-3:], path.stem[-1:]], partial(read_exposures, path))


def _w2s_field(
    path: Path, parts: list[str], reader: Callable[[], tuple[Image, Image]]
) -> PublishedPair:
    """Pair of a field and channel."""
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(
            f"{path}: expected a name of field and channel such as 001_0, got {path.stem}; "
            "move it away"
        )
    test = int(parts[0]) > _W2S_TRAINING
    return PublishedPair(f"{path.parent.name}/{path.name}", parts[0], reader, test)


def _channels(folder: Path) -> list[Path]:
    """Raw exposures of each channel of a field of W2S."""
    paths = sorted(folder.glob("wf_channel?.npy"))
    if not paths:
        raise ValueError(f"{folder}: expected wf_channel0.npy and others, got none; add them")
    return paths


def _fmd_type(folder: Path) -> list[PublishedPair]:
    """Pairs of one microscope and sample."""
    truth = folder / "gt"
    pairs = []
    for field in sorted(folders_in(_fmd_noisy(folder)), key=lambda p: (len(p.name), p.name)):
        clean = images_in(truth / field.name)
        if len(clean) != 1:
            raise ValueError(
                f"{truth / field.name}: expected one image, avg50.png, got {len(clean)}; keep one"
            )
        image, test = f"{folder.resolve().name}/{field.name}", field.name == _FMD_TEST
        pairs += [
            PublishedPair(f"{image}/{path.name}", image, partial(read_both, path, clean[0]), test)
            for path in images_in(field)
        ]
    return pairs


def _fmd_noisy(folder: Path) -> Path:
    noisy = _noisiest(folder, "gt")
    if noisy is None:
        raise ValueError(f"{folder}: expected raw/, avg2/ or the like, got none; add one")
    return noisy


def _patch_files(folder: Path) -> list[Path]:
    """``.npz`` files of a folder and of the channels in it."""
    paths = sorted([*folder.glob("*.npz"), *folder.glob("channel_*/*.npz")])
    return [path for path in paths if path.name[0] not in "._"]


def _images_in(folder: Path) -> list[Path]:
    """Images of a folder besides files of patches."""
    patches = _patch_files(folder)
    return [path for path in list_images([folder]) if split_part(path)[0] not in patches]
