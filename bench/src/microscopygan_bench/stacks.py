"""What neighbouring planes gain on real stacks, fine and coarse, and how much a movie flickers.

``microscopygan-bench stacks FOLDER --model MODEL`` reads the ``*.ome.tif`` stacks of FOLDER and
draws Poisson noise, 5 photons at the 99.8th percentile (0 at the 1st). Each stack is restored by a
model of three planes, with the neighbours along Z and plane by plane; then the same with every 5th
plane kept, where neighbours show other structures. Printed are the correlation of neighbours, the
PSNR of the planes in dB after an affine fit (mean), what neighbours gain in it, and in that of the
whole volume; ``auto`` is what a user gets who says nothing.

A movie of one scene, the middle plane drawn 30 times anew, is restored with the neighbours along T
and frame by frame: how much its frames' means and its pixels still vary, in percent of the mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from microscopygan.evaluate.metrics import psnr_affine
from microscopygan.image.formats import Image, read
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration import Neighbours
from microscopygan.restoration.api import load, restore
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import GENERALIST
from microscopygan.restoration.neighbours import NeighbourAxis
from microscopygan_bench import machine

KEPT = 5  # one plane of so many, of a coarse stack
FRAMES = 30  # of a movie
FINE_BAR, COARSE_BAR = 0.8, -0.05  # dB that neighbours gain at least


class Gain(NamedTuple):
    """PSNR in dB, of the planes and of the volume, by what was restored together."""

    correlation: float
    auto: str
    planes: dict[str, float]
    volume: dict[str, float]

    def over(self, name: str) -> float:
        """Return what the planes gain over those restored one by one."""
        return self.planes[name] - self.planes["none"]


class Flicker(NamedTuple):
    """Standard deviation in time, percent of the mean: of the frames' means, of the pixels."""

    frames: float
    pixels: float


def main(arguments: list[str] | None = None) -> None:
    """Restore every stack and movie, print two tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=GENERALIST)
    parser.add_argument("--photons", type=float, default=5.0, help="at the 99.8th percentile")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    paths, restorer = sorted(options.folder.glob("*.ome.tif")), load(options.model)
    if not paths:
        parser.error(f"{options.folder}: expected *.ome.tif stacks, found none")
    if restorer.card.planes == 1:
        parser.error(f"{options.model}: expected a model of three planes, got one of one plane")
    print(f"{machine()}, {restorer.card.name}, {options.photons:g} photons, seed {options.seed}")
    lights = {path.name.removesuffix(".ome.tif"): light_of(path) for path in paths}
    print(f"\n{'stack':28}{'r':>6}{'input':>8}{'none':>8}{'z':>8}{'gain':>7}{'volume':>8}  auto")
    for name, light in lights.items():
        for kept, bar in ((1, FINE_BAR), (KEPT, COARSE_BAR)):
            rng = np.random.default_rng(options.seed)
            found = gain(light[::kept], options.photons, restorer, rng)
            print(gain_row(name if kept == 1 else f"{name}, 1 of {kept}", found, bar), flush=True)
    print(f"\n{'movie':28}{'':10}{'frames, %':>10}{'pixels, %':>10}")
    for name, light in lights.items():
        rng = np.random.default_rng(options.seed)
        rows = flicker_rows(name, flicker(light, options.photons, restorer, rng))
        print("\n".join(rows), flush=True)


def light_of(path: Path) -> np.ndarray:
    """Read a stack (Z, Y, X) as light: the 1st percentile and below 0, the 99.8th 1."""
    array = np.asarray(read(path).array)
    return np.asarray(np.clip(percentile_map(array).apply(array), 0, None))


def gain(light: np.ndarray, photons: float, restorer: Restorer, rng: np.random.Generator) -> Gain:
    """Restore a noisy stack with neighbours and without."""
    counts = rng.poisson(photons * light).astype(np.uint16)
    axis = NeighbourAxis(Image(counts, "ZYX"), "auto")
    stacks = {"input": counts}
    stacks |= {how: restored(counts, "ZYX", how, restorer) for how in ("none", "z")}
    planes = {name: _mean_psnr(light, stack) for name, stack in stacks.items()}
    flat = light.reshape(-1, light.shape[-1])
    volume = {name: psnr_affine(flat, stack.reshape(flat.shape)) for name, stack in stacks.items()}
    return Gain(axis.correlation, axis.axis.lower() or "none", planes, volume)


def _mean_psnr(light: np.ndarray, stack: np.ndarray) -> float:
    scores = [psnr_affine(*pair) for pair in zip(light, stack, strict=True) if np.ptp(pair[0]) > 0]
    return float(np.mean(scores))


def restored(
    counts: np.ndarray, axes: str, neighbours: Neighbours, restorer: Restorer
) -> np.ndarray:
    """Restore counts (N, Y, X) as a user would who names the neighbours."""
    done = restore(counts, model=restorer, axes=axes, neighbours=neighbours, dtype="float32")
    return np.asarray(done)


def gain_row(name: str, found: Gain, bar: float) -> str:
    """Write a row; the bar is that of what a user gets who says nothing."""
    scores = "".join(f"{found.planes[how]:8.2f}" for how in ("input", "none", "z"))
    volume = found.volume["z"] - found.volume["none"]
    row = f"{name:28}{found.correlation:6.2f}{scores}{found.over('z'):+7.2f}{volume:+8.2f}"
    usual = found.over(found.auto)
    held = "holds" if usual >= bar else "MISSED"
    return f"{row}  {found.auto} {usual:+.2f}, bar {bar:+.2f}: {held}"


def flicker(
    light: np.ndarray, photons: float, restorer: Restorer, rng: np.random.Generator
) -> dict[str, Flicker]:
    """Restore a movie in which nothing moves, with neighbours and without."""
    scene = np.broadcast_to(light[len(light) // 2], (FRAMES, *light.shape[1:]))
    counts = rng.poisson(photons * scene).astype(np.uint16)
    movies = {"input": counts.astype(np.float32)}
    movies |= {how: restored(counts, "TYX", how, restorer) for how in ("none", "t")}
    mean = 100 / float(counts.mean())
    return {
        name: Flicker(
            mean * float(movie.mean((1, 2), dtype=np.float64).std(ddof=1)),
            mean * float(movie.std(0, ddof=1, dtype=np.float64).mean()),
        )
        for name, movie in movies.items()
    }


def flicker_rows(name: str, found: dict[str, Flicker]) -> Iterator[str]:
    """Write a row for each way: neither may vary more than the input."""
    for how, one in found.items():
        row = f"{name if how == 'input' else '':28}{how:10}{one.frames:10.3f}{one.pixels:10.2f}"
        steady = one.frames <= found["input"].frames and one.pixels < found["input"].pixels
        yield row + ("" if how == "input" else f"  {'holds' if steady else 'MISSED'}")


if __name__ == "__main__":
    main()
