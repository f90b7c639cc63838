"""Batches of both stages, drawn from the images of a run.

A batch is a function of (seed, step, process), see `loop`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from scipy import ndimage

from ..defects import Defect, Symmetry, parts_of, symmetry_of
from ..defects.base import Range
from ..image.intensity import percentile_map
from ..settings import SamplingSettings, Settings
from .loop import Batch, step_seed
from .split import Split, to_fit


class DefectBatches:
    """Batches of stage one: ``clean``, ``simulated``, ``real`` (B, 1, y, x), ``defect`` (B,).

    A batch is of one defect where the statistics of its images are compared.

    `first` is the index of the split's first defect, above 0 where it adds to those of a run.
    """

    def __init__(self, split: Split, settings: Settings, first: int = 0) -> None:
        self.split, self.settings, self.first = split, settings, first
        self.sampling = settings.sampling.model_copy(update={"zoomed": 0.0})

    def __call__(self, step: int, process: int) -> Batch:
        """Return the batch of one step of one process."""
        rng = np.random.default_rng(step_seed(self.settings.seed, step, process))
        defect = rng.integers(len(self.split.defects), size=self.settings.defects.batch)
        if self.settings.defects.statistics_weight > 0:
            defect[:] = defect[0]
        return self._drawn(defect, rng)

    def of(self, name: str, rng: np.random.Generator) -> Batch:
        """Return a batch of one defect."""
        index = self.split.defects.index(name)
        return self._drawn(np.full(self.settings.defects.batch, index), rng)

    def _drawn(self, defect: np.ndarray, rng: np.random.Generator) -> Batch:
        split, stage = self.split, self.settings.defects
        simulated, clean = draw_simulated(split, defect, stage.patch, rng, self.sampling)
        real = []
        for index in defect:
            planes = split.defective[split.defects[index]]
            planes = to_fit(planes) if stage.statistics_weight > 0 else planes
            real.append(crop([planes[rng.integers(len(planes))]], stage.patch, rng)[0])
            real[-1] = flip([real[-1]], split.meaning[split.defects[index]], rng)[0]
        return {
            "clean": _stack(clean),
            "simulated": _stack(simulated),
            "real": _stack(real),
            "defect": defect.astype(np.int64) + self.first,
        }


class PairBatches:
    """Batches of stage two: ``input``, ``target`` (B, 1, y, x), ``defect``, ``corrected`` (B,).

    Each sample is synthetic in a share ``settings.alpha``; always where a defect has no real pair.
    A synthetic one is to be ``corrected`` (1) by CIN-GAN where no physics is known; in a share
    ``settings.cin_gan``, where it is. Where physics is looked for and none is known, real pairs
    say more than CIN-GAN does: it makes that share of the synthetic ones alone.
    ``hint`` (B, hints) says which of the network's hints a sample has, for some of the samples.
    `names` are the defects to draw, all where not given.
    """

    def __init__(
        self, split: Split, settings: Settings, names: Collection[str] | None = None
    ) -> None:
        self.split, self.settings = split, settings
        drawn = [k for k, name in enumerate(split.defects) if names is None or name in names]
        self.drawn = np.array(drawn)
        self.physical = np.array([bool(split.physics.get(name)) for name in split.defects])
        blind = ~self.physical & settings.defects.physics & (settings.alpha < 1)
        self.alpha = settings.alpha * np.where(blind, settings.cin_gan, 1.0)
        hints = settings.restorer.architecture.hints
        self.hints = np.array(
            [hint_for(split.meaning[name], hints) for name in split.defects], np.float32
        )

    def __call__(self, step: int, process: int) -> Batch:
        """Return the batch of one step of one process."""
        rng = np.random.default_rng(step_seed(self.settings.seed, step, process))
        split, stage, sampling = self.split, self.settings.restorer, self.settings.sampling
        defect = self.drawn[rng.integers(len(self.drawn), size=stage.batch)]
        has_pairs = np.array([bool(split.pairs[name]) for name in split.defects])
        synthetic = (rng.random(stage.batch) < self.alpha[defect]) | ~has_pairs[defect]
        as_simulated = self.physical[defect] & (rng.random(stage.batch) >= self.settings.cin_gan)
        simulated = draw_simulated(split, defect[synthetic], stage.patch, rng, sampling)
        inputs, targets = (iter(planes) for planes in simulated)
        pairs = [
            (next(inputs), next(targets)) if fake else self._real(split.defects[index], rng)
            for index, fake in zip(defect, synthetic, strict=True)
        ]
        pairs = [_rescale(*pair, rng, sampling) for pair in pairs]
        hint = self.hints[defect] * (rng.random((stage.batch, 1)) < sampling.hint_share)
        return {
            "input": _stack([image for image, _ in pairs]),
            "target": _stack([target for _, target in pairs]),
            "defect": defect.astype(np.int64),
            "corrected": (synthetic & ~as_simulated).astype(np.int64),
            "hint": hint.astype(np.float32),
        }

    def _real(self, name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pairs, patch = self.split.pairs[name], self.settings.restorer.patch
        pair = pairs[rng.integers(len(pairs))]
        cut = crop([pair.input, pair.target], patch, rng)
        image, target = flip(cut, self.split.meaning[name], rng)
        return image, target


def hint_for(name: str, hints: tuple[str, ...]) -> list[float]:
    """Return 1 for each of `hints` that a label speaks of, else 0.

    Examples
    --------
    >>> hint_for("noise+axial", ("noise", "axial", "lowres"))
    [1.0, 1.0, 0.0]
    """
    return [float(hint in parts_of(name)) for hint in hints]


def draw_simulated(
    split: Split,
    defect: np.ndarray,
    patch: int,
    rng: np.random.Generator,
    sampling: SamplingSettings,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw simulated defective patches and their clean targets, in the order of `defect`.

    A field larger than a patch gets the defect and is normalised as a whole, as a user's image
    is, and gives some patches.

    Parameters
    ----------
    split
        Clean planes, and the physics of each defect.
    defect
        (N,) indices of defects.
    patch
        Side of a patch in pixels.
    rng
        Source of all draws.
    sampling
        Sizes and shares.

    Returns
    -------
    tuple
        Two lists of N planes (patch, patch), on about 0..1.
    """
    places: dict[int, list[int]] = {}
    for place, index in enumerate(defect):
        places.setdefault(int(index), []).append(place)
    inputs: list[np.ndarray] = [np.empty(0)] * len(defect)
    targets: list[np.ndarray] = [np.empty(0)] * len(defect)
    side = max(sampling.field, patch)
    for index, wanted in places.items():
        name = split.defects[index]
        for first in range(0, len(wanted), sampling.crops):
            field = draw_field(split, name, side, rng, sampling)
            for place in wanted[first : first + sampling.crops]:
                cut = crop(field, patch, rng)
                inputs[place], targets[place] = flip(cut, split.meaning[name], rng)
    return inputs, targets


def draw_physics(sets: list[Defect], rng: np.random.Generator) -> Defect:
    """Draw one of the calibrated parameter sets, moved by as much as its defect says."""
    drawn = sets[rng.integers(len(sets))]
    return drawn.moved(rng, drawn.spread) if drawn.spread else drawn


def draw_field(
    split: Split,
    name: str,
    size: int,
    rng: np.random.Generator,
    sampling: SamplingSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one (simulated, clean) field; the clean one is on the simulated one's intensity scale.

    It starts from the defect's own kind of clean image, where known, in a share
    ``sampling.own_clean`` of the draws, and is magnified or reduced in a share ``sampling.zoomed``.
    """
    own = split.own_clean[name]
    planes = own if own and rng.random() < sampling.own_clean else split.clean
    zoom = Range(*sampling.zoom, "log")
    side = round(size / zoom.value(rng.random())) if rng.random() < sampling.zoomed else size
    cut = crop([planes[rng.integers(len(planes))]], side, rng)[0]
    clean = flip([resized(cut, size / side)], split.meaning[name], rng)[0]
    return simulate(split, name, clean, rng)


def simulate(
    split: Split, name: str, clean: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put a defect's physics into a clean field; return it and its target on its own scale.

    Where no physics is known, both are the clean field.
    """
    sets = split.physics.get(name)
    if not sets:
        return clean, clean
    clean = percentile_map(clean).apply(clean)
    physics = draw_physics(sets, rng)
    simulated = physics.apply(clean, rng)
    scale = percentile_map(simulated)
    return scale.apply(simulated), scale.apply(physics.target(clean))


def crop(planes: Sequence[np.ndarray], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut the same random square from planes of one shape, mirrored where they are too small."""
    height, width = planes[0].shape
    short = [(0, max(0, size - height)), (0, max(0, size - width))]
    if height < size or width < size:
        planes = [np.pad(p, short, mode="symmetric") for p in planes]
        height, width = planes[0].shape
    y = int(rng.integers(height - size + 1))
    x = int(rng.integers(width - size + 1))
    return [p[y : y + size, x : x + size] for p in planes]


def resized(plane: np.ndarray, scale: float) -> np.ndarray:
    """Sample a plane anew: down, blurred by as much as keeps it free of aliases, or up."""
    if scale == 1:
        return plane
    if scale > 1:
        return np.asarray(ndimage.zoom(plane, scale, order=3), np.float32)
    blurred = ndimage.gaussian_filter(plane, 0.4 / scale)
    return np.asarray(ndimage.zoom(blurred, scale, order=1), np.float32)


def flip(planes: Sequence[np.ndarray], name: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Flip planes at random, and turn them by 90°, as far as that leaves their defect the same."""
    symmetry = symmetry_of(name)
    if symmetry is Symmetry.NONE:
        return list(planes)
    y, x = (int(v) for v in rng.choice((-1, 1), size=2))
    planes = [p[::y, :: x if symmetry >= Symmetry.FLIPS else y] for p in planes]
    if symmetry is Symmetry.ALL and rng.random() < 0.5:
        planes = [p.T for p in planes]
    return list(planes)


def _rescale(
    image: np.ndarray, target: np.ndarray, rng: np.random.Generator, sampling: SamplingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Change gain and offset of both alike: percentiles of other images fall elsewhere."""
    gain, offset = (
        np.exp(rng.normal(0, sampling.gain_spread)),
        rng.normal(0, sampling.offset_spread),
    )
    return gain * image + offset, gain * target + offset


def _stack(planes: list[np.ndarray]) -> np.ndarray:
    return np.stack(planes)[:, None].astype(np.float32)
