"""Lines of a scan that lie beside their place: a mirror or a stage that jitters.

Shifts are random from line to line, alternate (scanning there and back out of phase), or follow a
slow wave (a vibration). Calibration looks at how far neighbouring lines are shifted against each
other: a white spectrum of these shifts is random jitter, its end alternation, its beginning a wave.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Defect, Place, Plane, Range, Symmetry, as_plane
from microscopygan.defects.line_statistics import neighbour_shifts
from microscopygan.defects.statistics import Feature, Floats, Medians, Trace, evenly

BANDS = 8  # of the spectrum of shifts
SMOOTH = 4.0  # lines; σ of what the classical method takes for the specimen's own slant


def shift_lines(plane: NDArray[np.generic], shifts: NDArray[np.floating], axis: int = 0) -> Plane:
    """Shift each line along itself, by cubic interpolation.

    Parameters
    ----------
    plane : array, shape (Y, X)
        Any scale.
    shifts : array, shape (Y,) or (X,)
        Pixels, one for each line; what moves in from outside repeats the edge.
    axis : int
        0: the lines are rows; 1: columns.

    Returns
    -------
    array, shape (Y, X), float32
        The plane with its lines shifted; unchanged where all shifts are 0.

    Raises
    ------
    ValueError
        If the plane is not 2-D.

    Examples
    --------
    >>> shift_lines(np.arange(12).reshape(2, 6), np.array([0, 1]))[1].round(3).tolist()
    [6.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    """
    array = as_plane(plane)
    if not np.any(shifts):
        return array
    rows = array if axis == 0 else array.T
    x = np.arange(rows.shape[1], dtype=np.float64)
    splines = ndimage.spline_filter1d(rows.astype(np.float64), 3, axis=1, mode="nearest")
    places = np.clip(x - np.asarray(shifts)[:, None], 0, rows.shape[1] - 1)
    moved = np.stack(
        [
            ndimage.map_coordinates(line, [place], order=3, mode="nearest", prefilter=False)
            for line, place in zip(splines, places, strict=True)
        ]
    )
    return np.asarray(moved if axis == 0 else moved.T, np.float32)


def _shift_spectra(crop: Plane) -> Floats:
    """Log power of the shifts of rows, and of columns, from slow to alternating."""
    spectra = []
    for lines in (crop, crop.T):
        shifts = neighbour_shifts(lines)
        power = np.abs(np.fft.rfft(shifts * np.hanning(len(shifts)))) ** 2
        spectra += [part.mean() for part in np.array_split(power[1:-2], BANDS - 1)]
        spectra.append(power[-2:].mean())
    return np.log(np.array(spectra) + 1e-3)


class LineJitter(Defect):
    """Lines that are shifted along themselves."""

    name: ClassVar[str] = "jitter"
    place: ClassVar[Place] = Place.GEOMETRY
    symmetry: ClassVar[Symmetry] = Symmetry.FLIPS
    trace: ClassVar[Trace | None] = Medians(
        (Feature(_shift_spectra, evenly(2 * BANDS, 1.0)),), crops=24
    )
    noisy: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "random": Range(0.0, 3.0),
        "alternating": Range(0.0, 4.0),
        "wave": Range(0.0, 4.0),
        "period": Range(8.0, 80.0, "log"),
    }
    random: float = Field(ge=0, le=50, description="random shifts of the lines (σ), pixels")
    alternating: float = Field(
        0.0, ge=0, le=50, description="shift of each second line against the others, pixels"
    )
    wave: float = Field(0.0, ge=0, le=100, description="amplitude of a slow wave, pixels")
    period: float = Field(30.0, ge=2, le=1e4, description="lines of a period of the wave")
    axis: int = Field(0, ge=0, le=1, description="0: the lines are rows; 1: columns")

    @classmethod
    def draw(cls, rng: np.random.Generator, **fixed: Any) -> Self:
        """Draw the parameters; mostly one of the three kinds: see :meth:`Defect.draw`."""
        axis, kinds = int(rng.integers(2)), ("random", "alternating", "wave")
        present = rng.random(3) < 0.25
        present[rng.integers(3)] = True
        absent = {kind: 0.0 for kind, there in zip(kinds, present, strict=True) if not there}
        return super().draw(rng, **{"axis": axis} | absent | fixed)

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Shift the lines; signs and phases are drawn anew: see :func:`shift_lines`."""
        array = as_plane(plane)
        lines = np.arange(array.shape[self.axis])
        shifts = self.random * rng.standard_normal(lines.size)
        shifts += self.alternating / 2 * rng.choice((-1, 1)) * (-1.0) ** lines
        phase = rng.uniform(0, 2 * np.pi)
        shifts += self.wave * np.sin(2 * np.pi * lines / self.period + phase)
        return shift_lines(array, shifts, self.axis)

    def describe(self) -> str:
        """Say how the lines are shifted: see :meth:`Defect.describe`.

        Examples
        --------
        >>> LineJitter(random=0.8).describe()
        'line jitter: rows shifted at random by σ 0.8 px'
        >>> LineJitter(random=0, wave=2, period=25, axis=1).describe()
        'line jitter: columns shifted in waves of 2 px, 25 lines long'
        """
        kinds = []
        if self.random or not (self.alternating or self.wave):
            kinds.append(f"at random by σ {self.random:.2g} px")
        if self.alternating:
            kinds.append(f"each second one by {self.alternating:.2g} px")
        if self.wave:
            kinds.append(f"in waves of {self.wave:.2g} px, {self.period:.2g} lines long")
        return f"line jitter: {('rows', 'columns')[self.axis]} shifted {', '.join(kinds)}"

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Shift each line back against the smooth course of its neighbours.

        Rows or columns, whichever are shifted more; as much as the others are is the specimen's.
        """
        each = [neighbour_shifts(np.asarray(lines)) for lines in (plane, plane.T)]
        spread = [float(np.median(np.abs(np.diff(shifts)))) for shifts in each]
        axis = int(spread[1] > spread[0])
        course = np.concatenate([[0.0], np.cumsum(each[axis])])
        beside = course - ndimage.gaussian_filter1d(course, SMOOTH, mode="nearest")
        share = 1 - (spread[1 - axis] / max(spread[axis], 1e-9)) ** 2
        return shift_lines(plane, -share * beside, axis)
