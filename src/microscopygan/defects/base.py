"""What every defect has: validated parameters, ranges to draw them from, and what to do with it.

A defect is one module of this package, and its class there tells all that the program asks:

=================  ================================================================
``name``           the folder's name in a training set
``ranges``         the physically sensible range of each drawn parameter
``place``          where in the light path it arises, for compositions
``symmetry``       which flips and turns of an image leave it the defect it is
``trace``          the statistics of unpaired images that its parameters show in
``spread``         how far calibrated parameters are moved when they are drawn
``noisy``          whether the noise of its images is to be found besides
``share``          how often virtual laboratories have it, against the others
``usual``          whether nearly every image has some of it
``visible``        whether a single image shows it
``local``          whether a small part of an image shows it
``remedy``         what undoes it, where that is not a restorer
``closed``         whether `calibrate` is a closed form, which takes an instant
``found``          parameters from unpaired images in an instant
``seen``           what a closed form sees of it in images
``apply``          puts it into a clean plane
``target``         what is left once it is undone
``calibrate``      parameters from unpaired images; ``calibrate_pairs`` from pairs
``classical``      undoes it without learning
``describe``       says its parameters in words and units
=================  ================================================================

Every model is frozen and refuses unknown keys. The bounds of the fields are wider than the
ranges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from microscopygan.defects.calibration import search_parameters
from microscopygan.defects.classical import non_local_means
from microscopygan.defects.statistics import Trace

Plane = NDArray[np.float32]
Planes = Sequence[NDArray[np.generic]]
Pairs = Sequence[tuple[NDArray[np.generic], NDArray[np.generic]]]

_DRAWS = 32  # parameter sets of a defect that leaves no trace in unpaired images


class Place(IntEnum):
    """Where in the light path a defect arises; compositions are applied in this order."""

    GEOMETRY = 1  # pixels that lie elsewhere: scan jitter
    OPTICS = 2  # the point spread function
    GAIN = 3  # fields that multiply
    LIGHT = 4  # fields that are added
    SAMPLING = 5  # pixels and planes
    SENSOR = 6  # noise
    DIGITAL = 7  # what becomes of the numbers


class Symmetry(IntEnum):
    """Which flips and quarter turns leave a defect the same; each contains those before it."""

    NONE = 0  # a pattern fixed to the camera
    HALF_TURN = 1  # a direction aslant
    FLIPS = 2  # axis 0 differs from axis 1
    ALL = 3


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

    def values(self, count: int) -> list[float]:
        """Return values at even positions, from low to high.

        Parameters
        ----------
        count : int
            How many, at least 2.

        Returns
        -------
        list of float
            The values in the field's unit.
        """
        return [float(self.value(k / (count - 1))) for k in range(count)]

    def integers(self) -> range:
        """Return all integers of the interval.

        Returns
        -------
        range
            From low to high, both included.
        """
        return range(int(self.low), int(self.high) + 1)

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


def as_plane(plane: NDArray[np.generic], ndim: int = 2) -> Plane:
    """Give the array as float32 after checking its number of axes.

    Parameters
    ----------
    plane : array
        Any numbers.
    ndim : int
        The number of axes it has to have.

    Returns
    -------
    array, float32
        The same numbers; not a copy where they are float32 already.

    Raises
    ------
    ValueError
        If the array is empty or has another number of axes.
    """
    array = np.asarray(plane, dtype=np.float32)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(
            f"expected a non-empty array with {ndim} axes, got shape {array.shape}; "
            "pass one plane (Y, X), or one series (N, Y, X) where a series is asked for"
        )
    return array


def require(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise ValueError unless ``low <= value <= high`` and the value is finite."""
    if not (low <= value <= high) or not math.isfinite(value):
        raise ValueError(
            f"{name} must be between {low:g} and {high:g}, got {value}; choose a value in range"
        )


class Defect(BaseModel):
    """One defect with its parameters; the base of all defects."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    ranges: ClassVar[dict[str, Range]] = {}
    place: ClassVar[Place]
    symmetry: ClassVar[Symmetry] = Symmetry.ALL
    trace: ClassVar[Trace | None] = None  # None: unpaired images do not show the parameters
    spread: ClassVar[float] = 0.03  # of calibrated parameters, as a part of their ranges
    noisy: ClassVar[bool] = False  # its images have noise besides, which is calibrated as well
    share: ClassVar[float] = 1.0  # of virtual laboratories, against those of the other defects
    usual: ClassVar[bool] = False  # nearly every image has some of it
    visible: ClassVar[bool] = True  # a single image shows it
    local: ClassVar[bool] = True  # a small part of an image shows it
    closed: ClassVar[bool] = False  # a closed form calibrates it, in an instant
    remedy: ClassVar[str] = ""  # what undoes it, where that is not a restorer

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
        >>> from microscopygan.defects.noise import Noise
        >>> Noise.draw(np.random.default_rng(0), photons=20).photons
        20.0
        """
        drawn = {name: interval.value(rng.random()) for name, interval in cls.ranges.items()}
        return cls(**{**drawn, **fixed})

    @classmethod
    def draw_broad(cls, rng: np.random.Generator) -> Self:
        """Draw the parameters as any microscope may have them, for a pre-training.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        Self
            As :meth:`draw` gives, unless a defect says more.
        """
        return cls.draw(rng)

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

    def moved(self, rng: np.random.Generator, scale: float) -> Self:
        """Move the drawn fields as :meth:`jitter` does; what lies beyond :attr:`ranges` stays.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        scale : float
            As for :meth:`jitter`.

        Returns
        -------
        Self
            The moved parameters.

        Examples
        --------
        >>> import numpy as np
        >>> from microscopygan.defects.noise import Noise
        >>> Noise(photons=2000).moved(np.random.default_rng(0), 0.1).photons
        2000.0
        """
        beyond, ends = {}, {}
        for name, (low, high, _) in self.ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                beyond[name], ends[name] = value, min(max(value, low), high)
        return self.model_copy(update=ends).jitter(rng, scale).model_copy(update=beyond)

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
        raise NotImplementedError(f"{type(self).__name__} defines no apply()")

    def target(self, plane: NDArray[np.generic]) -> Plane:
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

    def describe(self) -> str:
        """Say the parameters in a sentence with units, for a report.

        Returns
        -------
        str
            Lower case, without a full stop.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no describe()")

    @classmethod
    def seen(cls, planes: Planes) -> str | None:
        """Say what a closed form sees of it for certain, as :meth:`describe` does.

        Parameters
        ----------
        planes : sequence of arrays, each (Y, X)
            Finite planes of one detector, in any units.

        Returns
        -------
        str or None
            None where it sees nothing, or where there is no closed form.
        """
        return None

    @classmethod
    def calibrate(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find parameters with which clean planes come to look like the defective ones.

        A search over the statistics of :attr:`trace`; parameters that leave no trace in unpaired
        planes are drawn from :attr:`ranges` instead.

        Parameters
        ----------
        clean, defective : sequences of arrays, each (Y, X)
            Unpaired planes of specimens of the same sort; the clean ones on a scale of about 0
            to 1.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        list of Self
            Parameter sets that are about as likely as each other.

        Raises
        ------
        ValueError
            If a plane is unsuitable, or there is none.
        """
        if cls.trace is None:
            return [cls.draw(rng) for _ in range(_DRAWS)]
        return search_parameters(cls, clean, defective, rng)

    @classmethod
    def found(cls, clean: Planes, defective: Planes, rng: np.random.Generator) -> list[Self]:
        """Find parameters by a closed form, in an instant.

        Parameters
        ----------
        clean, defective : sequences of arrays, each (Y, X)
            As for :meth:`calibrate`.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        list of Self
            Parameter sets; empty where there is no closed form.

        Raises
        ------
        ValueError
            If a plane is unsuitable, or there is none.
        """
        return cls.calibrate(clean, defective, rng) if cls.closed else []

    @classmethod
    def calibrate_pairs(cls, pairs: Pairs, rng: np.random.Generator) -> list[Self]:
        """Find the parameters that turn the clean image of each pair into its defective one.

        Parameters
        ----------
        pairs : sequence of (defective, clean)
            Planes (Y, X) of one shape and field, at least 32 x 32 pixels, on any scale.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        list of Self
            One for each pair looked at; empty where pairs say no more than unpaired images do.
        """
        return []

    @classmethod
    def classical(cls, plane: Plane) -> Plane:
        """Undo the defect in a plane as well as it can be done without learning.

        Parameters
        ----------
        plane : array, shape (Y, X), float32
            A defective plane, at least 8 x 8 pixels, on any scale.

        Returns
        -------
        array, shape (Y, X), float32
            The restored plane on the same scale.
        """
        return non_local_means(plane)
