"""What `microscopygan.diagnosis` says of every family: a fast look while it is being made.

Nothing is trained. For each family: ten defective images, with clean ones of like specimens, of
unlike ones, and without; the stages it finds, and those that are most like the family's formula.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microscopygan.image.intensity import percentile_map
from microscopygan_bench.odd.families import FAMILIES
from microscopygan_bench.odd.fields import FEW, Planes, read_family

Diagnose = Callable[[Sequence[NDArray[np.float32]], Sequence[NDArray[np.float32]]], Any]


def load() -> Diagnose:
    """Return `microscopygan.diagnosis.diagnose`.

    Raises
    ------
    ValueError
        This version of the program has none.
    """
    try:
        diagnose: Diagnose = import_module("microscopygan.diagnosis").diagnose
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"expected microscopygan.diagnosis.diagnose, got {error}") from None
    return diagnose


def lines(data: Path, families: Iterable[str], diagnose: Diagnose) -> Iterator[str]:
    """Yield a line for each family and kind of clean images, and the count of hits at the end."""
    hits = {name: [0, 0, 0] for name in ("like", "unlike", "none")}
    for family in families:
        images, stages = read_family(data, family), FAMILIES[family].stages
        clean = {"like": images.like, "unlike": images.unlike, "none": {}}
        yield f"{family}: {' + '.join(stages)}"
        for name, planes in clean.items():
            begun = time.perf_counter()
            found = diagnose(_scaled(images.defective, FEW), _scaled(planes))
            seconds = time.perf_counter() - begun
            present, there = {finding.stage for finding in found.present}, {*stages}
            for k, some in enumerate((present & there, present - there, there - present)):
                hits[name][k] += len(some)
            said = "; ".join(f"{f.probability:.0%} {f.describe()}" for f in found.present)
            missed = [f for f in found.findings if f.stage in there - present]
            lacks = "".join(f"; missed: {f.stage} {f.probability:.0%}" for f in missed)
            yield f"    {name:7}{said or 'nothing'}{lacks}  ({seconds:.1f} s)"
    yield "stages     right  besides  missed"
    yield from (f"    {name:7}{a:5}{b:9}{c:8}" for name, (a, b, c) in hits.items())


def _scaled(planes: Planes, most: int | None = None) -> list[NDArray[np.float32]]:
    return [percentile_map(plane).apply(plane) for plane in islice(planes.values(), most)]
