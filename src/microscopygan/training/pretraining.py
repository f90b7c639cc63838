"""Material of the generalist: many specimens, many scales, defects of any microscope.

It is the `Material` of any training, with physical parameters drawn over their whole sensible
ranges in place of calibrated ones. Uneven light is no defect here but a property of the clean
images: a restorer that sees a part of the field cannot tell it from the specimen, and keeps it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from ..datasets.folder import Pair
from ..defects import Defect, all_defects
from ..defects.axial import Axial
from ..defects.base import Composition, Range
from ..defects.haze import Haze
from ..defects.lowres import LowResolution
from ..defects.noise import Noise
from ..defects.specimens import draw_specimen
from ..defects.statistics import noisiness
from ..defects.uneven import UnevenIllumination
from ..image.intensity import percentile_map
from ..settings import HINTS
from .batches import crop, draw_field, resized
from .split import Material

SHARES = {
    "noise": 8,
    "axial": 4,
    "lowres": 4,
    "haze": 1,
    "noise+axial": 2,
    "noise+lowres": 2,
    "noise+haze": 1,
    "none": 1,
}  # how often a sample has which defects
_DRAWS = 2000  # parameter sets of each name
_FIELD = 128  # smallest side of a clean plane, in pixels
_SCALES = (1.0, 0.71, 0.5)  # of the clean images: 2 × 2 pixels of the last make one
SPECIMENS = 3000
_NOISIEST = 0.015  # noise of a clean field, standard deviation as a part of its range
_DEFECTIVE = 400  # fields of each defect that CIN-GAN sees
_PHOTONS = Range(2.0, 1000.0, "log")  # from some photons to what the eye calls clean
_BACKGROUND = Range(0.0, 0.4)
_SOFTNESS = Range(0.4, 2.5, "log")  # blur of what is clean but for noise, σ in pixels


def broad_material(clean: Sequence[np.ndarray], seed: int, specimens: int = SPECIMENS) -> Material:
    """Return the material of a pre-training.

    Parameters
    ----------
    clean
        Clean planes (Y, X) in any units; those below 128 pixels a side, and noisy parts of the
        others, are left out. Half of the rest get another contrast, and some an uneven light.
    seed
        Of all draws.
    specimens
        How many to simulate; two thirds as many fields of two structures are added.

    Returns
    -------
    Material
        Its defects are the names of `SHARES`, each as often as its share. No real defective
        image and no pair is in it.
    """
    rng = np.random.default_rng([seed, 5])
    planes = [_lit(field, rng) for plane in clean for field in quiet_fields(plane)]
    planes += [_specimen(rng) for _ in range(specimens)]
    planes += [_overlaid(planes, rng) for _ in range(2 * specimens // 3)]
    soft = [_softer(plane, rng) for plane in planes]
    material = with_broad_physics(planes, rng)
    return replace(material, own_clean=material.own_clean | {"noise": soft})


def with_broad_physics(planes: list[np.ndarray], rng: np.random.Generator) -> Material:
    """Return the material of clean planes and the physics of any microscope."""
    names = tuple(name for name, share in SHARES.items() for _ in range(share))
    drawn = {name: [draw(rng) for _ in range(_DRAWS)] for name, draw in _DRAW.items()}
    images: dict[str, list[np.ndarray]] = {name: [] for name in SHARES}
    pairs: dict[str, list[Pair]] = {name: [] for name in SHARES}
    return Material(names, planes, images, images, pairs, pairs, physics=drawn)


def defect_material(material: Material, rng: np.random.Generator) -> Material:
    """Return the material of CIN-GAN's pre-training, from that of the restorer's.

    Its defective images have what a plain physical draft lacks: background light, smooth noise,
    other interpolations.
    """
    fields = {
        name: [draw_field(material, name, _FIELD, rng)[0] for _ in range(_DEFECTIVE)]
        for name in HINTS
    }
    plain = {name: [all_defects()[name].draw(rng) for _ in range(_DRAWS)] for name in HINTS}
    pairs: dict[str, list[Pair]] = {name: [] for name in HINTS}
    images: dict[str, list[np.ndarray]] = {name: [] for name in HINTS}
    return Material(HINTS, material.clean, images, fields, pairs, pairs, physics=plain)


def quiet_fields(plane: np.ndarray) -> list[np.ndarray]:
    """Cut a clean image, at several scales, into fields of 128 × 128 that are free of noise.

    A field of nothing but background would make noise a structure to restore.
    """
    plane = percentile_map(plane).apply(plane)
    found = []
    for scale in _SCALES:
        scaled = resized(plane, scale)
        starts = (range(0, side - _FIELD + 1, _FIELD * 3 // 4) for side in scaled.shape)
        for y, x in itertools.product(*starts):
            field = scaled[y : y + _FIELD, x : x + _FIELD]
            if noisiness(field) < _NOISIEST:
                found.append(field)
    return found


def _specimen(rng: np.random.Generator) -> np.ndarray:
    """Simulate a specimen at a scale of its own."""
    scale = rng.uniform(0.5, 1.0)
    side = int(np.ceil(_FIELD / scale)) + 1
    return _lit(resized(draw_specimen((side, side), rng), scale), rng)


def _overlaid(planes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Add the light of two structures."""
    one, other = (crop([planes[rng.integers(len(planes))]], _FIELD, rng)[0] for _ in range(2))
    return np.asarray(one + rng.uniform(0.2, 1.0) * other.T, np.float32)


def _softer(plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a plane as a wide-field microscope or fine sampling does: below noise no defect."""
    return np.asarray(ndimage.gaussian_filter(plane, _SOFTNESS.value(rng.random())), np.float32)


def _lit(plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give half of the planes another contrast, and some an uneven light."""
    if rng.random() < 0.5:
        plane = np.clip(plane, 0, None) ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.25:
        plane = UnevenIllumination.draw(rng).apply(plane, rng)
    return plane.astype(np.float32)


def _noise(rng: np.random.Generator) -> Defect:
    """Draw noise; one time in six a little smooth, as after a resampling."""
    background = _BACKGROUND.value(rng.random()) if rng.random() < 0.5 else 0.0
    photons = _PHOTONS.value(rng.random() ** 1.5)
    noise = Noise.draw(rng, photons=photons, background=background)
    if rng.random() > 1 / 6:
        return noise
    return Composition(steps=(noise, LowResolution(sigma=rng.uniform(0.4, 0.8), photons=None)))


def _axial(rng: np.random.Generator) -> Defect:
    return Axial.draw(rng, order=1 if rng.random() < 0.7 else 3)


def _lowres(rng: np.random.Generator) -> Defect:
    return LowResolution.draw(rng)


def _haze(rng: np.random.Generator) -> Defect:
    return Haze.draw(rng)


def _noise_last(first: Callable[[np.random.Generator], Defect], swap: float = 0.0) -> _Draw:
    """Return what draws a defect and noise, which comes first in a share `swap` of the draws."""

    def draw(rng: np.random.Generator) -> Defect:
        steps = (first(rng), _noise(rng))
        return Composition(steps=steps[::-1] if rng.random() < swap else steps)

    return draw


_Draw = Callable[[np.random.Generator], Defect]
_DRAW: dict[str, _Draw] = {
    "noise": _noise,
    "axial": _axial,
    "lowres": _lowres,
    "haze": _haze,
    "noise+axial": _noise_last(_axial, swap=0.5),  # planes may be interpolated after noise
    "noise+lowres": _noise_last(_lowres),
    "noise+haze": _noise_last(_haze),
}
