"""Folders of images by the images' names: what is there, and what belongs together."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ..image.formats import FORMATS, bare_name, list_images, split_part

# Words in the names of folders that programs and people leave beside their images.
_LEFT = (
    "backup denoised deconvolved evaluation mask output prediction preview processed report "
    "restoration restored result run segmentation thumbnail temp tmp trash"
)
_RUN = ("restorer.onnx", "run.json", "settings.json")  # files of a training run


def folders_in(folder: Path) -> list[Path]:
    """Visible folders, sorted."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] not in "._")


def named_folders(folder: Path) -> dict[str, Path]:
    """Visible folders by name, sorted; ``Noise`` and ``NOISE`` are ``noise``.

    Raises
    ------
    ValueError
        Two that differ in upper and lower case only.
    """
    named: dict[str, Path] = {}
    for path in folders_in(folder):
        other = named.setdefault(folded(path.name), path)
        if other != path:
            raise ValueError(
                f"{folder}: expected folders of different names, got {other.name}/ and "
                f"{path.name}/; join them"
            )
    return named


def check_defects(folders: Iterable[Path]) -> None:
    """Refuse folders that hold no defective images, by their names or as the run of a training.

    A network that learns from results of an earlier one learns its faults.

    Raises
    ------
    ValueError
        One of them.
    """
    for folder in folders:
        words = {word.rstrip("s") for word in re.findall("[a-z]+", folder.name.lower())}
        found = sorted(words & set(_LEFT.split()))
        run = [name for name in _RUN if (folder / name).exists()]
        if found or run:
            what = f"what is called {found[0]}" if found else f"the run that {run[0]} is of"
            raise ValueError(
                f"{folder}: expected a folder named after a defect, got {what}, which would be "
                "learned as one; move it out of the dataset, or rename it if it is a defect"
            )


def folded(name: str) -> str:
    """Bring a name in capitals, or with a first one, to lower case; keep others.

    Examples
    --------
    >>> folded("Noise"), folded("NOISE"), folded("myDefect")
    ('noise', 'noise', 'myDefect')
    """
    return name.lower() if name.istitle() or name.isupper() else name


def images_in(folder: Path) -> list[Path]:
    """Images directly in a folder, sorted, or the image named; `ValueError` where there is none."""
    paths = list_images([folder]) if folder.exists() else []
    if not paths:
        raise ValueError(f"{folder}: expected images ({_known()}), got none; add some or remove it")
    return paths


def _known() -> str:
    """Name the formats that need no further package."""
    return ", ".join(form.suffixes[0] for form in FORMATS if form.opens and not form.package)


def by_stem(folder: Path) -> dict[str, Path]:
    """Images directly in a folder by name without suffix; raises `ValueError` for two of one."""
    images: dict[str, Path] = {}
    for path in images_in(folder):
        other = images.setdefault(stem_of(path), path)
        if other != path:
            raise ValueError(
                f"{folder}: expected one image of each name, got {other.name} and {path.name}; "
                "keep one"
            )
    return images


def matched(inputs: Path, targets: Path, *, both: bool = False) -> list[tuple[Path, Path]]:
    """Images of a folder with those of the same name in another.

    Raises
    ------
    ValueError
        A folder without images, or an input without target; with `both`, a target without input
        too.
    """
    sides = by_stem(inputs), by_stem(targets)
    lonely = sorted(
        sides[0].keys() ^ sides[1].keys() if both else sides[0].keys() - sides[1].keys()
    )
    if lonely:
        here, there = (inputs, targets) if lonely[0] in sides[0] else (targets, inputs)
        raise ValueError(
            f"{inputs.parent}: expected the same file names in {inputs.name}/ and {targets.name}/, "
            f"got {lonely[0]} in {here.name}/ only ({len(lonely)} in all); add it to "
            f"{there.name}/ or remove it"
        )
    return [(path, sides[1][stem]) for stem, path in sides[0].items()]


def stem_of(path: Path) -> str:
    """File name without its suffix, composed as most systems do; ``.ome.tif`` is one.

    Examples
    --------
    >>> stem_of(Path("a/b.ome.tif")), stem_of(Path("plate.zarr#A/1/0"))
    ('b', 'plate#A/1/0')
    """
    file, part = split_part(path)
    stem = unicodedata.normalize("NFC", bare_name(file))
    return stem if part is None else f"{stem}#{part}"


def label_of(path: Path) -> str:
    """File name, with the image's name or number in it."""
    file, part = split_part(path)
    return file.name if part is None else f"{file.name}#{part}"
