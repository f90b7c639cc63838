"""Restore stacks of which every 4th plane is kept, and score them against all their planes.

``microscopygan-bench axial-stacks DATA/stacks`` reads the ``*.ome.tif`` stacks of DATA/stacks and
trains a restorer for each. Nothing but the thinned stack is trained on, and no pair: its lateral
planes, which are sharp in both directions, are the clean images; its XZ and YZ planes, interpolated
linearly to the lateral pixel size, are the defective ones; the defect is calibrated blindly.

The thinned stack is then restored by the axial task, and sampled at the places of the planes it
had before. Printed are affine-fit PSNR and SSIM, mean ± sd over XZ planes, beside those of linear
and of cubic-spline interpolation, for all rows and for the dropped ones only. Linear interpolation
smoothed along Y and X shows what less noise alone would give. Settings were tuned on XZ planes of
even number; those of odd number are scored.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from microscopygan.datasets.folder import Dataset, Sample
from microscopygan.image.formats import Image, read, write
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration.api import restore
from microscopygan.restoration.axial import axial_step, interpolate, resample
from microscopygan.settings import Settings, make_settings
from microscopygan.training.stages import train
from microscopygan_bench import machine
from microscopygan_bench.quality import quality

KEPT = 4  # one plane of so many
SMOOTH = 0.6  # pixels; the Gaussian that gives linear interpolation the best PSNR on both stacks


def main(arguments: list[str] | None = None) -> None:
    """Train on, restore and score each stack."""
    options = _options(arguments)
    print(f"{machine()}, seed {options.seed}")
    for path in sorted(options.data.glob("*.ome.tif")):
        run = options.run / path.name.removesuffix(".ome.tif")
        image = read(path)
        coarse = image.pixel_size | {"Z": KEPT * image.pixel_size["Z"]}
        thinned = replace(image, array=image.array[::KEPT], pixel_size=coarse)
        begun = time.perf_counter()
        train(training_set(thinned), run, _settings(options), overwrite=True)
        minutes = (time.perf_counter() - begun) / 60
        truth, restored = interpolated(image, thinned, run / "restorer.onnx")
        planes = len(thinned.array)
        print(f"{path.name}: {planes} planes for {len(truth)}, training {minutes:.1f} min")
        print_scores(truth, restored)
        save_planes(run, truth, restored)


def interpolated(
    image: Image, thinned: Image, model: Path
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Put the dropped planes back by every method.

    Returns
    -------
    The true planes (Z, Y, X), as far as the thinned stack reaches, and by method the same planes.
    """
    isotropic = restore(thinned, model=model, task="axial", dtype="float32").array
    places = np.arange(len(image.array), dtype=np.float64) * axial_step(image.pixel_size)
    places = places[places <= len(isotropic) - 1]
    coarse = thinned.array.astype(np.float32)
    linear = interpolate(coarse, np.arange(len(places)) / KEPT)
    return image.array[: len(places)], {
        "linear": linear,
        "smoothed": ndimage.gaussian_filter(linear, (0, SMOOTH, SMOOTH)),
        "cubic": cubic(coarse)[: len(places)],
        "restored": resample(isotropic, places),
    }


def training_set(thinned: Image) -> Dataset:
    """Lateral planes as clean images, axial ones on the isotropic grid as defective ones.

    Either lateral axis may play the axial one.
    """
    step = axial_step(thinned.pixel_size)
    planes = percentile_map(thinned.array).apply(thinned.array)
    grid = interpolate(planes, np.arange(np.ceil((len(planes) - 1) * step) + 1) / step)
    clean = [*planes, *planes.swapaxes(1, 2)]
    axial = [*grid.swapaxes(0, 1), *np.moveaxis(grid, 2, 0)]
    return Dataset(_samples("clean", clean), {"axial": _samples("axial", axial)}, {}, {})


def cubic(planes: np.ndarray) -> np.ndarray:
    """Put the dropped planes back by a cubic spline along Z."""
    factor = ((len(planes) - 1) * KEPT + 1) / len(planes)
    return np.asarray(ndimage.zoom(planes, (factor, 1, 1), order=3, mode="mirror"))


def print_scores(truth: np.ndarray, restored: dict[str, np.ndarray]) -> None:
    """Print the scores over XZ planes: all their rows, and the dropped ones only."""
    dropped = np.arange(len(truth)) % KEPT != 0
    odd = range(1, truth.shape[1], 2)
    for name, volume in restored.items():
        cells = []
        for rows in (np.ones_like(dropped), dropped):
            scores = quality([truth[rows, y] for y in odd], [volume[rows, y] for y in odd])
            cells.append(f"{scores.psnr.text(2)} dB, {scores.ssim.text(3)}")
        print(f"  {name:8}  {cells[0]}   dropped rows {cells[1]}")


def save_planes(run: Path, truth: np.ndarray, restored: dict[str, np.ndarray]) -> None:
    """Save a few XZ planes side by side: the `restored` ones, then the truth."""
    low, high = np.percentile(truth, (1, 99.8))
    gap = np.full((len(truth), 4), high)
    for y in np.linspace(0, truth.shape[1], 5).astype(int)[1:-1]:
        parts = [part for volume in (*restored.values(), truth) for part in (volume[:, y], gap)]
        grey = (np.hstack(parts[:-1]) - low) / (high - low) * 255
        picture = Image(np.clip(grey, 0, 255).astype(np.uint8), "YX")
        write(run / f"xz_{y}.png", picture, overwrite=True)


def _samples(kind: str, planes: list[np.ndarray]) -> list[Sample]:
    names = [f"{kind}#{k}" for k in range(len(planes))]
    return [Sample(np.ascontiguousarray(p), n, n) for p, n in zip(planes, names, strict=True)]


def _settings(options: argparse.Namespace) -> Settings:
    settings = make_settings("default", "scratch", alpha=1.0, seed=options.seed, validation=0.0)
    return settings.changed(
        {"restorer.steps": options.steps, "defects.steps": options.defect_steps}
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=2000, help="steps of the restorer")
    parser.add_argument("--defect-steps", type=int, default=100, help="steps of CIN-GAN")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/axial_stacks"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
