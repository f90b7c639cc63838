"""Does the generalist do harm? Defects of every strength on held-out images, and structures.

``python -m benchmarks.trust CLEAN`` takes those images of the folder CLEAN that the generalist's
training held out (``weights/generalist.json`` names them), puts weak, middling and strong defects
into their quiet parts, and prints how much closer to the clean image the blind network comes (dB
of the squared error, on the input's own scale and after an affine fit: the mean, the worst field,
and how many fields lose more than 0.1 dB). Then it counts invented and missed structures on
simulated beads, lines and background, whose truth is known (`microscopygan.evaluate.structures`).
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from benchmarks import machine
from microscopygan.defects.parameters import Axial, Defect, Haze, LowResolution, Noise
from microscopygan.defects.specimens import filaments, vesicles
from microscopygan.evaluate.metrics import psnr_affine
from microscopygan.evaluate.structures import structure_errors
from microscopygan.gan.pretraining import quiet_fields
from microscopygan.image.axes import to_planes
from microscopygan.image.formats import list_images, read
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration.restorer import GENERALIST, Restorer

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
CONTRAST = 0.1  # of the specimen's range, that makes a structure


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clean", type=Path)
    parser.add_argument("--model", type=Path, default=GENERALIST)
    options = parser.parse_args()
    restorer = Restorer(options.model)
    fields = held_out(options.clean)
    print(f"{machine()}; {len(fields)} fields of held-out images")
    print(f"{'':17} {'input, dB':>9}   gain, worst, losing    after a fit, worst, losing")
    for name, defects in DEFECTS.items():
        for strength, defect in zip(("weak", "middling", "strong"), defects, strict=True):
            print(f"{name:7} {strength:9} {harm(restorer, fields, defect)}")
    print(f"untouched         {change(restorer, fields)}")
    print("\nStructures per 1000 pixels, input and restored; simulated, 16 planes each")
    for name, kind in (("beads", vesicles), ("lines", filaments), ("background", None)):
        for photons in (300, 30, 8):
            print(f"{name:10} {photons:4d} photons  {structures(restorer, kind, photons)}")


def held_out(folder: Path) -> list[np.ndarray]:
    """Return the quiet fields of the images that the generalist's training held out."""
    record = files("microscopygan") / "weights" / "generalist.json"
    names = set(json.loads(record.read_text())["held_out"])
    found = [path for path in list_images([folder]) if path.name in names]
    if not found:
        raise SystemExit(f"{folder}: expected some of {', '.join(sorted(names))}, found none")
    planes = []
    for path in found:
        image = read(path)
        planes += quiet_fields(np.asarray(to_planes(image.array, image.axes)[0][0], "f4"))
    return planes


def harm(restorer: Restorer, fields: list[np.ndarray], defect: Defect) -> str:
    """Return the gain over the input of one defect as a text."""
    rng = np.random.default_rng(1)
    before, plain, fitted = [], [], []
    for field in fields:
        image = defect.apply(percentile_map(field).apply(field), rng)
        scale = percentile_map(image)
        image, target = scale.apply(image), scale.apply(percentile_map(field).apply(field))
        made = restorer.restore_plane(image)
        before.append(psnr_affine(target, image))
        fitted.append(psnr_affine(target, made) - before[-1])
        errors = (np.mean((x - target) ** 2) for x in (image, made))
        plain.append(float(10 * np.log10(np.divide(*errors))))
    cells = (
        f"{np.mean(g):+7.2f} {np.min(g):+7.2f} {np.mean(np.less(g, -HARM)):6.0%}"
        for g in (plain, fitted)
    )
    return f"{np.mean(before):9.2f} {'      '.join(cells)}"


def change(restorer: Restorer, fields: list[np.ndarray]) -> str:
    """Return how close the result for an untouched clean image comes to it."""
    found = [
        psnr_affine(plane, restorer.restore_plane(plane))
        for plane in (percentile_map(field).apply(field) for field in fields)
    ]
    return f"stays within {np.mean(found):.1f} dB of itself, worst {np.min(found):.1f} dB"


def structures(restorer: Restorer, kind: object, photons: float) -> str:
    """Return false and missed structures of the input and the restored planes as a text."""
    rng = np.random.default_rng(2)
    counts = []
    for _ in range(16):
        truth = kind((256, 256), rng) if callable(kind) else np.full((256, 256), 0.2, "f4")
        image = Noise(photons=photons, read_noise=1.0).apply(truth, rng)
        scale = percentile_map(image)
        made = scale.undo(restorer.restore_plane(scale.apply(image)))
        counts.append([structure_errors(x, truth, CONTRAST) for x in (image, made)])
    before, after = np.mean(counts, axis=0)
    return (
        f"false {before[0]:6.2f} {after[0]:6.2f}   missed {before[1]:6.2f} {after[1]:6.2f}   "
        f"there {before[2]:6.2f}"
    )


if __name__ == "__main__":
    main()
