"""The options of restoring as the page's form: a field for each, as their types say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from ..restore_options import NOT_IN_WINDOWS, RestoreOptions, label_of

_OF_IMAGES = ("axes", "voxel_size")  # said of each image
_APART = ("model", "defect")  # fields of their own kind
_FIRST = ("strength", "task")
_WHERE_EMPTY = {
    "channels": "all; or such as 0,2",
    "memory": "300 MB; or such as 2GB",
    "threads": "as many as processors",
}


def fields() -> list[dict[str, Any]]:
    """Return the fields of the form: name, label, kind, choices, default and description."""
    left_out = (*NOT_IN_WINDOWS, *_OF_IMAGES, *_APART)
    return [_field(name) for name in RestoreOptions.model_fields if name not in left_out]


def read_options(values: Mapping[str, Any], models: Mapping[str, str]) -> RestoreOptions:
    """Return the options that the page's form states.

    Parameters
    ----------
    values
        By the name of the field; empty texts count as not given.
    models
        The models that may be used, and what each is on this machine.

    Raises
    ------
    ValueError
        A field that the form does not have, or a value that cannot be.
    """
    allowed = RestoreOptions.model_fields.keys() - set(NOT_IN_WINDOWS) - set(_OF_IMAGES)
    for name in values.keys() - allowed:
        raise ValueError(f"expected a field of the form, got {str(name)[:40]!r}")
    defaults = {name: about.default for name, about in RestoreOptions.model_fields.items()}
    given = {k: v for k, v in values.items() if v not in ("", None) and v != defaults[k]}
    if str(given.get("threads", "")).isdecimal():
        given["threads"] = int(given["threads"])
    model = given.get("model", defaults["model"])
    if model not in models:
        raise ValueError(f"model: expected one of {', '.join(models)}, got {str(model)[:80]!r}")
    return RestoreOptions(**given)


def _field(name: str) -> dict[str, Any]:
    about = RestoreOptions.model_fields[name]
    choices = [choice for choice in get_args(about.annotation) if isinstance(choice, str)]
    kinds: dict[Any, str] = {bool: "tick", float: "share"}
    kind = "choice" if choices else kinds.get(about.annotation, "text")
    return {
        "name": name,
        "label": label_of(name),
        "option": f"--{name.replace('_', '-')}",
        "kind": kind,
        "choices": choices,
        "default": about.default,
        "description": about.description,
        "empty": _WHERE_EMPTY.get(name, ""),
        "first": name in _FIRST,
    }
