"""Which images of a dataset serve which part of a training.

Images for validation are chosen once for all defects, by their names: one that validates a defect
trains none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..datasets.folder import Dataset, Pair, Sample
from ..datasets.folder import split as split_samples
from ..defects import Defect, all_defects, kind_of, parts_of
from ..defects.calibration import calibrate_with_noise
from ..defects.specimens import draw_specimen
from ..settings import Settings

_HELD_BACK, _HELD_SHARE = 4, 0.3  # images with pairs that an adaptation holds back of few
_EVERY = 4  # of so many unpaired images of a defect one judges CIN-GAN


@dataclass(frozen=True)
class Split:
    """The planes of one run, by role; float32 (Y, X) on about 0..1.

    Attributes
    ----------
    defects
        Names, in the order of their indices.
    clean
        Clean planes of any kind; empty where noise is to be learned from itself.
    own_clean
        Clean planes known to be of the same kind as a defect's images; may be empty.
    defective
        Unpaired defective planes by defect.
    pairs
        Real training pairs by defect; empty where alpha is 1.
    validation_pairs
        Pairs held back, by defect; never trained on.
    validation_planes
        Held back for a defect without such pairs: clean planes, or noisy ones where no clean one
        is known; none where there are too few.
    physics
        Calibrated physical parameters by defect; empty where no physics is known or wanted.
    test
        Pairs by defect that training never looks at.
    specimens
        How many of the clean planes, the last ones, are simulated specimens.
    """

    defects: tuple[str, ...]
    clean: list[np.ndarray]
    own_clean: dict[str, list[np.ndarray]]
    defective: dict[str, list[np.ndarray]]
    pairs: dict[str, list[Pair]]
    validation_pairs: dict[str, list[Pair]]
    validation_planes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    physics: dict[str, list[Defect]] = field(default_factory=dict)
    test: dict[str, list[Pair]] = field(default_factory=dict)
    specimens: int = 0

    @cached_property
    def meaning(self) -> dict[str, str]:
        """What each label stands for: itself where it names a defect, or most of its physics."""
        return {name: _meaning(name, self.physics.get(name, [])) for name in self.defects}

    @property
    def real_clean(self) -> list[np.ndarray]:
        """Clean planes of images."""
        return self.clean[: len(self.clean) - self.specimens]


def _meaning(name: str, physics: list[Defect]) -> str:
    if parts_of(name) or not physics:
        return name
    sets = [{step.name for step in getattr(each, "steps", (each,))} for each in physics]
    often = [stage for stage in all_defects() if 2 * sum(stage in s for s in sets) >= len(sets)]
    return "+".join(often) or name


def split_dataset(dataset: Dataset, settings: Settings) -> Split:
    """Give each image of a dataset its role.

    With ``alpha == 1`` there are no real pairs: the clean images of one half of a defect's pairs
    and the defective ones of the other half are used, so that no image is seen in both states. A
    single image is halved by its planes.

    Raises
    ------
    ValueError
        No clean image, where more than noise is to be learned or not from the generalist; or,
        where alpha is 0, no real pair of some defect, or one alone, which cannot validate as well.
    """
    rng = np.random.default_rng([settings.seed, 1])
    dataset_pairs = {
        name: _some(dataset.pairs.get(name, []), settings, rng) for name in dataset.defects
    }
    validation = _validation_images(dataset_pairs, settings, rng)
    halves = _defective_half(dataset_pairs, validation) if settings.alpha == 1 else set()
    own: dict[str, list[np.ndarray]] = {}
    defective: dict[str, list[np.ndarray]] = {}
    pairs: dict[str, list[Pair]] = {}
    validation_pairs: dict[str, list[Pair]] = {}
    for name, some in dataset_pairs.items():
        train = [pair for pair in some if pair.image not in validation]
        validation_pairs[name] = [pair for pair in some if pair.image in validation]
        seen, hidden = _halves(train, halves) if settings.alpha == 1 else (train, train)
        pairs[name] = [] if settings.alpha == 1 else train
        own[name] = [p.target for p in hidden]
        unpaired = [s.plane for s in dataset.defective.get(name, [])]
        defective[name] = unpaired + [p.input for p in seen]
        _check(name, train, validation_pairs[name], defective[name], settings)
    samples, planes = _split_clean(dataset.clean, dataset_pairs, validation, settings, rng)
    clean = [s.plane for s in samples] + [plane for some in own.values() for plane in some]
    planes += [pair.target for some in validation_pairs.values() for pair in some]
    validation_planes = {name: planes for name in dataset.defects if not validation_pairs[name]}
    if not clean:
        noise = settings.start == "generalist" and [*map(parts_of, dataset.defects)] == [("noise",)]
        if not noise:
            raise ValueError(
                "expected clean images (clean/ or the targets of pairs), got none; only noise can "
                "be learned without them, alone, and from the generalist"
            )
        (name,) = dataset.defects
        defective[name], validation_planes[name] = _split_noisy(
            dataset.defective[name], settings, rng
        )
    specimens = settings.specimens if 0 < len(clean) < settings.split.few_clean else 0
    side = settings.split.specimen_side
    clean += [draw_specimen((side, side), rng) for _ in range(specimens)]
    return Split(
        tuple(dataset.defects),
        clean,
        own,
        defective,
        pairs,
        validation_pairs,
        validation_planes,
        test=dataset.test,
        specimens=specimens,
    )


def to_fit(planes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the images of a defect that its correction is fitted to."""
    return [plane for k, plane in enumerate(planes) if k % _EVERY != _EVERY - 1]


def to_judge(planes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return those that it is judged by; all of them where there are fewer than four."""
    return list(planes[_EVERY - 1 :: _EVERY]) or list(planes)


def _some(pairs: list[Pair], settings: Settings, rng: np.random.Generator) -> list[Pair]:
    """Draw the pairs that a run uses."""
    if settings.pairs is None:
        return pairs
    return [pairs[i] for i in rng.permutation(len(pairs))[: settings.pairs]]


def _images(samples: Iterable[Sample | Pair]) -> set[str]:
    return {sample.image for sample in samples}


def _validation_images(
    pairs: dict[str, list[Pair]], settings: Settings, rng: np.random.Generator
) -> set[str]:
    """Choose the images whose pairs are held back, for all defects; each keeps some to train on.

    Of few images an adaptation holds back more than its share, as one alone may be an outlier.
    Where it can be validated on real pairs alone, without synthetic ones or known physics, it
    needs one held back even of two.
    """
    images = {name: _images(some) for name, some in pairs.items() if some}
    validation: set[str] = set()
    for name, own in images.items():
        adapted = settings.start == "generalist"
        alone = adapted and (settings.alpha == 0 or kind_of(name) is None)
        if len(own) < (2 if alone else settings.split.least_pairs) or settings.validation == 0:
            continue
        wanted = max(1, round(settings.validation * len(own)))
        if adapted:
            wanted = max(wanted, min(_HELD_BACK, round(_HELD_SHARE * len(own))))
        for index in rng.permutation(len(own)):
            image = sorted(own)[index]
            if len(own & validation) >= wanted:
                break
            if not any(other <= validation | {image} for other in images.values()):
                validation.add(image)
    return validation


def _defective_half(pairs: dict[str, list[Pair]], validation: set[str]) -> set[str]:
    """Choose the images that are seen defective, the others clean: half of each defect's."""
    seen: set[str] = set()
    hidden: set[str] = set()
    for some in sorted(pairs.values(), key=lambda some: len(_images(some))):
        images = dict.fromkeys(pair.image for pair in some)
        own = [image for image in images if image not in validation]
        for image in own:
            if image not in seen | hidden:
                (seen if len(seen & set(own)) < len(own) // 2 else hidden).add(image)
    return seen


def _halves(pairs: list[Pair], defective: set[str]) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to see defective and those to see clean."""
    seen = [pair for pair in pairs if pair.image in defective]
    if not seen:
        return pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]
    return seen, [pair for pair in pairs if pair.image not in defective]


def _check(
    name: str,
    train: list[Pair],
    validation: list[Pair],
    defective: list[np.ndarray],
    settings: Settings,
) -> None:
    if settings.alpha == 0 and not train:
        raise ValueError(f"{name}: alpha 0 needs real pairs, got none; add pairs/{name}/")
    if settings.alpha == 0 and settings.start == "generalist" and not validation:
        raise ValueError(
            f"{name}: an adaptation with alpha 0 needs pairs of two images or more, one for "
            f"validation, got {len(_images(train))}; add some, or give a larger alpha"
        )
    if not defective:
        raise ValueError(f"{name}: expected a defective image, got none; add some to {name}/")


def _split_clean(
    clean: list[Sample],
    pairs: dict[str, list[Pair]],
    validation: set[str],
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[list[Sample], list[np.ndarray]]:
    """Return the clean images to train on, and planes of those that an adaptation holds back.

    There are such where some defect has no held-back pairs and where there are enough images.
    """
    clean = [sample for sample in clean if sample.image not in validation]
    unpaired = sorted(_images(clean) - _images(pair for some in pairs.values() for pair in some))
    paired = all(_images(some) & validation for some in pairs.values())
    if settings.start != "generalist" or paired or len(unpaired) < settings.split.least_clean:
        return clean, []
    count = round(settings.validation * len(unpaired))
    spared = {unpaired[k] for k in rng.permutation(len(unpaired))[:count]}
    planes = [sample.plane for sample in clean if sample.image in spared]
    return [sample for sample in clean if sample.image not in spared], planes


def _split_noisy(
    samples: list[Sample], settings: Settings, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return noisy planes to train on and others for validation.

    Of a single image the end of the longer side is held back; one too small for that does both,
    in other pixels each time.
    """
    fraction, least = settings.validation, settings.split.least_side
    train, rest = split_samples(samples, fraction, rng) if fraction else (samples, [])
    planes = [sample.plane for sample in train]
    if rest:
        return planes, [sample.plane for sample in rest]
    axis = int(np.argmax(planes[0].shape))
    side = planes[0].shape[axis]
    part = max(least, round(fraction * side))
    if side < part + least:
        return planes, planes
    cut = [np.split(plane, [side - part], axis) for plane in planes]
    return [most for most, _ in cut], [end for _, end in cut]


def calibrate_physics(split: Split, settings: Settings) -> dict[str, list[Defect]]:
    """Fit the physical model of each defect that has one to its pairs, or else unpaired.

    Defects are independent of each other: they are fitted at the same time, in threads.
    """
    with ThreadPoolExecutor() as pool:
        fitted = {
            name: pool.submit(_calibrated, split, name, kind, number, settings)
            for number, name in enumerate(split.defects)
            if (kind := kind_of(name))
        }
    return {name: sets.result() for name, sets in fitted.items()}


def _calibrated(
    split: Split, name: str, kind: type[Defect], number: int, settings: Settings
) -> list[Defect]:
    rng = np.random.default_rng([settings.seed, 2, number])
    pairs = split.pairs[name]
    if len(pairs) >= settings.split.few_pairs:
        fitted = kind.calibrate_pairs([(p.input, p.target) for p in pairs], rng)
        if fitted:
            return fitted
    clean, defective = split.own_clean[name] or split.clean, split.defective[name]
    return calibrate_with_noise(kind, clean, defective, rng)
