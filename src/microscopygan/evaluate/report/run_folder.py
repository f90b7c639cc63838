"""Read what a training run left behind; every part may be absent."""

import csv
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from microscopygan.evaluate.score_table import number

Table = list[dict[str, str]]
# defect, then number of the example, then kind ("input", "clean", ...), to the plane (Y, X)
Pictures = dict[str, dict[str, dict[str, NDArray[np.float32]]]]

PARTS = ("settings.json", "run.json", "defects/log.csv", "restorer/log.csv", "evaluation")

LOGS = {
    "defects": "defects/log.csv",
    "restorer": "restorer/log.csv",
    "validation": "restorer/judged.csv",
}


class _Dataset(BaseModel):
    """What ``run.json`` says of the images."""

    defects: dict[str, dict[str, Any]] | None = None


class _Adaptation(BaseModel):
    """What ``run.json`` says of an adaptation."""

    said: list[str] = []
    judged_on: dict[str, Any] = {}


class _Record(BaseModel):
    """What of ``run.json`` is shown, as far as it must have a form; other entries may be there."""

    dataset: _Dataset | None = None
    adaptation: _Adaptation | None = None
    seconds: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None
    program: dict[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """The parts of a run folder, empty where the run did not write them."""

    name: str
    settings: dict[str, Any]
    record: dict[str, Any]
    logs: dict[str, Table]
    scores: Table
    realism: dict[str, dict[str, dict[str, Any]]]
    examples: Pictures
    synthetic: Pictures


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Parameters
    ----------
    folder
        Holds any of settings.json, run.json, defects/log.csv, restorer/log.csv, evaluation/.

    Returns
    -------
    Its parts.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    ValueError
        It holds none of the parts, or one of them is broken.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"expected a run folder, {folder} is none; give a training's output"
        )
    if not any((folder / part).exists() for part in PARTS):
        raise ValueError(
            f"expected a run folder with any of {', '.join(PARTS)}, {folder} has none; "
            "give the folder that training wrote"
        )
    evaluation = folder / "evaluation"
    return Run(
        folder.resolve().name,
        _read_json(folder / "settings.json"),
        _read_record(folder / "run.json"),
        {part: _read_table(folder / path) for part, path in LOGS.items()},
        _read_table(evaluation / "scores.csv", ("defect", "method")),
        _read_json(evaluation / "realism.json", levels=3),
        _read_pictures(evaluation / "examples.npz"),
        _read_pictures(evaluation / "synthetic.npz"),
    )


def _nested(content: object, levels: int) -> bool:
    if not isinstance(content, dict):
        return False
    return levels == 1 or all(_nested(value, levels - 1) for value in content.values())


def _read_record(path: Path) -> dict[str, Any]:
    record = _read_json(path)
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ValueError(
            f"expected what a training wrote in {path}, got {where}: {problem['msg']}; run it again"
        ) from None
    return record


def _read_json(path: Path, levels: int = 1) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON in {path}, got {error}; run that stage again") from error
    if not _nested(content, levels):
        raise ValueError(f"expected {levels} nested objects in {path}; run that stage again")
    return dict(content)


def _read_table(path: Path, needed: tuple[str, ...] = ()) -> Table:
    if not path.exists():
        return []
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"expected CSV in {path}, got {error}; run that stage again") from error
    if rows and not set(needed) <= rows[0].keys():
        raise ValueError(
            f"expected columns {', '.join(needed)} in {path}, got {', '.join(rows[0])}"
        )
    return rows


def _read_pictures(path: Path) -> Pictures:
    if not path.exists():
        return {}
    pictures: Pictures = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                defect, number, kind = key.split("/")
                plane = np.asarray(arrays[key], np.float32)
                if plane.ndim != 2 or plane.size == 0:
                    raise ValueError(f"{key} has shape {plane.shape}, not (Y, X)")
                pictures.setdefault(defect, {}).setdefault(number, {})[kind] = plane
    except (ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"expected planes named defect/number/kind in {path}, got {error}; evaluate again"
        ) from error
    return pictures


def column(table: Table, name: str) -> NDArray[np.float64]:
    """Numbers of one column; what is no number becomes NaN.

    Parameters
    ----------
    table
        Rows as read from CSV.
    name
        Column.

    Returns
    -------
    1-D float64, one value a row.

    Examples
    --------
    >>> column([{"loss": "0.5"}, {"loss": ""}], "loss").tolist()
    [0.5, nan]
    """
    return np.array([number(row.get(name)) for row in table], np.float64)
