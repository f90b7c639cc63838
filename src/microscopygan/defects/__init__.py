"""What goes wrong in a microscope: a module a defect, and specimens to try them on.

The modules are found, not listed: whatever defines a `Defect` with a name is a defect.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from .base import Defect, Symmetry

__all__ = ["Defect", "Symmetry", "all_defects", "kind_of", "parts_of", "symmetry_of"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # also within camelCase


@cache
def all_defects() -> dict[str, type[Defect]]:
    """Return the defects of this package by name, in the order of the light path.

    Examples
    --------
    >>> all_defects()["noise"](photons=20).describe()
    'photon noise: about 20 photons at the brightest'
    """
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    kinds = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Defect) and "name" in vars(kind)
        if kind.__module__ == module.__name__
    ]
    return {kind.name: kind for kind in sorted(kinds, key=lambda kind: (kind.place, kind.name))}


@cache
def parts_of(name: str) -> tuple[str, ...]:
    """Return the defects that a label speaks of, whatever else it says.

    A label is the name of a folder: case, digits, separators and a plural do not count.

    Examples
    --------
    >>> parts_of("Noise_2023"), parts_of("2023-05 low res GFP"), parts_of("noise+axial")
    (('noise',), ('lowres',), ('noise', 'axial'))
    >>> parts_of("mine")
    ()
    """
    words = [word.lower() for word in _WORD.findall(name)]
    singular = {defect.rstrip("s"): defect for defect in all_defects()}
    found: dict[str, None] = {}
    while words:
        joined = ["".join(words[:count]).rstrip("s") for count in range(1, len(words) + 1)]
        known = [count for count, word in enumerate(joined, 1) if word in singular]
        longest = known[-1] if known else 1
        found |= {singular[joined[longest - 1]]: None} if known else {}
        del words[:longest]
    return tuple(found)


def kind_of(name: str) -> type[Defect] | None:
    """Return the defect that a label names, where it names one and no other.

    Examples
    --------
    >>> kind_of("Noise 2").name, kind_of("noise+axial"), kind_of("mine")
    ('noise', None, None)
    """
    parts = parts_of(name)
    return all_defects()[parts[0]] if len(parts) == 1 else None


def symmetry_of(name: str) -> Symmetry:
    """Return which flips and turns of an image leave a defect the same.

    Parameters
    ----------
    name
        A label, see `parts_of`: of several defects the least symmetry counts, and one that speaks
        of none counts as symmetric in every way.

    Examples
    --------
    >>> symmetry_of("noise+axial").name, symmetry_of("noise").name
    ('FLIPS', 'ALL')
    """
    kinds = [all_defects()[part] for part in parts_of(name)]
    return min((kind.symmetry for kind in kinds), default=Symmetry.ALL)
