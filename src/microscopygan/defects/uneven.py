"""Light that falls off across the field of view."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Range, as_plane, require


def uneven_illumination(
    plane: NDArray[np.generic], rng: np.random.Generator, *, strength: float
) -> Plane:
    """Multiply by a smooth random illumination field.

    The field is a random Gaussian vignette with its maximum, 1, near the plane's centre; at the
    dimmest point of the plane it is ``1 - strength``.

    Parameters
    ----------
    plane : array, shape (Y, X)
        The plane under even light.
    rng : numpy.random.Generator
        Draws the centre, width ratio and direction of the vignette.
    strength : float
        Loss of light at the dimmest point, 0 to 0.99.

    Returns
    -------
    array, shape (Y, X), float32
        The unevenly lit plane.

    Raises
    ------
    ValueError
        If the plane is not 2-D or the strength is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> lit = uneven_illumination(np.ones((32, 32)), np.random.default_rng(0), strength=0.5)
    >>> round(float(lit.min()), 3)
    0.5
    """
    array = as_plane(plane)
    require("strength", strength, 0.0, 0.99)
    centre, ratio, angle = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.6, 1.6), rng.uniform(0, np.pi)
    y = np.linspace(-1, 1, array.shape[0])[:, None] - centre[0]
    x = np.linspace(-1, 1, array.shape[1])[None, :] - centre[1]
    along = y * np.cos(angle) + x * np.sin(angle)
    across = x * np.cos(angle) - y * np.sin(angle)
    distance = along**2 + ratio * across**2
    farthest = max(float(distance.max()), np.finfo(np.float32).eps)
    field = np.exp(np.log1p(-strength) * distance / farthest)
    return np.asarray(array * field, dtype=np.float32)


class UnevenIllumination(Defect):
    """Light that falls off across the field of view."""

    name: ClassVar[str] = "uneven"
    place: ClassVar[Place] = Place.GAIN
    local: ClassVar[bool] = False
    remedy: ClassVar[str] = (
        "restore keeps it: divide by an image of an even field, or train on ten such images"
    )
    ranges: ClassVar[dict[str, Range]] = {"strength": Range(0.2, 0.9)}
    strength: float = Field(ge=0, le=0.99, description="loss of light at the dimmest point")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Shade the plane: see :func:`uneven_illumination`."""
        return uneven_illumination(plane, rng, strength=self.strength)

    def describe(self) -> str:
        """Say the loss of light: see :meth:`Defect.describe`.

        Examples
        --------
        >>> UnevenIllumination(strength=0.4).describe()
        'uneven light: 40 % less at the dimmest place'
        """
        return f"uneven light: {100 * self.strength:.0f} % less at the dimmest place"
