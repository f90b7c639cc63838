"""Cubic in place of linear interpolation, for planes of which only some rows were measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

_STEPS = range(2, 17)  # distances of measured rows that are looked for
_CONTRAST = 2.0  # how much stronger a plane has to bend at measured rows than between them


def measured_rows(plane: NDArray[np.floating]) -> NDArray[np.intp] | None:
    """Find the rows that linear interpolation along axis 0 left as they were measured.

    Between them the second difference along axis 0 is rounding alone.

    Parameters
    ----------
    plane
        (Z, X), evenly sampled along axis 0 and interpolated linearly.

    Returns
    -------
    Their indices, None where there is no such pattern.

    Examples
    --------
    >>> plane = np.interp(np.arange(12), [0, 4, 8, 11], [0, 3, 1, 1])[:, None] * np.ones((1, 3))
    >>> measured_rows(plane)
    array([0, 4, 8])
    """
    bend = np.abs(np.diff(plane.astype(np.float64), 2, axis=0)).mean(axis=1)
    rows = np.arange(1, len(bend) + 1)  # a second difference is that of its middle row
    strongest, measured = _CONTRAST, None
    for step in (s for s in _STEPS if 2 * s <= len(bend)):
        for phase in range(step):
            on = rows % step == phase
            contrast = bend[on].mean() / max(bend[~on].mean(), 1e-12)
            if contrast > strongest:
                strongest, measured = contrast, np.arange(phase, len(plane), step)
    return measured


def cubic(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate the measured rows of a plane (Z, X) by a cubic spline.

    Rows outside the measured ones keep what they are; so does a plane without the pattern.
    """
    rows = measured_rows(plane)
    if rows is None or len(rows) < 4:
        return plane.copy()
    result = plane.copy()
    inside = np.arange(rows[0], rows[-1] + 1)
    result[inside] = make_interp_spline(rows, plane[rows], k=3, axis=0)(inside)
    return result
