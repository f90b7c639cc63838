"""Batches of both stages, drawn from a run's material.

A batch is a function of (seed, step, process), see `loop`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..defects import Defect, Symmetry, symmetry_of
from ..defects.base import Range
from ..image.intensity import percentile_map
from .loop import Batch, step_seed
from .split import Material

_FIELD = 128  # side of the fields that are degraded and normalised, as a whole, in pixels
_OWN_CLEAN = 0.75  # how often a synthetic pair starts from the defect's own kind of clean image
TOLD = 0.3  # share of samples whose defects the network is told of
_CROPS = 4  # patches cut from one degraded field
_ZOOMED = 0.5  # how often the clean field of a synthetic pair is another magnification of its image
_ZOOM = Range(0.75, 1.5, "log")


class DefectBatches:
    """Batches of stage one: ``clean``, ``draft``, ``real`` (B, 1, y, x), ``defect`` (B,).

    `first` is the index of the material's first defect, above 0 where it adds to known ones.
    """

    def __init__(
        self, material: Material, batch: int, patch: int, seed: int, first: int = 0
    ) -> None:
        self.material, self.batch, self.patch = material, batch, patch
        self.seed, self.first = seed, first

    def __call__(self, step: int, process: int) -> Batch:
        """Return the batch of one step of one process."""
        rng = np.random.default_rng(step_seed(self.seed, step, process))
        m, size = self.material, self.patch
        defect = rng.integers(len(m.defects), size=self.batch)
        drafts, cleans = draw_drafts(m, defect, size, rng)
        real = []
        for index in defect:
            planes = m.defective[m.defects[index]]
            real.append(crop([planes[rng.integers(len(planes))]], size, rng)[0])
            real[-1] = flip([real[-1]], m.defects[index], rng)[0]
        return {
            "clean": _stack(cleans),
            "draft": _stack(drafts),
            "real": _stack(real),
            "defect": defect.astype(np.int64) + self.first,
        }


class PairBatches:
    """Batches of stage two: ``input``, ``target`` (B, 1, y, x), ``defect``, ``unfinished`` (B,).

    Each sample is synthetic with probability `alpha`; always where a defect has no real pair. A
    synthetic one is ``unfinished`` (1), for CIN-GAN to finish, where no physics is known; in a
    share `cin_gan`, where it is.
    ``hint`` (B, hints) tells which of the defects `hints` a sample has, for some of the samples.
    """

    def __init__(
        self,
        material: Material,
        batch: int,
        patch: int,
        alpha: float,
        seed: int,
        hints: tuple[str, ...] = (),
        cin_gan: float = 0.0,
    ) -> None:
        self.material, self.batch, self.patch = material, batch, patch
        self.alpha, self.seed, self.cin_gan = alpha, seed, cin_gan
        self.told = np.array([hint_for(name, hints) for name in material.defects], np.float32)

    def __call__(self, step: int, process: int) -> Batch:
        """Return the batch of one step of one process."""
        rng = np.random.default_rng(step_seed(self.seed, step, process))
        m = self.material
        defect = rng.integers(len(m.defects), size=self.batch)
        has_pairs = np.array([bool(m.pairs[name]) for name in m.defects])
        synthetic = (rng.random(self.batch) < self.alpha) | ~has_pairs[defect]
        known = np.array([bool(m.physics.get(name)) for name in m.defects])
        finished = known[defect] & (rng.random(self.batch) >= self.cin_gan)
        drafts, cleans = draw_drafts(m, defect[synthetic], self.patch, rng, zoomed=_ZOOMED)
        inputs, targets = iter(drafts), iter(cleans)
        made = [
            (next(inputs), next(targets)) if fake else self._real(m.defects[index], rng)
            for index, fake in zip(defect, synthetic, strict=True)
        ]
        made = [_rescale(*pair, rng) for pair in made]
        hint = self.told[defect] * (rng.random((self.batch, 1)) < TOLD)
        return {
            "input": _stack([a for a, _ in made]),
            "target": _stack([b for _, b in made]),
            "defect": defect.astype(np.int64),
            "unfinished": (synthetic & ~finished).astype(np.int64),
            "hint": hint.astype(np.float32),
        }

    def _real(self, name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pairs = self.material.pairs[name]
        pair = pairs[rng.integers(len(pairs))]
        image, target = flip(crop([pair.input, pair.target], self.patch, rng), name, rng)
        return image, target


def hint_for(name: str, hints: tuple[str, ...]) -> list[float]:
    """Return 1 for each of `hints` that a defect is or, joined by +, consists of, else 0.

    Examples
    --------
    >>> hint_for("noise+axial", ("noise", "axial", "lowres"))
    [1.0, 1.0, 0.0]
    """
    return [float(hint in name.split("+")) for hint in hints]


def draw_drafts(
    material: Material,
    defect: np.ndarray,
    patch: int,
    rng: np.random.Generator,
    zoomed: float = 0.0,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw drafts of defective patches and their clean partners, in the order of `defect`.

    A field of 128×128 is degraded and normalised as a whole, as a user's image is, and gives up
    to four patches. A share `zoomed` of the clean fields is magnified or reduced first.
    """
    places: dict[int, list[int]] = {}
    for place, index in enumerate(defect):
        places.setdefault(int(index), []).append(place)
    drafts: list[np.ndarray] = [np.empty(0)] * len(defect)
    cleans: list[np.ndarray] = [np.empty(0)] * len(defect)
    for index, wanted in places.items():
        name = material.defects[index]
        for first in range(0, len(wanted), _CROPS):
            draft, clean = draw_field(material, name, max(_FIELD, patch), rng, zoomed=zoomed)
            for place in wanted[first : first + _CROPS]:
                cut = flip(crop([draft, clean], patch, rng), name, rng)
                drafts[place], cleans[place] = cut
    return drafts, cleans


def draw_physics(known: list[Defect], rng: np.random.Generator) -> Defect:
    """Draw one of the calibrated parameter sets, moved by as much as its defect says."""
    drawn = known[rng.integers(len(known))]
    return drawn.jitter(rng, drawn.spread) if drawn.spread else drawn


def draw_field(
    material: Material,
    name: str,
    size: int,
    rng: np.random.Generator,
    own_share: float = _OWN_CLEAN,
    zoomed: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one (draft, clean) field; the clean one is on the draft's intensity scale.

    It starts from the defect's own kind of clean image, where known, in a share `own_share` of the
    draws, and is magnified or reduced in a share `zoomed`.
    """
    own = material.own_clean[name]
    planes = own if own and rng.random() < own_share else material.clean
    side = round(size / _ZOOM.value(rng.random())) if rng.random() < zoomed else size
    cut = crop([planes[rng.integers(len(planes))]], side, rng)[0]
    clean = flip([resized(cut, size / side)], name, rng)[0]
    return draft_of(material, name, clean, rng)


def draft_of(
    material: Material, name: str, clean: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a physical draft of a clean field; return it and its partner on the draft's scale."""
    known = material.physics.get(name)
    if not known:
        return clean, clean
    clean = percentile_map(clean).apply(clean)
    physics = draw_physics(known, rng)
    draft = physics.apply(clean, rng)
    scale = percentile_map(draft)
    return scale.apply(draft), scale.apply(physics.target(clean))


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
    image: np.ndarray, target: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Change gain and offset of both alike: percentiles of other images fall elsewhere."""
    gain, offset = np.exp(rng.normal(0, 0.2)), rng.normal(0, 0.03)
    return gain * image + offset, gain * target + offset


def _stack(planes: list[np.ndarray]) -> np.ndarray:
    return np.stack(planes)[:, None].astype(np.float32)
