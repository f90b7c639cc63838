"""Fluorophores that fade along a series."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Range, as_plane, require


def bleaching(stack: NDArray[np.generic], *, decay: float, axis: int = 0) -> Plane:
    """Fade a series exponentially: frame *n* is multiplied by ``exp(-decay * n)``.

    Parameters
    ----------
    stack : array, shape (N, Y, X)
        The series without bleaching.
    decay : float
        Decay per frame, at least 0.
    axis : int
        Axis of the series, -3 to 2.

    Returns
    -------
    array, shape (N, Y, X), float32
        The bleached series.

    Raises
    ------
    ValueError
        If the stack is not 3-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> bleaching(np.ones((3, 1, 1)), decay=np.log(2)).ravel().tolist()
    [1.0, 0.5, 0.25]
    """
    array = as_plane(stack, ndim=3)
    require("decay", decay, 0.0)
    require("axis", axis, -3, 2)
    factor = np.exp(-decay * np.arange(array.shape[axis]))
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.asarray(array * factor.reshape(shape), dtype=np.float32)


class Bleaching(Defect):
    """Fluorophores that fade along a series."""

    name: ClassVar[str] = "bleaching"
    place: ClassVar[Place] = Place.GAIN
    visible: ClassVar[bool] = False
    ranges: ClassVar[dict[str, Range]] = {
        "decay": Range(0.005, 0.2, "log"),
        "frame": Range(0, 20, "integer"),
    }
    decay: float = Field(ge=0, le=10, description="decay per frame")
    frame: int = Field(0, ge=0, description="frame number that a single plane stands for")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Fade one plane (Y, X) as frame ``frame``, or a series (N, Y, X) along axis 0."""
        if np.ndim(plane) == 3:
            return bleaching(plane, decay=self.decay)
        lit = np.asarray(plane, dtype=np.float32)
        if lit.ndim != 2:
            raise ValueError(
                f"expected a plane (Y, X) or a series (N, Y, X), got shape {lit.shape}; "
                "select one channel or one volume"
            )
        return np.asarray(lit * np.exp(-self.decay * self.frame), dtype=np.float32)

    def describe(self) -> str:
        """Say the decay: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Bleaching(decay=0.05, frame=10).describe()
        'bleaching: 4.9 % of the light lost a frame, frame 10'
        """
        lost = 100 * -np.expm1(-self.decay)
        return f"bleaching: {lost:.2g} % of the light lost a frame, frame {self.frame}"
