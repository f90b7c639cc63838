"""Does the generalist do harm? Defects of every strength on held-out images, and structures.

``microscopygan-bench trust CLEAN`` takes those images of the folder CLEAN that the generalist's
training held out (``weights/generalist.json`` names them), puts weak, middling and strong defects
into their quiet parts, and prints how much closer to the clean image the blind network comes (PSNR
after an affine fit: the mean, the worst field, and how many fields lose more than 0.1 dB). Fields
whose own noise is above 0.4 % of their range have a row of their own: to take it away counts as an
error there, larger than what a weak defect does. Then it counts invented and missed structures on
simulated beads, lines and background, whose truth is known (`microscopygan.evaluate.structures`),
and tells how much of the light of weak images is kept, which no affine fit shows.
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from microscopygan.defects.axial import Axial
from microscopygan.defects.base import Defect
from microscopygan.defects.haze import Haze
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, nuclei, vesicles
from microscopygan.defects.statistics import noisiness
from microscopygan.evaluate.metrics import psnr_affine
from microscopygan.evaluate.structures import structure_errors
from microscopygan.image.axes import to_planes
from microscopygan.image.formats import list_images, read
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import GENERALIST
from microscopygan.training.pretraining import quiet_fields
from microscopygan_bench import machine

DEFECTS: dict[str, list[Defect]] = {  # weak, middling, strong
    "noise": [Noise(photons=p, read_noise=1.0) for p in (1000, 60, 5)],
    "axial": [Axial(sigma_z=s, step=k) for s, k in ((0.5, 2), (1.5, 4), (2.5, 8))],
    "lowres": [
        LowResolution(sigma=s, binning=b, photons=p)
        for s, b, p in ((0.8, 1, 3000), (1.8, 2, 500), (3.0, 4, 100))
    ],
    "haze": [Haze(sigma=s, fraction=f) for s, f in ((6, 0.2), (12, 0.5), (25, 0.9))],
}
HARM = 0.1  # dB lost that count as harm
CLEANEST = 0.004  # noise of a field, as a part of its range, up to which it is all but free of it
BACKGROUNDS = ((0.2, 0.0), (0.2, 1.5), (5.0, 0.0))  # photons, electrons
CONTRAST = 0.1  # of the specimen's range, that makes a structure


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clean", type=Path)
    parser.add_argument("--model", type=Path, default=GENERALIST)
    options = parser.parse_args(arguments)
    restorer = Restorer(options.model)
    fields = held_out(options.clean)
    clean = np.array([noisiness(field) for field in fields]) <= CLEANEST
    print(f"{machine()}; {len(fields)} fields of held-out images, {clean.sum()} free of noise")
    print(f"{'':17} input, dB    gain    worst losing; of noisier fields")
    for name, defects in DEFECTS.items():
        for strength, defect in zip(("weak", "middling", "strong"), defects, strict=True):
            before, gain = harm(restorer, fields, defect)
            cells = [
                f"{before[few].mean():9.2f} {gain[few].mean():+7.2f} {gain[few].min():+8.2f} "
                f"{np.mean(gain[few] < -HARM):6.0%}"
                for few in (clean, ~clean)
            ]
            print(f"{name:7} {strength:9} {'; '.join(cells)}")
    closeness = unchanged(restorer, fields)
    for name, few in (("untouched", clean), ("noisier", ~clean)):
        mean, worst = closeness[few].mean(), closeness[few].min()
        print(f"{name:17} stays within {mean:.1f} dB of itself, worst {worst:.1f} dB")
    print("\nStructures per 1000 pixels, input and restored; simulated, 16 planes each")
    for name, kind in (("beads", vesicles), ("lines", filaments), ("background", None)):
        for photons in (300, 30, 8):
            print(f"{name:10} {photons:4d} photons  {structures(restorer, kind, photons)}")
    print("\nLight above the background that restoring adds, as a part of what is there; simulated")
    print(f"photons {'background':>12} {'read-out noise':>16}")
    for photons in (1, 3, 6, 12, 50):
        for background, read_noise in BACKGROUNDS:
            added = light_added(restorer, photons, background, read_noise)
            print(f"{photons:7d} {background:12.1f} {read_noise:16.1f}  {added:+8.3f}")


def held_out_images(folder: Path) -> list[Path]:
    """Return the images of a folder that the generalist's training held out."""
    record = files("microscopygan") / "weights" / "generalist.json"
    names = set(json.loads(record.read_text())["held_out"])
    paths = [path for path in list_images([folder]) if path.name in names]
    if not paths:
        raise SystemExit(f"{folder}: expected some of {', '.join(sorted(names))}, found none")
    return paths


def held_out(folder: Path) -> list[np.ndarray]:
    """Return the quiet fields of these images."""
    planes = []
    for path in held_out_images(folder):
        image = read(path)
        planes += quiet_fields(np.asarray(to_planes(image.array, image.axes)[0][0], "f4"))
    return planes


def harm(
    restorer: Restorer, fields: list[np.ndarray], defect: Defect
) -> tuple[np.ndarray, np.ndarray]:
    """Return the PSNR of fields with a defect and the gain over it by restoring, in dB."""
    rng = np.random.default_rng(1)
    before, after = [], []
    for field in fields:
        target = percentile_map(field).apply(field)
        image = defect.apply(target, rng)
        image = percentile_map(image).apply(image)
        before.append(psnr_affine(target, image))
        after.append(psnr_affine(target, restorer.restore_plane(image)))
    return np.array(before), np.subtract(after, before)


def unchanged(restorer: Restorer, fields: list[np.ndarray]) -> np.ndarray:
    """Return how close the result for an untouched image comes to it, as PSNR in dB."""
    planes = [percentile_map(field).apply(field) for field in fields]
    return np.array([psnr_affine(plane, restorer.restore_plane(plane)) for plane in planes])


def structures(restorer: Restorer, kind: object, photons: float) -> str:
    """Return false and missed structures of the input and the restored planes as a text."""
    rng = np.random.default_rng(2)
    counts = []
    for _ in range(16):
        truth = kind((256, 256), rng) if callable(kind) else np.full((256, 256), 0.2, "f4")
        image = Noise(photons=photons, read_noise=1.0).apply(truth, rng)
        scale = percentile_map(image)
        restored = scale.undo(restorer.restore_plane(scale.apply(image)))
        counts.append([structure_errors(x, truth, CONTRAST) for x in (image, restored)])
    before, after = np.mean(counts, axis=0)
    return (
        f"false {before[0]:6.2f} {after[0]:6.2f}   missed {before[1]:6.2f} {after[1]:6.2f}   "
        f"there {before[2]:6.2f}"
    )


def light_added(restorer: Restorer, photons: float, background: float, read_noise: float) -> float:
    """Return how much light restoring adds, as a part of that of the structures; below 0: loses.

    Parameters
    ----------
    restorer
        To look at.
    photons, background
        At the brightest of the structures, and everywhere besides.
    read_noise
        In electrons (σ); 0: photons are counted, many pixels are exactly 0.
    """
    rng, added = np.random.default_rng(3), []
    for kind in (nuclei, filaments):
        for _ in range(6):
            light = photons * kind((96, 128), rng)
            truth = background + light
            image = Noise(photons=1.0, read_noise=read_noise).apply(truth, rng)
            scale = percentile_map(image)
            restored = scale.undo(restorer.restore_plane(scale.apply(image)))
            added.append(float((restored.mean() - truth.mean()) / light.mean()))
    return float(np.mean(added))


if __name__ == "__main__":
    main()
