"""Which files, folders and URLs are images."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import overload

from .ome_zarr import as_url, is_zarr
from .vendor import PLUGINS, split_scene

SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".zarr")


@overload
def list_images(paths: Iterable[Path]) -> list[Path]: ...
@overload
def list_images(paths: Iterable[Path | str]) -> list[Path | str]: ...
def list_images(paths: Iterable[Path | str]) -> list[Path] | list[Path | str]:
    """List images: those named, those directly in the folders named, and those of a pattern.

    Parameters
    ----------
    paths
        Files, Zarr folders, URLs, other folders, and patterns such as ``plate/*.tif`` or
        ``**/*.zarr``. Of folders and patterns, what has a known suffix and is not hidden.

    Returns
    -------
    Sorted, each once, then the URLs as they were given; empty where the folders hold no image.

    Raises
    ------
    FileNotFoundError
        A path does not exist, or a pattern matches no image.
    ValueError
        A file that is named has an unknown suffix.
    """
    found: set[Path] = set()
    urls: list[Path | str] = []
    for path in paths:
        if as_url(path) is not None:
            urls.append(path)
        else:
            found.update(_images_at(Path(path)))
    return [*sorted(found), *dict.fromkeys(urls)]


def image_suffix(path: Path) -> str:
    """Return the suffix of a known image format in lower case.

    Raises
    ------
    ValueError
        Another suffix.

    Examples
    --------
    >>> image_suffix(Path("a.ome.TIF")), image_suffix(Path("a.lif#2"))
    ('.tif', '.lif')
    """
    suffix = split_scene(path)[0].suffix.lower()
    if suffix not in SUFFIXES and suffix not in PLUGINS:
        raise ValueError(
            f"{path}: expected an image file ({', '.join(SUFFIXES)}), got suffix {suffix!r}; "
            "convert it to .tif"
        )
    return suffix


def _images_at(path: Path) -> list[Path]:
    """Images that a local path or pattern names."""
    if is_zarr(path):
        return [path]
    if path.is_dir():
        return [inner for inner in path.iterdir() if _is_image(inner)]
    if split_scene(path)[0].exists():
        image_suffix(path)
        return [path]
    if glob.has_magic(str(path)):
        matches = [Path(name) for name in glob.glob(str(path), recursive=True)]
        images = [match for match in matches if _is_image(match)]
        if images:
            return images
        raise FileNotFoundError(f"expected images that match {path}, got none; check the pattern")
    raise FileNotFoundError(
        f"expected an image file or folder, {path} does not exist; check the name"
    )


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if path.name[0] == ".":
        return False
    if path.is_dir():
        return suffix == ".zarr"
    return suffix in (*SUFFIXES, *PLUGINS) and suffix != ".zarr" and path.is_file()
