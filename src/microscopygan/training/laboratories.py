"""Virtual laboratories: a specimen, a microscope that spoils it, and some images of both.

What ships is pre-trained on them. A laboratory has one composition of up to four defects, whose
parameters stay about the same over its images, and a specimen of one sort. Its defective images
come with what a pre-training needs to know: the clean ones, which stages the defect has and how
strong each is, and where each parameter lies in its range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ..defects import Defect, all_defects
from ..defects.base import Range
from ..defects.composition import Composition, light_path
from ..defects.specimens import SPECIMENS
from ..diagnosis.features import count, features, scaled
from ..diagnosis.parameters import STAGES, Parameter, parameters
from ..image.intensity import fit_affine, percentile_map
from ..settings import COMMON, LaboratorySettings
from .batches import crop, resized

FAINT = 60.0  # dB; a stage that changes an image by less counts as this
_WITHOUT = 0.08  # share of laboratories without any defect
_STAGES = (0.5, 0.28, 0.15, 0.07)  # shares of those of one to four stages
_USUAL = 0.5  # share of the others that get a usual stage besides
_EARLY = 0.15  # share of laboratories whose noise arises before the planes are sampled anew
_SOFT = Range(0.4, 2.0, "log")  # σ in pixels of a microscope that is less sharp
_MOVED = Range(0.1, 4.0, "log")  # pixels (σ) from one plane to the next
_BLURRED = Range(0.2, 2.0, "log")  # σ in pixels of the next plane
_OVERLAID = 0.15  # share of laboratories whose specimens are two structures at once
_LARGE = 12  # planes of a sort beyond which it is not drawn more often
_ALONE = 4  # places of the light path from which one stage is drawn at most


class Laboratory(NamedTuple):
    """Images of one virtual laboratory, float32, each on the scale of its defective image.

    Attributes
    ----------
    clean, defective
        (N, Y, X): what a restorer should give, and its input.
    before, after
        (N, Y, X): the planes next to the defective ones, or these themselves.
    alike
        (M, Y, X): clean images on their own scale; all 0 where the laboratory has none.
    numbers, alike_numbers
        (N, F), (M, F) of `diagnosis.features`, of the defective and of the clean images; all 0
        where the settings do not want them measured.
    strength
        (S,) of `STAGES`: 0 to 60, PSNR in dB of what the stage leaves; 60 where it is absent.
    position
        (P,) of `parameters`: 0 to 1 in the parameter's range; NaN where its stage is absent.
    """

    clean: np.ndarray
    defective: np.ndarray
    before: np.ndarray
    after: np.ndarray
    alike: np.ndarray
    numbers: np.ndarray
    alike_numbers: np.ndarray
    strength: np.ndarray
    position: np.ndarray


@dataclass(frozen=True)
class Specimens:
    """Clean planes (Y, X) on about 0..1, by their sort; simulated ones are made anew."""

    sorts: Sequence[Sequence[np.ndarray]]
    settings: LaboratorySettings

    def draw(self, count: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Draw square fields of one sort, of one contrast and sharpness."""
        gamma = rng.uniform(0.6, 1.6) if rng.random() < 0.5 else 1.0
        soft = _SOFT.value(rng.random()) if rng.random() < 0.3 else 0.0
        fields = self._sort(count, rng)
        if rng.random() < _OVERLAID:
            weight, others = rng.uniform(0.2, 1.0), self._sort(count, rng)
            fields = [f + weight * o.T for f, o in zip(fields, others, strict=True)]
        return [_turned(field, gamma, soft, rng) for field in fields]

    def _sort(self, count: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Cut squares from planes of one sort, large sorts more often, or simulate them."""
        side = self.settings.field
        if rng.random() < self.settings.simulated or not self.sorts:
            return _simulated(count, side, rng)
        shares = np.minimum([len(planes) for planes in self.sorts], _LARGE) ** 2
        planes = self.sorts[int(rng.choice(len(shares), p=shares / shares.sum()))]
        return [crop([planes[int(rng.integers(len(planes)))]], side, rng)[0] for _ in range(count)]


def _simulated(count: int, side: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Simulate a specimen of one kind, at a scale of its own; the fields are parts of it."""
    kind = list(SPECIMENS.values())[rng.integers(len(SPECIMENS))]
    scale, whole_side = rng.uniform(0.5, 1.0), 3 * side // 2
    whole = kind((math.ceil(whole_side / scale),) * 2, rng)
    smaller = resized(whole, scale)
    return [crop([smaller], side, rng)[0] for _ in range(count)]


def _turned(plane: np.ndarray, gamma: float, soft: float, rng: np.random.Generator) -> np.ndarray:
    plane = plane if rng.random() < 0.5 else plane.T
    plane = plane[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    plane = np.clip(plane, 0, None) ** gamma if gamma != 1 else plane
    plane = ndimage.gaussian_filter(plane, soft) if soft else plane
    return np.ascontiguousarray(percentile_map(plane).apply(plane))


def draw_defect(rng: np.random.Generator, common: float = 0.0) -> Composition | None:
    """Draw the defect of a laboratory: none, or up to four stages in the order of the light path.

    How often each stage is drawn says its `Defect.share`.

    Parameters
    ----------
    rng
        Source of all draws.
    common
        Share of defects that are one of `COMMON`, and noise at most: what users have most often.
    """
    if rng.random() < _WITHOUT:
        return None
    one = common > 0 and rng.random() < common
    kinds = [all_defects()[name] for name in STAGES]
    shares = np.array([kind.share * (not one or kind.name in COMMON) for kind in kinds])
    chosen: list[type[Defect]] = []
    for _ in range(1 if one else 1 + rng.choice(len(_STAGES), p=_STAGES)):
        taken = {kind.place for kind in chosen if kind.place <= _ALONE}
        free = [k not in chosen and k.place not in taken for k in kinds]
        weights = shares * free
        chosen.append(kinds[rng.choice(len(kinds), p=weights / weights.sum())])
    for kind in kinds:
        if kind.usual and kind not in chosen and rng.random() < _USUAL:
            chosen.append(kind)
    order = light_path(chosen, early=bool(rng.random() < _EARLY))
    return Composition(steps=tuple(kind.draw_broad(rng) for kind in order))


def _apply(defect: Defect | None, plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return plane if defect is None else defect.apply(plane, rng)


def strengths(
    defect: Composition | None, plane: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the PSNR in dB that each of `STAGES` leaves of what it acts on, 60 if absent."""
    result = np.full(len(STAGES), FAINT, np.float32)
    for step in () if defect is None else defect.steps:
        spoiled = step.apply(plane, rng)
        left = fit_affine(spoiled, plane).residual(spoiled, plane)
        psnr = -10 * np.log10(float(np.mean(left**2)) + 1e-6)
        result[STAGES.index(step.name)] = min(FAINT, psnr)
        plane = spoiled
    return result


def positions(defect: Defect | None) -> np.ndarray:
    """Return where each of `parameters` lies in its range, 0 to 1; NaN where it is absent."""
    steps = {} if defect is None else {step.name: step for step in getattr(defect, "steps", ())}
    return np.array([_position(item, steps.get(item.stage)) for item in parameters()], np.float32)


def _position(parameter: Parameter, step: Defect | None) -> float:
    return np.nan if step is None else parameter.position(getattr(step, parameter.name))


def _next_plane(
    clean: np.ndarray, other: np.ndarray, kind: float, rng: np.random.Generator
) -> np.ndarray:
    """Make the plane above or below: moved, less sharp, and partly something else."""
    if kind < 0.2:  # the same scene a moment later
        return clean
    shift = _MOVED.value(rng.random()) * rng.standard_normal(2)
    plane = ndimage.shift(clean, shift, order=1, mode="mirror")
    if kind < 0.5:
        return np.asarray(plane, np.float32)
    plane = ndimage.gaussian_filter(plane, _BLURRED.value(rng.random()))
    share = rng.random() ** 2
    return np.asarray((1 - share) * plane + share * other, np.float32)


def draw_laboratory(
    specimens: Specimens, settings: LaboratorySettings, rng: np.random.Generator
) -> Laboratory:
    """Draw a laboratory and its images.

    Parameters
    ----------
    specimens
        Clean planes of many sorts.
    settings
        How many images of which size.
    rng
        Source of all draws.
    """
    fields = specimens.draw(settings.images + settings.alike, rng)
    alike, kind = _alike(fields[settings.images :], specimens, rng), rng.random()
    defect = draw_defect(rng, settings.common)
    vary = 0.02 if rng.random() < 0.5 else 0.0
    digits = _Digits.draw(rng)
    rows = []
    stack = rng.random() < settings.stacks
    for index, plane in enumerate(fields[: settings.images]):
        moved = defect.jitter(rng, vary) if defect is not None and vary else defect
        image = _apply(moved, plane, rng)
        target = plane if defect is None else defect.target(plane)
        target = np.maximum(target, digits.lowest(image))  # what is below is lost, and not guessed
        image = digits.apply(image)
        scale = percentile_map(image)
        planes = [target, image, image, image]
        if stack and index < settings.stacked:
            other = fields[(index + 1) % len(fields)]
            for place in (2, 3):
                clean = _next_plane(plane, other, kind, rng)
                planes[place] = digits.apply(_apply(moved, clean, rng))
        rows.append([scale.apply(p) for p in planes])
    clean, defective, before, after = (np.stack(c) for c in zip(*rows, strict=True))
    return Laboratory(
        clean,
        defective,
        before,
        after,
        alike,
        _measured([scaled(image) for image in defective], settings.measured),
        _measured(list(alike), settings.measured),
        strengths(defect, fields[0], rng),
        positions(defect),
    )


def _measured(images: list[np.ndarray], wanted: bool) -> np.ndarray:
    if not wanted or not images:
        return np.zeros((len(images), count()), np.float32)
    return np.stack([features(image) for image in images])


def _alike(fields: list[np.ndarray], specimens: Specimens, rng: np.random.Generator) -> np.ndarray:
    """Return clean images: of the same sort, of another one, or none."""
    if not fields:
        return np.zeros((0, specimens.settings.field, specimens.settings.field), np.float32)
    which = rng.random()
    if which < 1 / 3:
        fields = specimens.draw(len(fields), rng)
    shown = np.stack([scaled(field) for field in fields])
    return shown if which < 2 / 3 else np.zeros_like(shown)


@dataclass(frozen=True)
class _Digits:
    """What a program makes of intensities when it saves them: black cut off, whole numbers."""

    black: float
    levels: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Digits:
        black = rng.uniform(0.0, 0.4) if rng.random() < 0.15 else -np.inf
        return cls(black, 10 ** rng.uniform(1.7, 2.4) if rng.random() < 0.3 else 0.0)

    def lowest(self, plane: np.ndarray) -> float:
        """Return the intensity that is saved as black."""
        return float(np.quantile(plane, self.black)) if np.isfinite(self.black) else -np.inf

    def apply(self, plane: np.ndarray) -> np.ndarray:
        plane = np.maximum(plane, self.lowest(plane))
        if self.levels:
            low, high = float(plane.min()), float(plane.max())
            step = max(high - low, 1e-6) / self.levels
            plane = low + np.rint((plane - low) / step) * step
        return np.asarray(plane, np.float32)
