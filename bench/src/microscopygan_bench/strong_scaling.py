"""Strong scaling: the same image restored by one worker and by several, of one thread each.

``microscopygan-bench strong-scaling`` writes an OME-Zarr image, restores it with the command line
and ``--workers`` of each number, in turns, and prints medians of seconds from the shell to the
finished file, megapixels per second, the efficiency (speed of N workers over N times that of the
first row), and whether all stored chunks equal those of the first row byte by byte.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from microscopygan.image.formats import Image, create
from microscopygan_bench import machine
from microscopygan_bench.inputs import PROGRAM, environment, model, specimen


def main(arguments: list[str] | None = None) -> None:
    """Write, restore, compare, print."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        network = model(options.model, scratch)
        store = scratch / "image.ome.zarr"
        write_image(store, options.side, options.chunk)
        outputs = {count: scratch / f"restored{count}.ome.zarr" for count in options.workers}
        seconds: dict[int, list[float]] = {count: [] for count in outputs}
        for _ in range(options.repeats):
            for count, output in outputs.items():
                seconds[count].append(restore(store, output, network, count))
        print(f"{machine()}, {options.side} x {options.side}, one thread a worker, ", end="")
        print(f"medians of {options.repeats}, in turns")
        print(f"{'workers':8}{'s':>9}{'Mpixel/s':>10}{'efficiency':>12}  stored chunks")
        first = options.workers[0]
        reference = chunks_of(outputs[first])
        cost = first * median(seconds[first])
        for count, output in outputs.items():
            taken = median(seconds[count])
            equal = chunks_of(output) == reference
            print(row(count, options.side**2, taken, cost / taken / count, equal))


def write_image(store: Path, side: int, chunk: int) -> None:
    """Write an OME-Zarr of one square plane, uint16."""
    image = Image(specimen((side, side)), "YX", {"Y": 0.1, "X": 0.1})
    with create(store, image.header, chunks=(chunk, chunk)) as target:
        target.array[0:side, 0:side] = image.array


def restore(store: Path, output: Path, network: Path, workers: int) -> float:
    """Restore with one thread a worker; return the seconds it takes from the shell."""
    command = [*PROGRAM, "restore", str(store), "-o", str(output), "--model", str(network)]
    command += ["--overwrite", "--quiet", "--threads", "1", "--workers", str(workers)]
    begun = time.perf_counter()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit((done.stderr.strip() or "no message").splitlines()[-1])
    return time.perf_counter() - begun


def chunks_of(store: Path) -> dict[str, bytes]:
    """Return the bytes of all stored chunks, of all resolutions, by place in the store."""
    metadata = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in files
        if path.name not in metadata
    }


def row(workers: int, pixels: int, seconds: float, efficiency: float, equal: bool) -> str:
    """Write a row of the table."""
    numbers = f"{seconds:9.2f}{pixels / seconds / 1e6:10.3f}{efficiency:12.1%}"
    return f"{workers:<8}{numbers}  {'byte-equal' if equal else 'DIFFERENT'}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=8192, help="of the image, pixels")
    parser.add_argument("--chunk", type=int, default=512, help="side of the stored chunks, pixels")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a restorer; the default network if not given")
    parser.add_argument("--scratch", type=Path, help="folder for the stores")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
