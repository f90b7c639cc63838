"""Several defects in one image, applied in the order of the light path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, field_serializer, field_validator

from microscopygan.defects.base import Defect, Place, Plane


def light_path(kinds: Sequence[type[Defect]], *, early: bool = False) -> list[type[Defect]]:
    """Put defects into the order in which they arise.

    The light's own noise comes before what a camera makes of it; those of one place keep theirs
    otherwise.

    Parameters
    ----------
    kinds : sequence of types
        In any order.
    early : bool
        Whether noise arises before planes are sampled anew.

    Returns
    -------
    list of types
        In the order of the light path.

    Examples
    --------
    >>> from microscopygan.defects import all_defects
    >>> kinds = [all_defects()[name] for name in ("noise", "axial", "haze")]
    >>> [kind.name for kind in light_path(kinds)]
    ['haze', 'axial', 'noise']
    """

    def place(kind: type[Defect]) -> tuple[float, bool]:
        before = Place.SAMPLING - 0.5 if kind.usual and early else float(kind.place)
        return before, not kind.usual

    return sorted(kinds, key=place)


class Composition(Defect):
    """Several defects, applied one after the other."""

    steps: tuple[SerializeAsAny[Defect], ...] = Field(
        min_length=1, description="defects in the order in which they arise"
    )

    @field_validator("steps", mode="before")
    @classmethod
    def _named(cls, steps: Any) -> Any:
        """Make defects of the mappings that :meth:`_with_names` writes."""
        from microscopygan.defects import all_defects

        def step(item: Any) -> Any:
            if not isinstance(item, dict) or "defect" not in item:
                return item
            if (kind := all_defects().get(item["defect"])) is None:
                raise ValueError(
                    f"expected a defect of {', '.join(all_defects())}, got {item['defect']!r}"
                )
            return kind.model_validate({k: v for k, v in item.items() if k != "defect"})

        return [step(item) for item in steps] if isinstance(steps, list | tuple) else steps

    @field_serializer("steps")
    def _with_names(self, steps: tuple[Defect, ...]) -> list[dict[str, Any]]:
        return [{"defect": step.name} | step.model_dump() for step in steps]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, stages: Sequence[type[Defect]] = (), **fixed: Any
    ) -> Self:
        """Draw the parameters of several stages, put in the order of the light path.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        stages : sequence of types
            The defects, in any order; those of one place keep theirs.
        **fixed : Any
            ``steps``, to set them instead.

        Returns
        -------
        Self
            The composition.

        Raises
        ------
        ValueError
            No stage.

        Examples
        --------
        >>> from microscopygan.defects import all_defects
        >>> stages = [all_defects()[name] for name in ("noise", "haze")]
        >>> drawn = Composition.draw(np.random.default_rng(0), stages)
        >>> [step.name for step in drawn.steps]
        ['haze', 'noise']
        """
        ordered = light_path(stages)
        return cls(**{"steps": tuple(stage.draw(rng) for stage in ordered), **fixed})

    @classmethod
    def ordered(cls, steps: Sequence[Defect]) -> Self:
        """Put stages into the order of the light path; those of one kind keep theirs.

        Parameters
        ----------
        steps : sequence of Defect
            One at least.

        Returns
        -------
        Self
            The composition.

        Examples
        --------
        >>> from microscopygan.defects import all_defects
        >>> kinds, rng = all_defects(), np.random.default_rng(0)
        >>> both = Composition.ordered([kinds[n].draw(rng) for n in ("noise", "haze")])
        >>> [step.name for step in both.steps]
        ['haze', 'noise']
        """
        order = light_path(list(dict.fromkeys(map(type, steps))))
        return cls(steps=tuple(sorted(steps, key=lambda step: order.index(type(step)))))

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Apply every step in order, all from one source of randomness: see :meth:`Defect.apply`.

        Examples
        --------
        >>> import numpy as np
        >>> from microscopygan.defects.lowres import LowResolution
        >>> from microscopygan.defects.noise import Noise
        >>> both = Composition(steps=(LowResolution(sigma=2), Noise(photons=30)))
        >>> both.apply(np.ones((16, 16)), np.random.default_rng(0)).shape
        (16, 16)
        """
        result = np.asarray(plane, dtype=np.float32)
        for step in self.steps:
            result = step.apply(result, rng)
        return result

    def target(self, plane: NDArray[np.generic]) -> Plane:
        """Return the plane with the even light of every step: see :meth:`Defect.target`."""
        for step in self.steps:
            plane = step.target(plane)
        return np.asarray(plane, dtype=np.float32)

    def jitter(self, rng: np.random.Generator, scale: float) -> Self:
        """Move the drawn fields of every step a little: see :meth:`Defect.jitter`."""
        return type(self)(steps=tuple(step.jitter(rng, scale) for step in self.steps))

    def moved(self, rng: np.random.Generator, scale: float) -> Self:
        """Move the drawn fields of every step: see :meth:`Defect.moved`."""
        return type(self)(steps=tuple(step.moved(rng, scale) for step in self.steps))

    def describe(self) -> str:
        """Say the parameters of every step: see :meth:`Defect.describe`."""
        return "; ".join(step.describe() for step in self.steps)
