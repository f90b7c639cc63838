"""The stages that a diagnosis tells apart, and the bins into which it sorts their parameters."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from ..defects import all_defects
from ..defects.base import Range

BINS = 16  # of a parameter's range, or fewer for integers

STAGES: tuple[str, ...] = tuple(name for name, kind in all_defects().items() if kind.visible)


class Parameter(NamedTuple):
    """A parameter of a stage.

    Attributes
    ----------
    stage, name
        Of the defect, and of its field.
    range
        What it is drawn from.
    bins
        Number of bins of equal width in the range's own spacing.
    """

    stage: str
    name: str
    range: Range
    bins: int

    def position(self, value: float | None) -> float:
        """Place of a value in the range, 0 to 1; 1 where there is none (no noise: many photons).

        Examples
        --------
        >>> Parameter("", "radius", Range(1.0, 4.0, "log"), 16).position(2.0)
        0.5
        """
        if value is None:
            return 1.0
        if self.range.spacing == "log":
            value = max(value, 1e-12)
        return min(max(self.range.position(value), 0.0), 1.0)


@cache
def parameters() -> tuple[Parameter, ...]:
    """Return the parameters of all `STAGES`, in order; the axis of lines is one."""
    found = []
    for stage in STAGES:
        kind = all_defects()[stage]
        ranges = dict(kind.ranges)
        if "axis" in kind.model_fields:
            ranges["axis"] = Range(0, 1, "integer")
        for name, interval in ranges.items():
            whole = int(interval.high - interval.low) + 1
            bins = min(BINS, whole) if interval.spacing == "integer" else BINS
            found.append(Parameter(stage, name, interval, bins))
    return tuple(found)
