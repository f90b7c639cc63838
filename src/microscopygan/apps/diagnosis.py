"""The command ``diagnose``: images in; text, a line of JSON, or a page out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..diagnosis.planes import Looked, look, planes_each
from ..diagnosis.words import ImageDiagnosis
from ..image.formats import list_images
from ..restoration.diagnosed import conclude, hints_of, spread
from ..restoration.models import GENERALIST
from .batch import FAILURES, list_failures, one_line, say

Failures = dict[Path | str, Exception]


def diagnose_batch(
    images: Sequence[Path | str],
    clean: Path | str | None = None,
    output: Path | None = None,
    *,
    each: bool = False,
    axes: str | None = None,
    model: str = GENERALIST,
    seed: int = 0,
    this_file: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    as_json: bool = False,
) -> Failures:
    """Diagnose images, print what is wrong, and write a page about it.

    Parameters
    ----------
    images
        Files, folders, quoted patterns, URLs: of one laboratory, with the same defects.
    clean
        Clean images, likewise.
    output
        HTML file to make.
    each
        Judge each image by itself.
    axes, this_file
        As for `open_image`.
    model
        The one that is to restore the images.
    seed
        Of the choice of what is looked at.
    overwrite
        Replace `output`.
    quiet
        Print nothing but errors and what `as_json` asks for.
    as_json
        Print one JSON object a line: of each diagnosis, and of each image that cannot be read.

    Returns
    -------
    dict
        What is wrong with those of several images that could not be read.

    Raises
    ------
    ValueError, OSError
        No images, an output that exists; or the only image cannot be read.
    """
    if output is not None and output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; give --overwrite, or another output")
    sources = list_images(images, sets=not this_file)
    if not sources:
        raise ValueError(f"{', '.join(map(str, images))}: expected images, found none")
    hints = hints_of(model)
    shown = [] if clean is None else _clean(clean, axes)
    groups = [[source] for source in sources] if each else [spread(sources)]
    failures: Failures = {}
    diagnoses = []
    for group in groups:
        before = len(failures)
        looked = _look(group, axes, this_file, failures)
        for source in list(failures)[before:] if as_json else ():
            say(json.dumps({"input": str(source), "error": one_line(failures[source])}))
        if not looked:
            continue
        diagnoses.append(conclude(looked, shown, hints=hints, seed=seed))
        if as_json:
            say(json.dumps(diagnoses[-1].as_dict()))
        elif not quiet:
            _show(diagnoses[-1])
    if failures and len(sources) == 1:
        raise failures[sources[0]]
    if output is not None and diagnoses:
        from ..evaluate.report.diagnosis_page import write_diagnosis

        write_diagnosis(diagnoses, output, overwrite=overwrite)
        if not (quiet or as_json):
            say(f"Page written to {output}")
    list_failures(failures, len(sources), "diagnosed")
    return failures


def _look(
    group: Iterable[Path | str], axes: str | None, this_file: bool, failures: Failures
) -> list[Looked]:
    """Read planes of the images of a laboratory; note which could not be read."""
    several, looked = list(group), []
    for source in several:
        try:
            count = planes_each(len(several))
            looked.append(look(source, axes=axes, count=count, this_file=this_file))
        except FAILURES as error:
            failures[source] = error
    return looked


def _clean(folder: Path | str, axes: str | None) -> list[Looked]:
    sources = spread(list_images([folder]))
    if not sources:
        raise ValueError(f"{folder}: expected clean images, found none")
    return [look(source, axes=axes, count=planes_each(len(sources))) for source in sources]


def _show(diagnosis: ImageDiagnosis) -> None:
    for line in str(diagnosis).split("\n"):
        say(line)
