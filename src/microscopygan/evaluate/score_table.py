"""Mean scores by defect and method: what the demo and the report show."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

TITLES = {
    "input": "Input",
    "classical": "Classical",
    "generalist": "Out of the box",
    "restored": "Adapted",
}


class Spread(NamedTuple):
    """Mean and sample standard deviation; NaN where there are too few values for them."""

    mean: float
    sd: float

    def text(self, digits: int) -> str:
        """Write ``mean ± sd``, the mean alone of a single value, a dash of none.

        Examples
        --------
        >>> Spread(20.0, 1.5).text(1), Spread(20.0, float("nan")).text(1)
        ('20.0 ± 1.5', '20.0')
        """
        if np.isnan(self.mean):
            return "–"
        if np.isnan(self.sd):
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} ± {self.sd:.{digits}f}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and spread of some values.

    Parameters
    ----------
    values
        Any number of them, in any unit.

    Returns
    -------
    Spread
        In the same unit. No spread of a single value, nor where one is infinite.

    Examples
    --------
    >>> spread([1.0, 3.0]).text(2)
    '2.00 ± 1.41'
    """
    some = np.asarray(values, np.float64)
    mean = float(some.mean()) if some.size else float("nan")
    known = some.size > 1 and bool(np.isfinite(some).all())
    return Spread(mean, float(some.std(ddof=1)) if known else float("nan"))


def number(value: str | float | None) -> float:
    """Turn a cell of a table into a number; what is none becomes NaN.

    Examples
    --------
    >>> number("0.5"), number("")
    (0.5, nan)
    """
    try:
        return float(value if value is not None else "nan")
    except ValueError:
        return float("nan")


def score_table(
    rows: Sequence[Mapping[str, str | float]], metric: str = "psnr_affine"
) -> dict[str, dict[str, Spread]]:
    """Summarise one metric by defect and method.

    Parameters
    ----------
    rows
        With ``defect``, ``method`` and metrics, as `score_restorer` gives them or a file has them.
    metric
        Name of the column; what is no finite number is left out.

    Returns
    -------
    ``[defect][method]``, both in the order of the rows, known methods (`TITLES`) first.

    Examples
    --------
    >>> row = {"defect": "noise", "method": "input", "psnr_affine": "20.0"}
    >>> score_table([row])["noise"]["input"].mean
    20.0
    """
    there = dict.fromkeys(str(row["method"]) for row in rows)
    methods = dict.fromkeys([name for name in TITLES if name in there] + list(there))
    cells: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        columns = cells.setdefault(str(row["defect"]), {name: [] for name in methods})
        columns[str(row["method"])].append(number(row.get(metric)))
    return {
        defect: {
            name: spread([value for value in values if math.isfinite(value)])
            for name, values in columns.items()
        }
        for defect, columns in cells.items()
    }
