"""Score restored images, files or whole folders, against their targets."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from microscopygan.datasets.names import by_stem, stem_of
from microscopygan.evaluate.metrics import score
from microscopygan.evaluate.score_table import Spread, number, spread
from microscopygan.image.atomic import write_text
from microscopygan.image.axes import to_planes
from microscopygan.image.formats import read

Row = dict[str, str | float]


def _matched(restored: Path, target: Path) -> list[tuple[str, Path, Path]]:
    for path in (restored, target):
        if not path.exists():
            raise FileNotFoundError(f"expected an image file or folder, {path} does not exist")
    if restored.is_file() and target.is_file():
        return [(stem_of(restored), restored, target)]
    ours, theirs = by_stem(restored), by_stem(target)
    names = sorted(ours.keys() & theirs.keys())
    if not names:
        raise ValueError(
            f"expected images of the same names in {restored} ({len(ours)} images) and {target} "
            f"({len(theirs)}), got no common name; rename one side"
        )
    return [(name, ours[name], theirs[name]) for name in names]


def score_files(restored: Path, target: Path, *, data_range: float | None = None) -> Row:
    """Score one image file against its target, plane by plane.

    Parameters
    ----------
    restored, target
        Image files of one shape and one axes order.
    data_range
        For plain `psnr` and `ssim`; each target plane's max minus min where None.

    Returns
    -------
    ``planes`` (their number) and the mean of every metric of `score`.

    Raises
    ------
    ValueError
        Different shapes or axes, or planes that cannot be scored; the message names the file.
    """
    ours, theirs = read(restored), read(target)
    if ours.array.shape != theirs.array.shape or ours.axes != theirs.axes:
        raise ValueError(
            f"expected {restored} and {target} to have one shape, got {ours.axes} "
            f"{tuple(ours.array.shape)} and {theirs.axes} {tuple(theirs.array.shape)}"
        )
    planes, _ = to_planes(np.asarray(ours.array), ours.axes)
    targets, _ = to_planes(np.asarray(theirs.array), theirs.axes)
    try:
        scores = [score(t, r, data_range) for t, r in zip(targets, planes, strict=True)]
    except ValueError as error:
        raise ValueError(f"{restored}: {error}") from error
    row: Row = {"planes": len(scores)}
    return row | {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}


def evaluate_folders(
    restored: str | Path, target: str | Path, *, data_range: float | None = None
) -> list[Row]:
    """Score every restored image that has a target of the same name.

    Two files are compared whatever their names. In folders, names are compared without their
    extension; images without one of the same name are left out: `left_out` names them.

    Parameters
    ----------
    restored, target
        Image files or folders of images.
    data_range
        For plain `psnr` and `ssim`; each target plane's max minus min where None.

    Returns
    -------
    A row for each image: ``image`` (name), ``planes`` and the metrics of `score`.

    Raises
    ------
    FileNotFoundError
        A path does not exist.
    ValueError
        No common names, two images of one name, or as `score_files`.
    """
    return [
        {"image": name, **score_files(ours, theirs, data_range=data_range)}
        for name, ours, theirs in _matched(Path(restored), Path(target))
    ]


def left_out(restored: Path, target: Path) -> list[str]:
    """Names of images that only one of the folders has; none of a file."""
    if restored.is_file() or target.is_file():
        return []
    return sorted(by_stem(restored).keys() ^ by_stem(target).keys())


def summarise(rows: Sequence[Mapping[str, str | float]]) -> dict[str, Spread]:
    """Mean and standard deviation over images of every metric.

    Parameters
    ----------
    rows
        As `evaluate_folders` returns them; texts and ``planes`` are left out.

    Returns
    -------
    Metric to (mean, sd); sd is NaN for a single image or where a value is infinite.

    Raises
    ------
    ValueError
        No rows.

    Examples
    --------
    >>> summarise([{"image": "a", "psnr": 20.0}, {"image": "b", "psnr": 22.0}])["psnr"].mean
    21.0
    """
    if not rows:
        raise ValueError("expected at least one row to summarise, got none; score images first")
    metrics = [k for k, first in rows[0].items() if k != "planes" and not isinstance(first, str)]
    return {key: spread([number(row[key]) for row in rows]) for key in metrics}


def write_csv(
    rows: Sequence[Mapping[str, str | float]], path: str | Path, overwrite: bool = False
) -> Path:
    """Write rows as CSV with a header, completely or not at all.

    Parameters
    ----------
    rows
        As `evaluate_folders` returns them; the first row's keys are the columns.
    path
        File to make.
    overwrite
        Replace a file that is there.

    Returns
    -------
    The path.

    Raises
    ------
    ValueError
        No rows, or rows of different columns.
    FileExistsError
        The file exists and `overwrite` is not set.
    """
    if not rows:
        raise ValueError("expected at least one row to write, got none; score images first")
    if any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError("expected rows of the same columns; write different tables to two files")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(Path(path), text.getvalue(), overwrite=overwrite)
