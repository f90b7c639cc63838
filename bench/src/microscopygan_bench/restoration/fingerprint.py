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

_FORMER = {"defects.generator": "defects.network"}  # what settings were called before
_CONSTANTS: dict[str, object] = {  # settings that came later, or went: the value without them
    "adaptation.clean_psnr": 40.0,
    "adaptation.field": 128,
    "adaptation.fields": 32,
    "adaptation.mixing_weight": 0.85,
    "adaptation.patience": 5,
    "adaptation.tolerance": 0.1,
    "adaptation.validations": 10,
    "defects.fade": True,
    "defects.last_rate": 0.01,
    "defects.penalty_every": 8,
    "defects.row_rate": None,
    "defects.time_share": 0.25,
    "defects.warm_up": 50,
    "match_pairs": True,
    "restorer.fade": True,
    "restorer.fit_scale": 8,
    "restorer.last_rate": 0.01,
    "restorer.planes": 1,
    "restorer.warm_up": 50,
    "sampling.crops": 4,
    "sampling.field": 128,
    "sampling.gain_spread": 0.2,
    "sampling.hint_share": 0.3,
    "sampling.offset_spread": 0.03,
    "sampling.own_clean": 0.75,
    "sampling.zoom": [0.75, 1.5],
    "sampling.zoomed": 0.5,
    "self_supervision.correlation": 0.15,
    "self_supervision.mixing_weight": 0.5,
    "self_supervision.steps": 350,
    "split.few_clean": 50,
    "split.few_pairs": 3,
    "split.least_clean": 10,
    "split.least_pairs": 5,
    "split.least_side": 64,
    "split.specimen_side": 128,
}

# Weights that shipped before, by their digest: results from them stay, and are said to be such.
FORMER_WEIGHTS = {
    "5d203377ec770b7cf2014bbb3c7a0a4c02eac52b7c43663093e43e32a8f4c06b": "the first generalist",
}


def fingerprint(data: str, job: Mapping[str, Any]) -> str:
    """Return a hash of a job and of the `data` it works on, given by their digest."""
    text = json.dumps([data, conditions(job)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def conditions(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the result of a job depends on.

    The options of a method of ours are in its settings; those of CIN-GAN are left out where it is
    not trained.

    Examples
    --------
    >>> settings = {"alpha": 0.5, "restorer": {"steps": 9, "architecture": {"blocks": 2}}}
    >>> conditions({"seed": 1, "settings": settings, "options": {"kind": "ours", "alpha": 0.5}})
    {'seed': 1, 'settings': {'alpha': 0.5, 'restorer.steps': 9, 'restorer.blocks': 2}}
    """
    settings = dict(_flat(job.get("settings", {})))
    if not uses_cin_gan(job.get("settings", {})):
        settings = {n: v for n, v in settings.items() if not n.startswith("defects.")}
    kept = {
        _FORMER.get(name, name): value
        for name, value in settings.items()
        if name not in _CONSTANTS or value != _CONSTANTS[name]
    }
    left_out = {"settings", "options"} if settings else {"settings"}
    same = {name: value for name, value in job.items() if name not in left_out}
    return json.loads(json.dumps(same | ({"settings": kept} if kept else {})))  # type: ignore[no-any-return]


def uses_cin_gan(settings: Mapping[str, Any]) -> bool:
    """Tell whether a training of the benchmark's tasks, all of known physics, trains CIN-GAN.

    Parameters
    ----------
    settings
        Nested, as in a job; what is missing has its default.
    """
    physics = settings.get("defects", {}).get("physics", True)
    return bool(settings.get("cin_gan", 0) > 0 or not physics)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings by dotted names, in which an architecture is not named."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, above if name == "architecture" else f"{above}{name}.")
        else:
            yield above + name, value


@functools.cache
def digest_of_weights(path: Path) -> str:
    """Return a hash of the tensors of a safetensors file, whatever else it says."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        digest.update(f"{name} {tensor.shape} {tensor.dtype}".encode() + tensor.tobytes())
    return digest.hexdigest()
