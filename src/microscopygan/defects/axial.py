"""Too few planes along the optical axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import ndimage

from microscopygan.defects.base import (
    Defect,
    Pairs,
    Place,
    Plane,
    Range,
    Symmetry,
    as_plane,
    require,
)
from microscopygan.defects.classical import richardson_lucy
from microscopygan.defects.pairs import COARSE, FINE, comparable_crops, share_left
from microscopygan.defects.statistics import EVERYTHING, Trace

CLASSICAL_SIGMA = 2.5  # pixels; chosen on training patches of the benchmark


def axial_subsampling(
    plane: NDArray[np.generic],
    *,
    sigma_z: float,
    step: int,
    phase: int = 0,
    order: Literal[1, 3] = 1,
) -> Plane:
    """Blur along axis 0, keep every ``step``-th row and interpolate back to the same grid.

    ::

        row      0  1  2  3  4  5  6  7      step = 3, phase = 1
        kept        *        *        *      rows before the first kept one repeat it,
                                             rows after the last kept one repeat it

    Parameters
    ----------
    plane : array, shape (Z, X)
        A plane whose axis 0 is the optical (axial) axis, on an isotropic grid.
    sigma_z : float
        Standard deviation of the axial point spread function, in pixels; 0 for none.
    step : int
        Distance between the kept rows, in pixels, at least 1.
    phase : int
        The first kept row, from 0 to ``step - 1``.
    order : {1, 3}
        Linear or cubic-spline interpolation.

    Returns
    -------
    array, shape (Z, X), float32
        The plane as a coarsely sampled stack would show it.

    Raises
    ------
    ValueError
        If the plane is not 2-D, a parameter is out of range, or no row is kept.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(9.0)[:, None] * np.ones((1, 2))
    >>> axial_subsampling(ramp, sigma_z=0, step=4)[:, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    """
    from scipy.interpolate import make_interp_spline  # which takes long to import

    array = as_plane(plane)
    require("sigma_z", sigma_z, 0.0)
    require("step", step, 1, array.shape[0])
    require("phase", phase, 0, step - 1)
    if order not in (1, 3):
        raise ValueError(f"order must be 1 (linear) or 3 (cubic), got {order}; use 1 or 3")
    rows = np.arange(phase, array.shape[0], step)
    blurred = ndimage.gaussian_filter(array, (sigma_z, 0.0), mode="nearest")
    if rows.size == 1:
        return np.repeat(blurred[rows], array.shape[0], axis=0)
    degree = min(order, rows.size - 1)
    spline = make_interp_spline(rows, blurred[rows], k=degree, axis=0)
    positions = np.clip(np.arange(array.shape[0]), rows[0], rows[-1])
    return np.asarray(spline(positions), dtype=np.float32)


class Axial(Defect):
    """Too few planes along the optical axis, which is axis 0 of the plane."""

    name: ClassVar[str] = "axial"
    place: ClassVar[Place] = Place.SAMPLING
    share: ClassVar[float] = 3.0
    symmetry: ClassVar[Symmetry] = Symmetry.FLIPS
    trace: ClassVar[Trace | None] = EVERYTHING
    ranges: ClassVar[dict[str, Range]] = {
        "sigma_z": Range(0.5, 3.0, "log"),
        "step": Range(2, 8, "integer"),
    }
    sigma_z: float = Field(ge=0, le=50, description="axial point spread function σ, pixels")
    step: int = Field(ge=1, le=64, description="distance of the kept planes, pixels")
    phase: int | None = Field(
        None, ge=0, description="first kept plane, 0 to step - 1; None: anew for each plane"
    )
    order: Literal[1, 3] = Field(1, description="interpolation: 1 linear, 3 cubic")

    @model_validator(mode="after")
    def _phase_below_step(self) -> Self:
        if self.phase is not None and self.phase >= self.step:
            raise ValueError(
                f"phase must be below step {self.step}, got {self.phase}; use 0 to step - 1"
            )
        return self

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Subsample axis 0: see :func:`axial_subsampling`."""
        phase = int(rng.integers(self.step)) if self.phase is None else self.phase
        return axial_subsampling(
            plane, sigma_z=self.sigma_z, step=self.step, phase=phase, order=self.order
        )

    def describe(self) -> str:
        """Say the distance of planes and the blur: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Axial(sigma_z=1.5, step=4).describe()
        'axial: planes 4 pixels apart, blur σ 1.5 px along the axis'
        """
        return (
            f"axial: planes {self.step} pixels apart, blur σ {self.sigma_z:.2g} px along the axis"
        )

    @classmethod
    def calibrate_pairs(cls, pairs: Pairs, rng: np.random.Generator) -> list[Self]:
        """Find the step, one for all pairs, and the blur of each.

        See :meth:`Defect.calibrate_pairs`; axis 0 of the planes is the axial one.
        """
        crops = comparable_crops(pairs, rng)
        widths, steps = cls.ranges["sigma_z"].values(COARSE), cls.ranges["step"].integers()

        def misfit(
            bad: Plane, clean: Plane, step: int, width: float, phases: Sequence[int]
        ) -> float:
            trials = [cls(sigma_z=width, step=step, phase=phase) for phase in phases]
            return min(share_left(bad, trial.apply(clean, rng)) for trial in trials)

        def total(step: int) -> float:
            return sum(
                min(misfit(bad, clean, step, width, range(step)) for width in widths)
                for bad, clean in crops
            )

        step = min(steps, key=total)
        parameters = []
        for bad, clean in crops:
            phase = min(range(step), key=lambda p: misfit(bad, clean, step, widths[1], [p]))
            fine = cls.ranges["sigma_z"].values(FINE)
            width = min(fine, key=lambda w: misfit(bad, clean, step, w, [phase]))
            parameters.append(cls(sigma_z=width, step=step))
        return parameters

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Richardson-Lucy along axis 0 only, which undoes some of the interpolation's blur too."""
        return richardson_lucy(plane, (CLASSICAL_SIGMA, 0.0))
