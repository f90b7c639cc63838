"""Shadows along the path of a sheet of light, behind what absorbs or scatters it.

Calibration averages the logarithm of the light over blocks along each axis. What such averages
vary by from line to line, at several scales, more than along the other axis, is due to shadows.
That tells their axis, their width and their strength, but many faint ones from a few deep ones
hardly: the density is drawn, and the depth is what gives the strength then.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Defect, Place, Plane, Planes, Range, Symmetry, as_plane
from microscopygan.defects.line_statistics import RAY, ray_contrast
from microscopygan.defects.statistics import Floats, check_planes, normalised

WIDTHS = (0.7, 1.0, 1.5, 2.2, 3.3, 5.0, 8.0)  # trial widths, pixels
TRIAL = 0.5  # depth of the shadows that are simulated
PLANES = 16  # clean planes that shadows are put into
REPEATS = 2  # times that they are
SETS = 16  # parameter sets
CLASSICAL = (10.0, 40.0)  # pixels; σ across and along of what the classical method makes even
STRONG = 3.0  # variance of rays over that across them, for the classical method to act


class Shadows(Defect):
    """Dark rays from one side; each begins somewhere and fades."""

    name: ClassVar[str] = "shadows"
    place: ClassVar[Place] = Place.GAIN
    closed: ClassVar[bool] = True
    symmetry: ClassVar[Symmetry] = Symmetry.FLIPS
    noisy: ClassVar[bool] = True
    ranges: ClassVar[dict[str, Range]] = {
        "depth": Range(0.1, 0.8),
        "width": Range(0.7, 8.0, "log"),
        "density": Range(1.0, 12.0, "log"),
        "length": Range(30.0, 1000.0, "log"),
    }
    depth: float = Field(ge=0, le=0.99, description="mean loss of light at the start of a shadow")
    width: float = Field(2.0, gt=0, le=200, description="width (σ) of the shadows, pixels")
    density: float = Field(4.0, ge=0, le=100, description="shadows on 100 lines")
    length: float = Field(200.0, gt=0, le=1e5, description="way in which they fade, pixels")
    axis: int = Field(0, ge=0, le=1, description="0: the shadows lie along rows; 1: columns")

    @classmethod
    def draw(cls, rng: np.random.Generator, **fixed: Any) -> Self:
        """Draw the parameters and the axis: see :meth:`Defect.draw`."""
        return super().draw(rng, **{"axis": int(rng.integers(2))} | fixed)

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Multiply by the light that is left; places and the side of the light are drawn anew."""
        array = as_plane(plane)
        rows = array if self.axis == 0 else array.T
        left = np.ones(rows.shape)
        y, x = np.arange(rows.shape[0])[:, None], np.arange(rows.shape[1])[None, :]
        for _ in range(int(rng.poisson(self.density * rows.shape[0] / 100))):
            centre, start = rng.uniform(0, rows.shape[0]), rng.uniform(-0.7, 0.9) * rows.shape[1]
            width = self.width * rng.lognormal(0, 0.3)
            depth = min(self.depth * rng.uniform(0.4, 1.6), 0.99)
            profile = np.exp(-0.5 * ((y - centre) / width) ** 2)
            onset = 1 / (1 + np.exp(-np.clip((x - start) / width, -30, 30)))
            left *= 1 - depth * profile * onset * np.exp(-np.clip(x - start, 0, None) / self.length)
        left = left[:, :: int(rng.choice((-1, 1)))]
        return np.asarray(array * (left if self.axis == 0 else left.T), np.float32)

    def describe(self) -> str:
        """Say how many shadows there are, how deep and wide: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Shadows(depth=0.4, width=3, density=5).describe()
        'shadows: 5 along 100 rows, 40 % of the light lost, σ 3 px wide, fading in 200 px'
        """
        many = f"{self.density:.2g} along 100 {('rows', 'columns')[self.axis]}"
        lost = f"{100 * self.depth:.0f} % of the light lost"
        return (
            f"shadows: {many}, {lost}, σ {self.width:.2g} px wide, fading in {self.length:.3g} px"
        )

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find axis, width and strength: see :meth:`Defect.calibrate`."""
        check_planes("clean", clean, RAY)
        check_planes("defective", defective, RAY)
        some = [normalised(clean[i]) for i in rng.permutation(len(clean))[:PLANES]]
        own = np.mean([ray_contrast(normalised(plane)) for plane in defective], axis=0)
        plain = np.mean([ray_contrast(plane) for plane in some], axis=0)
        axis = int(np.log(own[0] / own[1]).mean() < np.log(plain[0] / plain[1]).mean())
        wanted = _excess(own, plain, axis)

        def fit(width: float) -> tuple[float, float]:
            trial = cls(depth=TRIAL, width=width, axis=axis)
            shaded = [normalised(trial.apply(p, rng)) for p in some for _ in range(REPEATS)]
            got = _excess(np.mean([ray_contrast(plane) for plane in shaded], axis=0), plain, axis)
            scale = max(float(got @ wanted) / max(float(got @ got), 1e-12), 0.0)
            return float(np.sum((wanted - scale * got) ** 2)), scale

        left = {width: fit(width) for width in WIDTHS}
        width = min(left, key=lambda width: left[width][0])
        drawn = [cls.draw(rng, width=width, axis=axis) for _ in range(SETS)]
        if left[width][1] == 0:  # no stronger than the specimen's own rays: any depth may be
            return drawn
        usual = cls(depth=TRIAL).density
        depths = [TRIAL * np.sqrt(left[width][1] * usual / item.density) for item in drawn]
        most = cls.ranges["depth"].high
        return [
            item.model_copy(update={"depth": min(float(depth), most)})
            for item, depth in zip(drawn, depths, strict=True)
        ]

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Divide out what varies across the shadows more than along them.

        That is the plane smoothed along the shadows over the plane smoothed both ways, on the
        axis where this ratio varies more. As much as it does on the other is the specimen's, and
        where that is not much less, the plane stays as it is.
        """
        lifted = np.asarray(plane, np.float64) - plane.min() + 0.1 * np.ptp(plane) + 1e-9
        across, along = CLASSICAL
        ratios = []
        for widths in ((0.0, along), (along, 0.0)):
            both = tuple(width or across for width in widths)
            smooth = ndimage.gaussian_filter(lifted, widths, mode="reflect")
            ratios.append(np.log(smooth / ndimage.gaussian_filter(lifted, both, mode="reflect")))
        spread = [float(ratio.var()) + 1e-12 for ratio in ratios]
        axis = int(spread[1] > spread[0])
        if spread[axis] < STRONG * spread[1 - axis]:
            return plane.copy()
        share = 1 - spread[1 - axis] / spread[axis]
        even = lifted * np.exp(-share * ratios[axis])
        return np.asarray(even - lifted.mean() + plane.mean(), np.float32)


def _excess(contrast: Floats, plain: Floats, axis: int) -> Floats:
    """Variances that the specimen does not explain: it varies along the other axis as well."""
    ratio = np.clip(plain[axis] / plain[1 - axis], 1 / 3, 3)
    return np.asarray(contrast[axis] - ratio * contrast[1 - axis])
