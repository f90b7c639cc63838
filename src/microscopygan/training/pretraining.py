"""The generalist's training: many specimens, many scales, defects of any microscope.

Its images are a `Split` as of any training, with physical parameters drawn over their whole
sensible ranges in place of calibrated ones. Uneven light is no defect here but a property of the
clean images: a restorer that sees a part of the field cannot tell it from the specimen, and keeps
it.
"""

from __future__ import annotations

import csv
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

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
from ..gan.cgan import load_restorer, save_restorer
from ..image.intensity import percentile_map
from ..settings import HINTS, PretrainingSettings, SamplingSettings, Settings
from .batches import PairBatches, crop, draw_field, resized
from .export_onnx import export_restorer
from .run_folder import write_json
from .split import Split
from .stages import Trained, begin, model_card, run_restorer, train_defects
from .validation import Validation, ValidationImages, stack_pairs

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
_PHOTONS = Range(2.0, 1000.0, "log")  # from some photons to what the eye calls clean
_BACKGROUND = Range(0.0, 0.4)
_SOFTNESS = Range(0.4, 2.5, "log")  # blur of what is clean but for noise, σ in pixels


def broad_split(clean: Sequence[np.ndarray], seed: int, settings: PretrainingSettings) -> Split:
    """Return the images of a pre-training.

    Parameters
    ----------
    clean
        Clean planes (Y, X) in any units; those smaller than a field, and noisy parts of the
        others, are left out. Half of the rest get another contrast, and some an uneven light.
    seed
        Of all draws.
    settings
        How many specimens to simulate; two thirds as many fields of two structures are added.

    Returns
    -------
    Split
        Its defects are the names of `SHARES`, each as often as its share. No real defective
        image and no pair is in it.
    """
    rng, side, count = np.random.default_rng([seed, 5]), settings.field, settings.specimens
    planes = [_lit(field, rng) for plane in clean for field in quiet_fields(plane, settings)]
    planes += [_specimen(side, rng) for _ in range(count)]
    planes += [_overlaid(planes, side, rng) for _ in range(2 * count // 3)]
    soft = [_softer(plane, rng) for plane in planes]
    split = with_broad_physics(planes, rng, settings)
    return replace(split, own_clean=split.own_clean | {"noise": soft})


def with_broad_physics(
    planes: list[np.ndarray], rng: np.random.Generator, settings: PretrainingSettings
) -> Split:
    """Return a split of clean planes and the physics of any microscope."""
    names = tuple(name for name, share in SHARES.items() for _ in range(share))
    drawn = {name: [draw(rng) for _ in range(settings.draws)] for name, draw in _DRAW.items()}
    images: dict[str, list[np.ndarray]] = {name: [] for name in SHARES}
    pairs: dict[str, list[Pair]] = {name: [] for name in SHARES}
    return Split(names, planes, images, images, pairs, pairs, physics=drawn)


def defect_split(split: Split, rng: np.random.Generator, settings: PretrainingSettings) -> Split:
    """Return the images of CIN-GAN's pre-training, from those of the restorer's.

    Its defective images have what plain physics lacks: background light, smooth noise, other
    interpolations.
    """
    side, count, sampling = settings.field, settings.defective, SamplingSettings(zoomed=0.0)
    fields = {
        name: [draw_field(split, name, side, rng, sampling)[0] for _ in range(count)]
        for name in HINTS
    }
    plain = {name: [all_defects()[name].draw(rng) for _ in range(settings.draws)] for name in HINTS}
    pairs: dict[str, list[Pair]] = {name: [] for name in HINTS}
    images: dict[str, list[np.ndarray]] = {name: [] for name in HINTS}
    return Split(HINTS, split.clean, images, fields, pairs, pairs, physics=plain)


def pretrain(
    clean: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    run: Path,
    settings: Settings,
    pretraining: PretrainingSettings | None = None,
    *,
    start: Path | None = None,
    about: Mapping[str, object] | None = None,
    quiet: bool = False,
) -> Trained:
    """Train the restorer, then CIN-GAN, that any adaptation starts from; or go on with it.

    Parameters
    ----------
    clean
        Clean planes (Y, X) to train on.
    held_out
        Clean planes whose fields validate the restorer.
    run
        Run folder: ``restorer/``, ``restorer.safetensors``, ``restorer.onnx``, ``defects/`` and
        ``defects.safetensors``.
    settings
        Of both stages.
    pretraining
        Of the images.
    start
        Weights of an earlier restorer to go on from.
    about
        What ``run.json`` is to say of the images; the same each time that the run goes on.
    quiet
        Show no progress.

    Raises
    ------
    ValueError
        The run was begun with other settings, or other images.
    """
    pretraining = pretraining or PretrainingSettings()
    seconds, begun_at = {}, time.perf_counter()
    images = held_out_images(held_out, pretraining)
    training = begin(run, settings, "restorer", resume=run.exists(), quiet=quiet)
    training = replace(training, resume=True)
    if training.main:
        _keep(run / "run.json", dict(about or {}))
    training.accelerator.wait_for_everyone()
    split = broad_split(clean, settings.seed, pretraining)
    validation = Validation(images, run / "restorer", pretraining.validate_every)
    network = load_restorer(start) if start else None
    restorer = run_restorer(training, PairBatches(split, settings), None, network, validation)
    if training.main:
        save_restorer(run / "restorer.safetensors", restorer)
        card = model_card(replace(split, defects=HINTS), settings, settings.restorer.steps)
        export_restorer(restorer, run / "restorer.onnx", card)
    seconds["restorer"] = time.perf_counter() - begun_at
    begun_at = time.perf_counter()
    of_defects = defect_split(split, np.random.default_rng([settings.seed, 7]), pretraining)
    generator = train_defects(of_defects, training)
    seconds["defects"] = time.perf_counter() - begun_at
    if training.main:
        write_json(run / "run.json", {**(about or {}), "seconds": _seconds(run)})
    return Trained(run, settings, split, generator, restorer, None, seconds)


def _keep(path: Path, about: dict[str, object]) -> None:
    """Keep what a run is made of before it starts, or check that it goes on with the same."""
    before = json.loads(path.read_text()) if path.exists() else about
    for name in ("started_from", "specimens", "clean", "held_out"):
        if before.get(name) != about.get(name):
            raise ValueError(f"{path.parent}: cannot go on with other {name}; give another -o")
    write_json(path, about)


def _seconds(run: Path) -> int:
    """Return the seconds of training of both stages, interrupted or not."""
    total = 0.0
    for name in ("restorer", "defects"):
        with (run / name / "log.csv").open(newline="") as file:
            total += float(list(csv.DictReader(file))[-1]["seconds"])
    return round(total)


def held_out_images(
    clean: Sequence[np.ndarray], settings: PretrainingSettings
) -> dict[str, ValidationImages]:
    """Return fields of clean planes with each defect, always the same ones."""
    rng = np.random.default_rng(99)
    fields = [field for plane in clean for field in quiet_fields(plane, settings)]
    split = with_broad_physics(fields, rng, settings)
    side, count = settings.field, settings.validation_fields
    sampling = SamplingSettings(zoomed=0.0)
    return {
        name: stack_pairs(draw_field(split, name, side, rng, sampling) for _ in range(count))
        for name in SHARES
        if name != "none"
    }


def quiet_fields(
    plane: np.ndarray, settings: PretrainingSettings | None = None
) -> list[np.ndarray]:
    """Cut a clean image, at several scales, into square fields that are free of noise.

    A field of nothing but background would make noise a structure to restore.
    """
    settings = settings or PretrainingSettings()
    side, plane = settings.field, percentile_map(plane).apply(plane)
    fields = []
    for scale in settings.scales:
        scaled = resized(plane, scale)
        starts = (range(0, length - side + 1, side * 3 // 4) for length in scaled.shape)
        for y, x in itertools.product(*starts):
            field = scaled[y : y + side, x : x + side]
            if noisiness(field) < settings.noisiest:
                fields.append(field)
    return fields


def _specimen(size: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate a specimen at a scale of its own."""
    scale = rng.uniform(0.5, 1.0)
    side = int(np.ceil(size / scale)) + 1
    return _lit(resized(draw_specimen((side, side), rng), scale), rng)


def _overlaid(planes: list[np.ndarray], side: int, rng: np.random.Generator) -> np.ndarray:
    """Add the light of two structures."""
    one, other = (crop([planes[rng.integers(len(planes))]], side, rng)[0] for _ in range(2))
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
