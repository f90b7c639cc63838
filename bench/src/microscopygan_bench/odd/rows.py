"""The rows of the tables: what each learns from, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

Kind = Literal["input", "shipped", "classical", "cyclegan", "trained"]


@dataclass(frozen=True)
class Row:
    """What is compared.

    Attributes
    ----------
    title
        What the tables call it.
    kind
        ``trained`` runs ``microscopygan train`` and then ``restore``, as a user would.
    unpaired
        Number of defective images without their clean ones.
    clean
        Which clean images are given: ``like``, ``unlike`` or none.
    pairs
        Number of real pairs.
    draws
        How many times the family's own formula spoils each of the like clean images, to make pairs
        of them: the ceiling.
    options
        Of ``train``, besides the minutes.
    times
        Length of the training, in multiples of the minutes given.
    only
        Families it is computed for unless it is named; all where empty.
    """

    title: str
    kind: Kind = "trained"
    unpaired: int = 0
    clean: Literal["", "like", "unlike"] = ""
    pairs: int = 0
    draws: int = 0
    options: tuple[str, ...] = ()
    times: float = 1.0
    only: tuple[str, ...] = ()

    def conditions(self) -> dict[str, Any]:
        """Return what its results depend on: all that departs from the defaults above.

        >>> Row("10 pairs", pairs=10, only=("rows",)).conditions()
        {'pairs': 10}
        """
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        shown = {"title", "only"}
        return {n: mine for n, (mine, usual) in values.items() if mine != usual and n not in shown}


ROWS: dict[str, Row] = {
    "input": Row("input", "input", times=0),
    "shipped": Row("shipped network", "shipped", times=0),
    "classical": Row("best classical", "classical", unpaired=100, times=0),
    "like-10": Row("10 unpaired", unpaired=10, clean="like"),
    "unlike-10": Row("10 unpaired, unlike", unpaired=10, clean="unlike"),
    "like-100": Row("100 unpaired", unpaired=100, clean="like"),
    "pairs-10": Row("10 pairs", pairs=10),
    "ceiling": Row("ceiling", clean="like", draws=8, options=("--alpha", "0")),
    "cyclegan": Row(
        "CycleGAN",
        "cyclegan",
        unpaired=100,
        clean="like",
        times=2,
        only=("rows", "jitter", "motion"),
    ),
}
OURS = tuple(n for n, row in ROWS.items() if row.kind == "trained" and not row.draws)
