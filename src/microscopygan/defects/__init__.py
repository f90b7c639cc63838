"""What goes wrong in a microscope: a module a defect, and specimens to try them on.

The modules are found, not listed: whatever defines a `Defect` with a name is a defect.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from .base import Defect, Symmetry

__all__ = ["Defect", "Symmetry", "all_defects", "symmetry_of"]


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


def symmetry_of(name: str) -> Symmetry:
    """Return which flips and turns of an image leave a defect the same.

    Parameters
    ----------
    name
        Of a defect, or of several, joined by +; one that is none of this package counts as
        symmetric in every way.

    Examples
    --------
    >>> symmetry_of("noise+axial").name, symmetry_of("noise").name
    ('FLIPS', 'ALL')
    """
    kinds = [all_defects().get(part) for part in name.split("+")]
    return min((kind.symmetry for kind in kinds if kind), default=Symmetry.ALL)
