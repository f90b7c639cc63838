"""What the benchmarks of restoring work on: images, and a network of the default size.

``python -m microscopygan_bench.inputs FILE.onnx [PLANES]`` writes the network, untrained, its
weights drawn from a fixed seed: a trained one takes the same time.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import microscopygan
from microscopygan.defects.specimens import SPECIMENS

if TYPE_CHECKING:
    from microscopygan.gan.networks import UNetRestorer

SOURCES = Path(__file__).resolve().parents[1]
REPOSITORY = SOURCES.parents[1]
PROGRAM = [sys.executable, "-m", "microscopygan"]
_PATCH = 256  # pixels; a plane is a mosaic of specimens of this size


def network(planes: int = 1) -> UNetRestorer:
    """Return the default restorer, the same weights each time; needs PyTorch.

    Parameters
    ----------
    planes
        That it sees at once.
    """
    import torch

    from microscopygan.gan.networks import UNetRestorer
    from microscopygan.settings import RestorerArchitecture

    torch.manual_seed(0)
    restorer = UNetRestorer(RestorerArchitecture(planes=planes))
    torch.nn.init.normal_(restorer.last.weight, std=0.02)  # zero where training begins
    return restorer.eval()


def export(path: Path, planes: int = 1) -> None:
    """Write the network, of so many planes, to an ONNX file."""
    from microscopygan.model_card import ModelCard
    from microscopygan.training.export_onnx import export_restorer, receptive_field

    restorer = network(planes)
    card = ModelCard(
        program=microscopygan.__version__,
        planes=planes,
        halo=receptive_field(restorer, restorer.multiple, planes),
        multiple=restorer.multiple,
        defects=("noise",),
    )
    export_restorer(restorer, path, card)


def model(chosen: Path | None, folder: Path, planes: int = 1) -> Path:
    """Return the model that the user gave, or the network of so many planes, written to `folder`.

    PyTorch runs in a process of its own, so that it counts for no measurement.
    """
    if chosen is not None:
        return chosen.resolve()
    path = folder / f"restorer_{planes}.onnx"
    command = [sys.executable, "-m", "microscopygan_bench.inputs", str(path), str(planes)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise SystemExit(f"cannot write a network ({last}); install [train], or give --model")
    return path


def environment() -> dict[str, str]:
    """Return the environment of processes that import this package and the benchmarks."""
    package = Path(microscopygan.__file__).parents[1]
    there = os.environ.get("PYTHONPATH")
    paths = [str(SOURCES), str(package), *([there] if there else [])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def specimen(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Simulate planes (..., Y, X) with shot noise, as uint16 counts."""
    rng = np.random.default_rng(seed)
    patches = _patches()
    planes = np.empty((math.prod(shape[:-2]), *shape[-2:]), np.uint16)
    for plane in planes:
        for y in range(0, shape[-2], _PATCH):
            for x in range(0, shape[-1], _PATCH):
                place = plane[y : y + _PATCH, x : x + _PATCH]
                light = rng.choice(patches)[: place.shape[0], : place.shape[1]]
                place[...] = rng.poisson(100 + 400 * light)
    return planes.reshape(shape)


@functools.cache
def _patches() -> np.ndarray:
    """Draw specimens, (16, Y, X) on 0..1."""
    rng = np.random.default_rng(0)
    draw = list(SPECIMENS.values())
    return np.stack([draw[k % len(draw)]((_PATCH, _PATCH), rng) for k in range(16)])


def size(text: str) -> tuple[int, ...]:
    """Read a size such as ``2048x2048`` or ``60x256x256``."""
    try:
        lengths = tuple(int(part) for part in text.split("x"))
    except ValueError:
        lengths = ()
    if len(lengths) not in (2, 3) or min(lengths[-2:]) < 16 or lengths[0] < 1:
        raise argparse.ArgumentTypeError(
            f"expected YxX or ZxYxX, planes of at least 16 x 16 pixels, got {text!r}; try 2048x2048"
        )
    return lengths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("planes", type=int, nargs="?", default=1)
    export(**vars(parser.parse_args()))
