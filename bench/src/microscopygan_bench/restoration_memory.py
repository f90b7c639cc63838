"""Peak memory of restoring images that are larger than memory.

``microscopygan-bench restoration-memory`` writes OME-Zarr images of growing side sparsely (one
chunk in sixteen is filled, the others are missing and read as zeros), restores each whole with
the command line, and prints the peak resident memory of the process. Then it restores a part of
a store of 400 GB, of which a few chunks are there, as a lazy Dask array. Each run has a process
of its own; the peak is what the operating system states at its end, so this needs Unix.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import zarr
from zarr.core.common import JSON

from microscopygan_bench import machine
from microscopygan_bench.inputs import PROGRAM, environment, model, specimen

BAR = 1.5e9  # bytes
CHUNK = 1024  # pixels
FILLED = 4  # every so many chunks along Y and X
HUGE = {"T": 50, "C": 2, "Z": 200, "Y": 3200, "X": 3200}  # 409.6 GB of uint16
_KINDS = {"T": "time", "C": "channel"}

LAZY = """
import sys
import dask.array
import microscopygan
store, model, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
image = dask.array.from_zarr(store, component="0")
restored = microscopygan.restore(image, model=model, axes="TCZYX")
part = restored[-1, -1, :4, :side, :side].compute()
assert part.any() and part.shape[1:] == (side, side), part.shape
"""

WATCH = """
import os, sys
result, *command = sys.argv[1:]
pid = os.spawnvp(os.P_NOWAIT, command[0], command)
_, status, used = os.wait4(pid, 0)
with open(result, "w") as file:
    print(used.ru_maxrss, os.waitstatus_to_exitcode(status), file=file)
"""


@dataclass(frozen=True)
class Peak:
    """What a process took: its largest resident memory in bytes, and its seconds."""

    memory: int
    seconds: float


def main(arguments: list[str] | None = None) -> None:
    """Write, restore, print."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        network = model(options.model, scratch)
        print(f"{machine()}, budget {options.memory}")
        print(f"{'':26}{'GB':>8}{'restored':>12}{'s':>9}{'Mpixel/s':>10}{'peak MB':>9}  below 1500")
        for side in options.sides:
            store, output = scratch / "image.ome.zarr", scratch / "restored.ome.zarr"
            write_sparse(store, {"Y": side, "X": side})
            command = [*PROGRAM, "restore", str(store), "-o", str(output), "--overwrite", "--quiet"]
            command += ["--model", str(network), "--memory", options.memory]
            peak = watched([*command, "--threads", str(options.threads)])
            print(row(f"{side} x {side}", side**2, side**2, peak), flush=True)
        huge = {axis: min(length, options.huge) for axis, length in HUGE.items()}
        side = min(CHUNK, huge["Y"])
        write_sparse(scratch / "huge.ome.zarr", huge)
        command = [sys.executable, "-c", LAZY, str(scratch / "huge.ome.zarr"), str(network)]
        peak = watched([*command, str(side)])
        name = "lazy, " + " x ".join(map(str, huge.values()))
        print(row(name, math.prod(huge.values()), min(4, huge["Z"]) * side**2, peak))


def write_sparse(store: Path, lengths: dict[str, int]) -> None:
    """Write an OME-Zarr 0.5 of uint16 with one resolution, a few of its chunks filled.

    Parameters
    ----------
    store
        Folder; one that is there is replaced.
    lengths
        By axis letter, in the order of the axes.
    """
    group = zarr.open_group(store, mode="w", zarr_format=3)
    axes: list[JSON] = [
        {"name": letter.lower(), "type": _KINDS.get(letter, "space")} for letter in lengths
    ]
    scale: list[JSON] = [{"type": "scale", "scale": [1.0] * len(lengths)}]
    levels: list[JSON] = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
    chunks = tuple(min(CHUNK, n) if letter in "YX" else 1 for letter, n in lengths.items())
    array = group.create_array(
        "0",
        shape=tuple(lengths.values()),
        chunks=chunks,
        dtype="uint16",
        fill_value=0,
        dimension_names=[letter.lower() for letter in lengths],
    )
    filled = specimen(chunks[-2:])
    for region in filled_chunks(lengths, chunks):
        cut = tuple(slice(0, part.stop - part.start) for part in region[-2:])
        array[region] = filled[(None,) * (len(chunks) - 2) + cut]


def filled_chunks(lengths: dict[str, int], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield the regions of the chunks that are filled.

    They are in every fourth row and column of chunks, in all planes of the last stack.
    """
    places = [
        range(0, length, FILLED * chunk)
        if letter in "YX"
        else range(0 if letter == "Z" else length - 1, length)
        for (letter, length), chunk in zip(lengths.items(), chunks, strict=True)
    ]
    for starts in product(*places):
        ends = (min(a + n, m) for a, n, m in zip(starts, chunks, lengths.values(), strict=True))
        yield tuple(slice(a, b) for a, b in zip(starts, ends, strict=True))


def watched(command: list[str]) -> Peak:
    """Run a command and return what it took.

    A small process starts it: the peak of a process begins with that of the one that started it.
    """
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        done = subprocess.run(
            [sys.executable, "-S", "-c", WATCH, str(result), *command],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - begun
        peak, code = map(int, result.read_text().split())
    if code:
        text = done.stderr.strip() or f"code {code}"
        raise SystemExit(f"{' '.join(command[:5])} …: {text.splitlines()[-1]}")
    return Peak(peak * (1 if sys.platform == "darwin" else 1024), seconds)


def row(name: str, pixels: int, restored: int, peak: Peak) -> str:
    """Write a row of the table; `pixels` of uint16 in the store, of which `restored`."""
    outcome = "holds" if peak.memory < BAR else "MISSED"
    speed = restored / peak.seconds / 1e6
    share = f"{restored / pixels:.3g}" if restored < pixels else "whole"
    numbers = f"{peak.seconds:9.1f}{speed:10.3f}{peak.memory / 1e6:9.0f}"
    return f"{name:26}{2 * pixels / 1e9:8.3g}{share:>12}{numbers}  {outcome}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    sides = [5_000, 10_000, 20_000, 40_000]
    parser.add_argument("--sides", type=int, nargs="*", default=sides, help="of the images, pixels")
    parser.add_argument("--huge", type=int, default=max(HUGE.values()), help="of the store, most")
    parser.add_argument("--memory", default="1.5GB", help="what the program is told to keep to")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--model", type=Path, help="a restorer; the default network if not given")
    parser.add_argument("--scratch", type=Path, help="folder for the stores, some 4 GB")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
