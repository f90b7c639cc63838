"""The parameters of each defect: validated, drawn from sensible ranges, and applied.

Every model is frozen and refuses unknown keys. ``Defect.ranges`` states the physically sensible
range of each drawn field; the bounds of the fields themselves are wider.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from microscopygan.defects import physics
from microscopygan.defects.physics import Plane


class Range(NamedTuple):
    """A closed interval to draw from: uniform, log-uniform or over the integers."""

    low: float
    high: float
    spacing: Literal["linear", "log", "integer"] = "linear"

    def value(self, position: float) -> float | int:
        """Value at a position from 0 (low) to 1 (high).

        Parameters
        ----------
        position : float
            Position in the interval; values outside 0 to 1 are clipped.

        Returns
        -------
        float or int
            The value in the field's unit.
        """
        position = min(max(position, 0.0), 1.0)
        if self.spacing == "log":
            return float(self.low * (self.high / self.low) ** position)
        if self.spacing == "integer":
            return int(min(self.low + np.floor(position * (self.high - self.low + 1)), self.high))
        return self.low + position * (self.high - self.low)

    def position(self, value: float) -> float:
        """Position, 0 to 1, of a value: the inverse of :meth:`value`.

        Parameters
        ----------
        value : float
            A value in the field's unit.

        Returns
        -------
        float
            Its position in the interval.
        """
        if self.spacing == "log":
            return float(np.log(value / self.low) / np.log(self.high / self.low))
        if self.spacing == "integer":
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        return (value - self.low) / (self.high - self.low)


class Defect(BaseModel):
    """One defect with its parameters; the base of all the models here."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ranges: ClassVar[dict[str, Range]] = {}

    @classmethod
    def draw(cls, rng: np.random.Generator, **fixed: Any) -> Self:
        """Draw the parameters from :attr:`ranges`.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        **fixed : Any
            Fields to set instead of drawing them.

        Returns
        -------
        Self
            The drawn parameters.

        Raises
        ------
        ValueError
            If a fixed field is unknown or out of bounds.

        Examples
        --------
        >>> import numpy as np
        >>> Noise.draw(np.random.default_rng(0), photons=20).photons
        20.0
        """
        drawn = {name: interval.value(rng.random()) for name, interval in cls.ranges.items()}
        return cls(**{**drawn, **fixed})

    def jitter(self, rng: np.random.Generator, scale: float) -> Self:
        """Move the drawn fields a little at random, within :attr:`ranges`.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        scale : float
            Standard deviation of the move, as a fraction of each range; an integer field moves
            by one, up or down, one time in three.

        Returns
        -------
        Self
            The moved parameters.
        """
        moved = self.model_dump()
        for name, interval in self.ranges.items():
            if moved[name] is None:
                continue
            if interval.spacing == "integer":
                by_one = moved[name] + int(rng.choice([-1, 0, 0, 0, 0, 1]))
                moved[name] = int(np.clip(by_one, interval.low, interval.high))
            else:
                place = interval.position(moved[name]) + scale * rng.standard_normal()
                moved[name] = interval.value(place)
        return type(self)(**moved)

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Put the defect into a plane.

        Parameters
        ----------
        plane : array, shape (Y, X)
            A clean plane on a scale of about 0 to 1.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        array, shape (Y, X), float32
            The defective plane on the same scale.

        Raises
        ------
        ValueError
            If the plane has the wrong number of axes.
        """
        raise ValueError(
            f"{type(self).__name__} has no effect of its own, expected one of {sorted(DEFECTS)}"
        )

    def partner(self, plane: NDArray[np.generic]) -> Plane:
        """Return what is left of a defective plane once its defect is undone.

        It is the clean plane, with the even light that the defect adds: from the image, that
        cannot be told from the specimen's own.

        Parameters
        ----------
        plane : array, shape (Y, X)
            A clean plane on a scale of about 0 to 1.

        Returns
        -------
        array, shape (Y, X), float32
            What a restorer should make of the plane that :meth:`apply` returns.
        """
        return np.asarray(plane, dtype=np.float32)


class Noise(Defect):
    """Photon and read-out noise of the sensor."""

    ranges: ClassVar[dict[str, Range]] = {
        "photons": Range(3.0, 300.0, "log"),
        "read_noise": Range(0.0, 8.0),
    }
    photons: float = Field(gt=0, le=1e6, description="photons at intensity 1.0")
    read_noise: float = Field(0.0, ge=0, le=1e4, description="read-out noise, electrons (σ)")
    offset: float = Field(0.0, ge=-10, le=10, description="camera baseline, intensity units")
    background: float = Field(
        0.0, ge=0, le=10, description="even background light, which adds noise, intensity units"
    )

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add the noise: see :func:`physics.poisson_gaussian`."""
        lit = np.asarray(plane, dtype=np.float32) + np.float32(self.background)
        return physics.poisson_gaussian(
            lit, rng, photons=self.photons, read_noise=self.read_noise, offset=self.offset
        )

    def partner(self, plane: NDArray[np.generic]) -> Plane:
        """Return the plane with background and baseline, see :meth:`Defect.partner`.

        Examples
        --------
        >>> import numpy as np
        >>> float(Noise(photons=30, background=0.25).partner(np.ones((1, 1)))[0, 0])
        1.25
        """
        return np.asarray(plane, dtype=np.float32) + np.float32(self.background + self.offset)


class Axial(Defect):
    """Too few planes along the optical axis, which is axis 0 of the plane."""

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
        """Subsample axis 0: see :func:`physics.axial_subsampling`."""
        phase = int(rng.integers(self.step)) if self.phase is None else self.phase
        return physics.axial_subsampling(
            plane, sigma_z=self.sigma_z, step=self.step, phase=phase, order=self.order
        )


class LowResolution(Defect):
    """A wide point spread function and large camera pixels."""

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
        """Lower the resolution: see :func:`physics.low_resolution`."""
        return physics.low_resolution(
            plane, rng, sigma=self.sigma, binning=self.binning, photons=self.photons
        )


class Haze(Defect):
    """Out-of-focus light."""

    ranges: ClassVar[dict[str, Range]] = {
        "sigma": Range(4.0, 30.0, "log"),
        "fraction": Range(0.2, 0.9),
    }
    sigma: float = Field(ge=0, le=500, description="out-of-focus blur σ, pixels")
    fraction: float = Field(ge=0, le=1, description="fraction of the light out of focus")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Add the haze: see :func:`physics.haze`."""
        return physics.haze(plane, sigma=self.sigma, fraction=self.fraction)


class UnevenIllumination(Defect):
    """Light that falls off across the field of view."""

    ranges: ClassVar[dict[str, Range]] = {"strength": Range(0.2, 0.9)}
    strength: float = Field(ge=0, le=0.99, description="loss of light at the dimmest point")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Shade the plane: see :func:`physics.uneven_illumination`."""
        return physics.uneven_illumination(plane, rng, strength=self.strength)


class Bleaching(Defect):
    """Fluorophores that fade along a series."""

    ranges: ClassVar[dict[str, Range]] = {
        "decay": Range(0.005, 0.2, "log"),
        "frame": Range(0, 20, "integer"),
    }
    decay: float = Field(ge=0, le=10, description="decay per frame")
    frame: int = Field(0, ge=0, description="frame number that a single plane stands for")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Fade one plane (Y, X) as frame ``frame``, or a series (N, Y, X) along axis 0."""
        if np.ndim(plane) == 3:
            return physics.bleaching(plane, decay=self.decay)
        lit = np.asarray(plane, dtype=np.float32)
        if lit.ndim != 2:
            raise ValueError(
                f"expected a plane (Y, X) or a series (N, Y, X), got shape {lit.shape}; "
                "select one channel or one volume"
            )
        return np.asarray(lit * np.exp(-self.decay * self.frame), dtype=np.float32)


class Composition(Defect):
    """Several defects, applied one after the other."""

    steps: tuple[SerializeAsAny[Defect], ...] = Field(
        min_length=1, description="defects in the order in which they arise"
    )

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Apply every step in order.

        Parameters
        ----------
        plane : array, shape (Y, X)
            A clean plane on a scale of about 0 to 1.
        rng : numpy.random.Generator
            Source of randomness, shared by the steps.

        Returns
        -------
        array, shape (Y, X), float32
            The plane with all the defects.

        Examples
        --------
        >>> import numpy as np
        >>> both = Composition(steps=(LowResolution(sigma=2), Noise(photons=30)))
        >>> both.apply(np.ones((16, 16)), np.random.default_rng(0)).shape
        (16, 16)
        """
        result = np.asarray(plane, dtype=np.float32)
        for step in self.steps:
            result = step.apply(result, rng)
        return result

    def partner(self, plane: NDArray[np.generic]) -> Plane:
        """Return the plane with the even light of every step: see :meth:`Defect.partner`."""
        for step in self.steps:
            plane = step.partner(plane)
        return np.asarray(plane, dtype=np.float32)

    def jitter(self, rng: np.random.Generator, scale: float) -> Self:
        """Move the drawn fields of every step a little: see :meth:`Defect.jitter`."""
        return type(self)(steps=tuple(step.jitter(rng, scale) for step in self.steps))


DEFECTS: dict[str, type[Defect]] = {
    "noise": Noise,
    "axial": Axial,
    "lowres": LowResolution,
    "haze": Haze,
    "uneven": UnevenIllumination,
    "bleaching": Bleaching,
}
