"""What a user would do: fill folders, train, restore; the program is run as it is installed.

The folder of the defective images has a name that tells nothing: it is a label.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from microscopygan.image.formats import read
from microscopygan_bench.odd.families import Microscope
from microscopygan_bench.odd.fields import FamilyImages, Planes, image_random, to_counts
from microscopygan_bench.odd.rows import Row
from microscopygan_bench.processes import last_words, run_process, threaded

DEFECT = "mydefect"
_PATIENCE = 900.0  # seconds that a command may take beyond three times its training
_PROGRAM = (sys.executable, "-m", "microscopygan")


def write_dataset(folder: Path, row: Row, images: FamilyImages) -> None:
    """Write the images that a row learns from, as the README asks for them; not the ceiling's."""
    if row.unpaired:
        write_planes(folder / DEFECT, dict(islice(images.defective.items(), row.unpaired)))
    if row.clean:
        write_planes(folder / "clean", images.like if row.clean == "like" else images.unlike)
    for side, planes in (("input", images.defective), ("target", images.targets)):
        if row.pairs:
            some = dict(islice(planes.items(), row.pairs))
            write_planes(folder / "pairs" / DEFECT / side, some)


def write_ceiling(folder: Path, draws: int, like: Planes, spoil: Microscope, name: str) -> None:
    """Write pairs of clean images and the true defect of the family `name`, drawn anew."""
    for draw in range(1, draws + 1):
        pairs: dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]] = {
            f"{image}-{draw}": (spoil.image(plane, image_random(name, image, draw)), plane)
            for image, plane in like.items()
        }
        for k, side in enumerate(("input", "target")):
            here = folder / "pairs" / DEFECT / side
            write_planes(here, {image: both[k] for image, both in pairs.items()})


def write_planes(folder: Path, planes: Mapping[str, NDArray[np.generic]]) -> None:
    """Write planes as TIFF files of 16 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plane in planes.items():
        tifffile.imwrite(folder / f"{name}.tif", to_counts(plane))


def train(
    work: Path, options: Sequence[str], minutes: float, threads: int
) -> tuple[Path | None, str]:
    """Train on ``work/dataset``; return the model, and what the program said.

    Where it refuses to train there is no model: a user has the one that ships.

    Raises
    ------
    RuntimeError
        It failed otherwise.
    """
    run = work / "run"
    words = ["train", str(work / "dataset"), "-o", str(run), "--minutes", f"{minutes:g}"]
    code, log = _program(work, [*words, *options, "--quiet"], minutes, threads)
    model = run / "restorer.onnx"
    if code not in (0, 2) or (code == 0) != model.exists():
        raise RuntimeError(last_words(log))
    if code:
        return None, f"refused: {last_words(log)}"
    lines = [line.strip() for line in log.read_text("utf-8").splitlines()]
    return model, " ".join(line for line in lines if not line.startswith("Run written"))


def restore(
    work: Path, test: Planes, model: Path | None, threads: int
) -> dict[str, NDArray[np.float32]]:
    """Restore images with a model, or with the one that ships.

    Raises
    ------
    RuntimeError
        The program failed.
    """
    write_planes(work / "test", test)
    words = ["restore", str(work / "test"), "-o", str(work / "restored"), "--quiet"]
    chosen = [] if model is None else ["--model", str(model)]
    code, log = _program(work, [*words, *chosen], 0, threads)
    if code:
        raise RuntimeError(last_words(log))
    files = {name: work / "restored" / f"{name}.tif" for name in test}
    return {name: np.asarray(read(path).array, np.float32) for name, path in files.items()}


def _program(work: Path, words: Sequence[str], minutes: float, threads: int) -> tuple[int, Path]:
    """Run the program; return its exit code and its log."""
    work.mkdir(parents=True, exist_ok=True)
    variables = threaded(threads, None)
    variables = {n: v for n, v in variables.items() if not n.startswith("MICROSCOPYGAN_")}
    variables["COLUMNS"] = "1000"  # lines are not broken
    path = work / f"{words[0]}.log"
    with path.open("w") as log:
        limit = 3 * 60 * minutes + _PATIENCE
        return run_process([*_PROGRAM, *words], variables, log, limit, threads), path
