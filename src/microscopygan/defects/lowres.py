"""A wide point spread function and large camera pixels."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from microscopygan.defects.base import Defect, Pairs, Place, Plane, Range, as_plane, require
from microscopygan.defects.classical import richardson_lucy
from microscopygan.defects.noise import poisson_gaussian
from microscopygan.defects.pairs import (
    FINE,
    autocorrelation,
    comparable_crops,
    residual,
    share_left,
)
from microscopygan.defects.statistics import SPECTRUM, Trace

CLASSICAL_SIGMA = 2.5  # pixels; chosen on training patches of the benchmark
PHOTONS = np.geomspace(20, 5000, 30)  # photons of a binned pixel at intensity 1


def low_resolution(
    plane: NDArray[np.generic],
    rng: np.random.Generator,
    *,
    sigma: float,
    binning: int,
    photons: float | None = None,
    order: int = 3,
) -> Plane:
    """Image through a wide point spread function onto large pixels, then interpolate back.

    The plane is blurred, averaged over ``binning x binning`` pixels, given photon noise, and
    brought back to its grid with the pixel centres in register: the centre of binned pixel *k*
    lies at ``(binning - 1) / 2 + binning * k``. Sizes that the binning does not divide are
    padded by repeating the edge, and cropped at the end.

    Parameters
    ----------
    plane : array, shape (Y, X)
        Expected intensity.
    rng : numpy.random.Generator
        Source of randomness; untouched when ``photons`` is None.
    sigma : float
        Standard deviation of the point spread function, in pixels of the plane.
    binning : int
        Camera pixels per side averaged into one, at least 1.
    photons : float, optional
        Expected photons per binned pixel at intensity 1.0; None for no noise.
    order : int
        Order of the spline that interpolates back, 0 to 5.

    Returns
    -------
    array, shape (Y, X), float32
        The plane at low resolution, not shifted.

    Raises
    ------
    ValueError
        If the plane is not 2-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> low_resolution(np.ones((5, 7)), rng, sigma=1, binning=2).shape
    (5, 7)
    """
    array = as_plane(plane)
    require("sigma", sigma, 0.0)
    require("binning", binning, 1, min(array.shape))
    require("order", order, 0, 5)
    height, width = array.shape
    blurred = ndimage.gaussian_filter(array, sigma, mode="nearest")
    padded = np.pad(blurred, ((0, -height % binning), (0, -width % binning)), mode="edge")
    rows, columns = padded.shape[0] // binning, padded.shape[1] // binning
    binned = padded.reshape(rows, binning, columns, binning).mean(axis=(1, 3))
    if photons is not None:
        binned = poisson_gaussian(binned, rng, photons=photons)
    if binning == 1:
        return np.asarray(binned, dtype=np.float32)
    scale, start = np.full(2, 1 / binning), -(binning - 1) / 2 / binning
    restored = ndimage.affine_transform(
        binned, scale, start, output_shape=(height, width), order=order, mode="nearest"
    )
    return np.asarray(restored, dtype=np.float32)


class LowResolution(Defect):
    """A wide point spread function and large camera pixels."""

    name: ClassVar[str] = "lowres"
    place: ClassVar[Place] = Place.SAMPLING
    share: ClassVar[float] = 3.0
    trace: ClassVar[Trace | None] = SPECTRUM
    ranges: ClassVar[dict[str, Range]] = {
        "sigma": Range(0.8, 3.5, "log"),
        "binning": Range(1, 4, "integer"),
        "photons": Range(50.0, 3000.0, "log"),
    }
    sigma: float = Field(ge=0, le=50, description="point spread function σ, pixels")
    binning: int = Field(1, ge=1, le=16, description="pixels per side averaged into one")
    photons: float | None = Field(
        None, gt=0, le=1e6, description="photons per binned pixel at intensity 1.0; None: no noise"
    )

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Lower the resolution: see :func:`low_resolution`."""
        return low_resolution(
            plane, rng, sigma=self.sigma, binning=self.binning, photons=self.photons
        )

    def describe(self) -> str:
        """Say the blur and the size of pixels: see :meth:`Defect.describe`.

        Examples
        --------
        >>> LowResolution(sigma=2.1, binning=2).describe()
        'low resolution: blur σ 2.1 px, camera pixels of 2 × 2'
        """
        said = f"low resolution: blur σ {self.sigma:.2g} px"
        if self.binning > 1:
            said += f", camera pixels of {self.binning} × {self.binning}"
        if self.photons is not None:
            said += f", about {self.photons:.3g} photons a camera pixel at the brightest"
        return said

    @classmethod
    def calibrate_pairs(cls, pairs: Pairs, rng: np.random.Generator) -> list[Self]:
        """Find the binning, one for all pairs, and the blur and photons of each.

        See :meth:`Defect.calibrate_pairs`.

        Examples
        --------
        >>> from microscopygan.defects.specimens import nuclei
        >>> rng = np.random.default_rng(0)
        >>> clean = [nuclei((96, 96), rng) for _ in range(2)]
        >>> truth = LowResolution(sigma=2.0, binning=2, photons=300)
        >>> pairs = [(truth.apply(plane, rng), plane) for plane in clean]
        >>> fitted = LowResolution.calibrate_pairs(pairs, rng)
        >>> [item.binning for item in fitted], bool(abs(fitted[0].sigma - 2) < 0.2)
        ([2, 2], True)
        """
        crops = comparable_crops(pairs, rng)
        # Blur hides the binning, but the noise, whose grain is a binned pixel, shows it.
        trials = [
            [cls._fitted(bad, clean, binning, rng) for bad, clean in crops]
            for binning in cls.ranges["binning"].integers()
        ]

        def unlike(trial: list[Self]) -> float:
            grains = []
            for (bad, clean), fitted in zip(crops, trial, strict=True):
                plain = fitted.model_copy(update={"photons": None}).apply(clean, rng)
                made = fitted.apply(clean, rng)
                grains.append(
                    autocorrelation(residual(bad, plain)) - autocorrelation(residual(made, plain))
                )
            return float(np.sum(np.mean(grains, axis=0) ** 2))

        return min(trials, key=unlike)

    @classmethod
    def _fitted(cls, bad: Plane, clean: Plane, binning: int, rng: np.random.Generator) -> Self:
        """Width and photons of one pair."""
        fine = [cls(sigma=w, binning=binning) for w in cls.ranges["sigma"].values(FINE)]
        still = min(fine, key=lambda trial: share_left(bad, trial.apply(clean, rng)))
        return still.model_copy(update={"photons": _photons(bad, clean, still, rng)})

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Richardson-Lucy with the same blur in both directions."""
        return richardson_lucy(plane, (CLASSICAL_SIGMA, CLASSICAL_SIGMA))


def _photons(
    bad: Plane, clean: Plane, still: LowResolution, rng: np.random.Generator
) -> float | None:
    """Photons whose noise leaves the misfit that the defective image has; None: less than any."""
    plain = still.apply(clean, rng)
    wanted = np.log(share_left(bad, plain))
    trials = [still.model_copy(update={"photons": float(p)}) for p in PHOTONS]
    left = [np.log(share_left(trial.apply(clean, rng), plain)) for trial in trials]
    if wanted < min(left):
        return None
    return float(PHOTONS[int(np.argmin(np.abs(np.array(left) - wanted)))])
