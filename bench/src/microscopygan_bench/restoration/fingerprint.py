"""What a result depends on, however the settings of today's version are laid out.

Published results count as long as a run of today would compute the same. So a job is compared, and
hashed, with its settings as one flat table: a setting may move within the tree, and a constant
that becomes a setting, or a setting that becomes a constant, changes nothing at that value.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

_STAGES = ("defects", "restorer")
_FORMER = {"defects.generator": "defects.network"}  # what settings were called before
_CONSTANTS = {"match_pairs": True}  # settings that came later or went: the value without them


def fingerprint(data: str, job: Mapping[str, Any]) -> str:
    """Return a hash of a job and of the `data` it works on, given by their digest."""
    text = json.dumps([data, conditions(job)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def conditions(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the result of a job depends on.

    The options of a method of ours are in its settings.

    Examples
    --------
    >>> settings = {"alpha": 0.5, "restorer": {"steps": 9, "architecture": {"blocks": 2}}}
    >>> conditions({"seed": 1, "settings": settings, "options": {"kind": "ours", "alpha": 0.5}})
    {'seed': 1, 'settings': {'alpha': 0.5, 'restorer.steps': 9, 'restorer.blocks': 2}}
    """
    settings = dict(_flat(job.get("settings", {})))
    kept = {
        _FORMER.get(name, name): value
        for name, value in settings.items()
        if name not in _CONSTANTS or value != _CONSTANTS[name]
    }
    left_out = {"settings", "options"} if settings else {"settings"}
    same = {name: value for name, value in job.items() if name not in left_out}
    return json.loads(json.dumps(same | ({"settings": kept} if kept else {})))  # type: ignore[no-any-return]


def _flat(settings: Mapping[str, Any], stage: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings by their names, below a stage with that of the stage before them."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}." if name in _STAGES else stage)
        else:
            yield stage + name, value


@functools.cache
def digest_of_weights(path: Path) -> str:
    """Return a hash of the tensors of a safetensors file, whatever else it says."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        digest.update(f"{name} {tensor.shape} {tensor.dtype}".encode() + tensor.tobytes())
    return digest.hexdigest()
