"""Whole camera frames with real noise: the generalist beside BM3D with its noise level estimated.

``microscopygan-bench frames FOLDER`` reads pairs ``SET_FIELD_..._noisy.tif`` and
``SET_FIELD_..._clean.tif`` and prints the affine-fit PSNR and SSIM, mean ± sd over frames, with the
mean and 95 % bootstrap interval of the paired difference, and seconds a frame (median; the methods
take turns, on all processors). BM3D is the package ``bm3d`` of its authors, which is free for
research only and is installed by hand (``pip install "./bench[bm3d]"``); without it, non-local
means stand in.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from microscopygan.defects.classical import non_local_means
from microscopygan.defects.statistics import noise_sigma
from microscopygan.evaluate.metrics import psnr_affine, ssim_affine
from microscopygan.evaluate.score_table import spread
from microscopygan.image.formats import read
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import GENERALIST
from microscopygan_bench import machine
from microscopygan_bench.restoration.statistics import paired_difference

Method = Callable[[np.ndarray], np.ndarray]


def main(arguments: list[str] | None = None) -> None:
    """Restore every frame by every method, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=GENERALIST)
    options = parser.parse_args(arguments)
    paths = sorted(options.folder.glob("*_noisy.tif"))
    if not paths:
        parser.error(
            f"{options.folder}: expected SET_FIELD_..._noisy.tif and _clean.tif, found none"
        )
    methods = {"input": lambda plane: plane, **classical(), "ours": restorer(options.model)}
    scores: dict[str, dict[str, list[float]]] = {
        name: {"psnr": [], "ssim": [], "seconds": []} for name in methods
    }
    for path in paths:
        image = np.asarray(read(path).array, np.float32)
        target = np.asarray(read(path.with_name(path.name.replace("_noisy", "_clean"))).array)
        plane = percentile_map(image).apply(image)
        for name, method in methods.items():
            begun = time.perf_counter()
            restored = method(plane)
            scores[name]["seconds"].append(time.perf_counter() - begun)
            scores[name]["psnr"].append(psnr_affine(target.astype(np.float32), restored))
            scores[name]["ssim"].append(ssim_affine(target.astype(np.float32), restored))
    show(scores, [field_of(path) for path in paths])


def field_of(path: Path) -> str:
    """Return the field of view in SET_FIELD_..._noisy.tif; frames of one are drawn together."""
    parts = path.stem.split("_")
    if len(parts) < 3:
        raise ValueError(f"expected SET_FIELD_..._noisy.tif, got {path.name}; rename it")
    return parts[1]


def classical() -> dict[str, Method]:
    """Return BM3D, or what stands in for it."""
    if importlib.util.find_spec("bm3d") is None:
        return {"non-local means": non_local_means}
    import bm3d

    return {"BM3D": lambda plane: bm3d.bm3d(plane, noise_sigma(plane))}


def restorer(model: Path) -> Method:
    """Return the model, loaded and warmed up, as BM3D is once imported."""
    opened = Restorer(model)
    opened.restore_plane(np.zeros((512, 512), np.float32))
    return opened.restore_plane


def show(scores: dict[str, dict[str, list[float]]], fields: list[str]) -> None:
    """Print means, differences and ratios; frames of one field are drawn together."""
    count = len(fields)
    print(f"{machine()}; {count} frames of {len(set(fields))} fields")
    print(f"{'':16} {'PSNR, dB':>16} {'SSIM':>16} {'s, median':>10}")
    for name, measured in scores.items():
        psnr, ssim = (spread(measured[measure]).text(3) for measure in ("psnr", "ssim"))
        print(f"{name:16} {psnr:>16} {ssim:>16} {np.median(measured['seconds']):10.3f}")
    sources = {str(k): field for k, field in enumerate(fields)}
    other = list(scores)[1]
    for measure, digits in (("psnr", 2), ("ssim", 3)):
        ours, theirs = (
            {0: {str(k): value for k, value in enumerate(scores[name][measure])}}
            for name in ("ours", other)
        )
        text = paired_difference(ours, theirs, sources).text(digits)
        print(f"ours minus {other}, {measure}: {text}")
    ratios = np.divide(scores[other]["seconds"], scores["ours"]["seconds"])
    print(f"{other} takes {np.median(ratios):.1f} times as long (median of {count} frames)")


if __name__ == "__main__":
    main()
