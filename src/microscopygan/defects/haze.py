"""Out-of-focus light."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Defect, Place, Plane, Range, as_plane, require
from microscopygan.defects.statistics import EVERYTHING, Trace


def haze(plane: NDArray[np.generic], *, sigma: float, fraction: float) -> Plane:
    """Move a fraction of the light out of focus: ``(1 - f) * plane + f * blur(plane)``.

    Parameters
    ----------
    plane : array, shape (Y, X)
        The plane in focus.
    sigma : float
        Standard deviation of the out-of-focus blur, in pixels.
    fraction : float
        Fraction of the light that is out of focus, 0 to 1.

    Returns
    -------
    array, shape (Y, X), float32
        The hazy plane, of the same total flux (the blur mirrors at the border).

    Raises
    ------
    ValueError
        If the plane is not 2-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> spot = np.zeros((32, 32)); spot[16, 16] = 1
    >>> round(float(haze(spot, sigma=3, fraction=0.5).sum()), 4)
    1.0
    """
    array = as_plane(plane)
    require("sigma", sigma, 0.0)
    require("fraction", fraction, 0.0, 1.0)
    # Mode "reflect" (half-sample symmetric) is the one that preserves the sum.
    blurred = ndimage.gaussian_filter(array, sigma, mode="reflect")
    return np.asarray((1 - fraction) * array + fraction * blurred, dtype=np.float32)


class Haze(Defect):
    """Out-of-focus light."""

    name: ClassVar[str] = "haze"
    place: ClassVar[Place] = Place.OPTICS
    trace: ClassVar[Trace | None] = EVERYTHING
    ranges: ClassVar[dict[str, Range]] = {
        "sigma": Range(4.0, 30.0, "log"),
        "fraction": Range(0.2, 0.9),
    }
    sigma: float = Field(ge=0, le=500, description="out-of-focus blur σ, pixels")
    fraction: float = Field(ge=0, le=1, description="fraction of the light out of focus")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add the haze: see :func:`haze`."""
        return haze(plane, sigma=self.sigma, fraction=self.fraction)

    def describe(self) -> str:
        """Say how much light is out of focus: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Haze(sigma=12, fraction=0.5).describe()
        'haze: 50 % of the light out of focus, blurred by σ 12 px'
        """
        share = f"{100 * self.fraction:.0f} %"
        return f"haze: {share} of the light out of focus, blurred by σ {self.sigma:.2g} px"
