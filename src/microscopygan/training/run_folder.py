"""The folder of a run: opened, checked against its settings, cleared; its small JSON files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ..defects import Defect, all_defects, kind_of
from ..defects.composition import Composition
from ..image.atomic import write_text
from ..settings import STAGES, Settings

_TIME_BUDGET = "steps.json"  # the time that a run has, and the steps that fit it


def open_run(run: Path, settings: Settings, stage: str, *, resume: bool, overwrite: bool) -> None:
    """Make or check the folder of a run; see `training.train`."""
    if stage not in STAGES:
        raise ValueError(f"stage: expected one of {', '.join(STAGES)}, got {stage!r}")
    saved = run / "settings.json"
    fresh = not run.exists() or not any(run.iterdir())
    second = (run / "restorer.onnx", run / "restorer" / "state.safetensors")
    if stage == "restorer" and saved.exists() and not any(path.exists() for path in second):
        fresh = True  # the second stage of a run whose first one is done
        if not resume:
            _clear(run, stage)
    if not fresh and resume:
        _check_same(saved, settings)
    elif not fresh and not overwrite:
        raise FileExistsError(f"{run} exists; give --resume to go on, or --overwrite to replace it")
    elif not fresh:
        _clear(run, stage)
    run.mkdir(parents=True, exist_ok=True)
    write_json(saved, settings.model_dump(mode="json"))


def begun(run: Path) -> bool:
    """Tell whether there is a run to resume."""
    return (run / "settings.json").exists()


def read_run_settings(run: Path) -> Settings:
    """Read the settings of a run, also of one that an earlier version of the program began.

    Raises
    ------
    ValueError
        They are damaged.
    """
    saved = run / "settings.json"
    try:
        return Settings.from_saved(saved.read_text())
    except (ValueError, RecursionError):
        raise _damaged(saved) from None


def _check_same(saved: Path, settings: Settings) -> None:
    if not saved.exists():
        raise ValueError(f"{saved.parent}: expected a run to resume, but it has no settings.json")
    before = read_run_settings(saved.parent)
    if before != settings:
        changed = [
            name
            for name in Settings.model_fields
            if getattr(before, name) != getattr(settings, name)
        ]
        raise ValueError(
            f"{saved.parent}: cannot resume with other settings ({', '.join(changed)} changed); "
            "give the same ones, or another run folder"
        )


def _clear(run: Path, stage: str) -> None:
    """Remove what a run holds; only files that a run writes, so that no other data is lost."""
    names = ["restorer", "restorer.onnx", "evaluation", "report.html"]
    if stage != "restorer":
        names += ["defects", "defects.safetensors", "physics.json", "unlikeness.json", "draws.npz"]
        names += [_TIME_BUDGET]
        names += ["run.json", "settings.json"]
    for name in names:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if budget := read_time_budget(run):
        budget.pop("minutes", None)
        budget.pop("restorer", None)
        write_json(run / _TIME_BUDGET, budget)


def keep_minutes(run: Path, minutes: float | None) -> None:
    """Keep the time that a run was begun with, in minutes.

    Raises
    ------
    ValueError
        It was begun with another one.
    """
    budget = read_time_budget(run)
    begun_with = budget.get("minutes")
    if begun_with is not None and minutes is not None and minutes != begun_with:
        raise ValueError(
            f"{run}: expected the {begun_with:g} minutes that it was begun with, got {minutes:g}; "
            "leave --minutes out, or give another run folder"
        )
    if begun_with is None and minutes is not None:
        write_json(run / _TIME_BUDGET, budget | {"minutes": minutes})


def keep_steps(run: Path, stage: str, steps: int) -> None:
    """Keep how many steps of a stage fit a run's time."""
    write_json(run / _TIME_BUDGET, read_time_budget(run) | {stage: steps})


def read_time_budget(run: Path) -> dict[str, float]:
    """Return the minutes and the steps of each stage that a run's time was set to."""
    return _read_object(run / _TIME_BUDGET)


def summary(run: Path) -> list[str]:
    """Return what a user should know of a training: a line for each."""
    adaptation = _read_object(run / "run.json").get("adaptation")
    return adaptation.get("said", []) if isinstance(adaptation, dict) else []


def write_physics(run: Path, physics: dict[str, list[Defect]]) -> None:
    """Write the calibrated physical parameters of a run."""
    content = {name: [drawn.model_dump() for drawn in sets] for name, sets in physics.items()}
    write_json(run / "physics.json", content)


def read_physics(run: Path) -> dict[str, list[Defect]]:
    """Read the calibrated physical parameters of a run; empty where it has none.

    Raises
    ------
    ValueError
        They are damaged.
    """
    saved = _read_object(run / "physics.json")
    try:
        return {
            name: [_kind(name, fields).model_validate(fields) for fields in sets]
            for name, sets in saved.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(run / "physics.json") from None


def _kind(name: str, fields: dict[str, object]) -> type[Defect]:
    """Return what the parameters of a label's defect are of."""
    return Composition if "steps" in fields else kind_of(name) or all_defects()[name]


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run; empty where it is not there."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path}: damaged or of another version; start a new run")


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n", overwrite=True)
