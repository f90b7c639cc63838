"""Which images of a dataset serve which part of a training.

Images held back to judge by are chosen once for all defects, by their names: an image that judges
one defect trains none.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ..datasets.folder import Dataset, Pair, Sample, split
from ..defects import Defect, all_defects
from ..defects.specimens import draw_specimen
from ..settings import Settings

SPECIMEN = 128  # side of simulated specimens, in pixels
_FEW_CLEAN = 50  # below this many clean planes, simulated specimens join them
_FEW_PAIRS = 3  # below this many, calibration is blind
_LEAST_PAIRS = 5  # images with pairs of a defect from which some are held back
_LEAST_CLEAN = 10  # clean images from which some are held back
_LEAST_SIDE = 64  # of a part of an image that is held back, in pixels


@dataclass(frozen=True)
class Material:
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
    validation
        Pairs held back, by defect; never trained on.
    spare
        Held back for a defect without such pairs: clean planes, or noisy ones where no clean one
        is known; none where there are too few.
    physics
        Calibrated physical parameters by defect; empty where no physics is known or wanted.
    """

    defects: tuple[str, ...]
    clean: list[np.ndarray]
    own_clean: dict[str, list[np.ndarray]]
    defective: dict[str, list[np.ndarray]]
    pairs: dict[str, list[Pair]]
    validation: dict[str, list[Pair]]
    spare: dict[str, list[np.ndarray]] = field(default_factory=dict)
    physics: dict[str, list[Defect]] = field(default_factory=dict)


def gather(dataset: Dataset, settings: Settings) -> Material:
    """Give each image of a dataset its role.

    With ``alpha == 1`` there are no real pairs: the clean images of one half of a defect's pairs
    and the defective ones of the other half are used, so that no image is seen in both states. A
    single image is halved by its planes.

    Raises
    ------
    ValueError
        No clean image, where more than noise is to be learned or not from the generalist; or,
        where alpha is 0, no real pair of some defect, or one alone, which cannot judge as well.
    """
    rng = np.random.default_rng([settings.seed, 1])
    given = {name: _chosen(dataset.pairs.get(name, []), settings, rng) for name in dataset.defects}
    held = _held_images(given, settings, rng)
    halves = _defective_half(given, held) if settings.alpha == 1 else set()
    own: dict[str, list[np.ndarray]] = {}
    defective: dict[str, list[np.ndarray]] = {}
    pairs: dict[str, list[Pair]] = {}
    validation: dict[str, list[Pair]] = {}
    for name, some in given.items():
        train = [pair for pair in some if pair.image not in held]
        validation[name] = [pair for pair in some if pair.image in held]
        seen, hidden = _halves(train, halves) if settings.alpha == 1 else (train, train)
        pairs[name] = [] if settings.alpha == 1 else train
        own[name] = [p.target for p in hidden]
        unpaired = [s.plane for s in dataset.defective.get(name, [])]
        defective[name] = unpaired + [p.input for p in seen]
        _check(name, train, validation[name], defective[name], settings)
    samples, spared = _spare_clean(dataset.clean, given, held, settings, rng)
    clean = [s.plane for s in samples] + [plane for planes in own.values() for plane in planes]
    spared += [pair.target for some in validation.values() for pair in some]
    spare = {name: spared for name in dataset.defects if not validation[name]}
    if not clean:
        if not (settings.start == "generalist" and dataset.defects == ["noise"]):
            raise ValueError(
                "expected clean images (clean/ or the targets of pairs), got none; only noise can "
                "be learned without them, alone, and from the generalist"
            )
        defective["noise"], spare["noise"] = _spare_noisy(
            dataset.defective["noise"], settings.validation, rng
        )
    elif len(clean) < _FEW_CLEAN:
        clean += [draw_specimen((SPECIMEN, SPECIMEN), rng) for _ in range(settings.specimens)]
    return Material(tuple(dataset.defects), clean, own, defective, pairs, validation, spare)


def judged_on(material: Material) -> dict[str, str]:
    """Say by what each defect of an adaptation is judged."""
    found = {}
    for name in material.defects:
        if material.validation[name]:
            found[name] = "held-back pairs"
        elif not material.clean:
            found[name] = "noisy images"
        else:
            found[name] = "held-back clean images" if material.spare[name] else "specimens"
    return found


def _chosen(pairs: list[Pair], settings: Settings, rng: np.random.Generator) -> list[Pair]:
    """Choose the pairs of a run."""
    if settings.pairs is None:
        return pairs
    return [pairs[i] for i in rng.permutation(len(pairs))[: settings.pairs]]


def _images(samples: Iterable[Sample | Pair]) -> set[str]:
    return {sample.image for sample in samples}


def _held_images(
    pairs: dict[str, list[Pair]], settings: Settings, rng: np.random.Generator
) -> set[str]:
    """Choose the images whose pairs are held back, for all defects; each keeps some to train on.

    An adaptation without synthetic pairs is judged by real ones alone, and needs one held back
    even of few.
    """
    alone = settings.alpha == 0 and settings.start == "generalist"
    least = 2 if alone else _LEAST_PAIRS
    images = {name: _images(some) for name, some in pairs.items() if some}
    held: set[str] = set()
    for own in images.values():
        if len(own) < least or settings.validation == 0:
            continue
        wanted = max(1, round(settings.validation * len(own)))
        for index in rng.permutation(len(own)):
            image = sorted(own)[index]
            if len(own & held) >= wanted:
                break
            if not any(other <= held | {image} for other in images.values()):
                held.add(image)
    return held


def _defective_half(pairs: dict[str, list[Pair]], held: set[str]) -> set[str]:
    """Choose the images that are seen defective, the others clean: half of each defect's."""
    seen: set[str] = set()
    hidden: set[str] = set()
    for some in sorted(pairs.values(), key=lambda some: len(_images(some))):
        own = [image for image in dict.fromkeys(pair.image for pair in some) if image not in held]
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
            f"{name}: an adaptation with alpha 0 needs pairs of two images or more, one to judge "
            f"by, got {len(_images(train))}; add some, or give a larger alpha"
        )
    if not defective:
        raise ValueError(f"{name}: expected a defective image, got none; add some to {name}/")


def _spare_clean(
    clean: list[Sample],
    pairs: dict[str, list[Pair]],
    held: set[str],
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[list[Sample], list[np.ndarray]]:
    """Return the clean images to train on, and planes of those that an adaptation holds back.

    There are such where some defect has no held-back pairs and where there are enough images.
    """
    clean = [sample for sample in clean if sample.image not in held]
    unpaired = sorted(_images(clean) - _images(pair for some in pairs.values() for pair in some))
    judged = all(_images(some) & held for some in pairs.values())
    if settings.start != "generalist" or judged or len(unpaired) < _LEAST_CLEAN:
        return clean, []
    count = round(settings.validation * len(unpaired))
    chosen = {unpaired[k] for k in rng.permutation(len(unpaired))[:count]}
    spare = [sample.plane for sample in clean if sample.image in chosen]
    return [sample for sample in clean if sample.image not in chosen], spare


def _spare_noisy(
    samples: list[Sample], fraction: float, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return noisy planes to train on and others to judge by.

    Of a single image the end of the longer side is held back; one too small for that does both,
    in other pixels each time.
    """
    kept, held = split(samples, fraction, rng) if fraction else (samples, [])
    planes = [sample.plane for sample in kept]
    if held:
        return planes, [sample.plane for sample in held]
    axis = int(np.argmax(planes[0].shape))
    side = planes[0].shape[axis]
    part = max(_LEAST_SIDE, round(fraction * side))
    if side < part + _LEAST_SIDE:
        return planes, planes
    cut = [np.split(plane, [side - part], axis) for plane in planes]
    return [rest for rest, _ in cut], [spare for _, spare in cut]


def calibrate_physics(material: Material, seed: int) -> dict[str, list[Defect]]:
    """Fit the physical model of each defect that has one to its pairs, or else unpaired.

    Defects are independent of each other: they are fitted at the same time, in threads.
    """
    with ThreadPoolExecutor() as pool:
        fitted = {
            name: pool.submit(_calibrated, material, name, [seed, 2, number])
            for number, name in enumerate(material.defects)
            if name in all_defects()
        }
    return {name: found.result() for name, found in fitted.items()}


def _calibrated(material: Material, name: str, seed: list[int]) -> list[Defect]:
    rng, kind, pairs = np.random.default_rng(seed), all_defects()[name], material.pairs[name]
    if len(pairs) >= _FEW_PAIRS:
        fitted = kind.calibrate_pairs([(p.input, p.target) for p in pairs], rng)
        if fitted:
            return fitted
    clean, defective = material.own_clean[name] or material.clean, material.defective[name]
    return kind.calibrate(clean, defective, rng)
