"""Strong scaling: the same image restored by one worker and by several, of one thread each.

``microscopygan-bench strong-scaling`` writes an OME-Zarr image, restores it with the command line
as often as ``--runs`` says, in turns, and prints medians of seconds from the shell to the finished
file, megapixels per second, how many times as fast as the first row that is, and whether all stored
chunks equal those of the first run byte by byte. A run is one of

``2``
    Two processes of this machine, ``--workers 2``.
``dask-2``
    A Dask cluster of two workers on this machine, which was started before.
``dask-2-worker-killed``
    One of its workers is killed when half of the blocks are finished.
``dask-2-scheduler-killed``
    Its scheduler is killed then, and the command ends; another cluster goes on with ``--resume``.

``--folder`` keeps image and times: further runs can be done later, and the table holds them all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import zarr

from microscopygan.image.atomic import PROGRESS, remove
from microscopygan.image.formats import ZARR_METADATA, Header, create
from microscopygan.image.lazy import Blocks
from microscopygan_bench import machine
from microscopygan_bench.dask_cluster import cluster
from microscopygan_bench.inputs import PROGRAM, environment, model, size, specimen

DEPTH = 16  # planes of a stored chunk of a stack
_RUN = re.compile(r"([1-9]\d*)|dask-([1-9]\d*)(?:-(worker|scheduler)-killed)?")
_HEAD = ("", "seconds", "megapixels/s", "times as fast", "stored chunks", "blocks")
_MARKS = (*ZARR_METADATA, ".zmetadata")


class Run(NamedTuple):
    """How an image is restored: by processes or by a cluster, what is killed, how many workers."""

    dask: bool
    killed: str
    workers: int

    @property
    def title(self) -> str:
        """What the table calls it."""
        many = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        ends = {"worker": ", one of them killed", "scheduler": ", scheduler killed, resumed"}
        return ("Dask, " if self.dask else "") + many + ends.get(self.killed, "")


@dataclass(frozen=True)
class Bench:
    """What runs have in common: a folder and a network."""

    folder: Path
    network: Path

    @property
    def image(self) -> Path:
        """The image that is restored."""
        return self.folder / "image.ome.zarr"

    @property
    def output(self) -> Path:
        """What it becomes; there after a run."""
        return self.folder / "restored.ome.zarr"

    @property
    def unfinished(self) -> Path:
        """What that is until it is finished."""
        return self.output.with_name(f"{self.output.name}.part")


def main(arguments: list[str] | None = None) -> int:
    """Write, restore, compare, print; return 1 where bytes differ."""
    options = _options(arguments)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        return measure(options, options.folder.resolve())
    with tempfile.TemporaryDirectory() as folder:
        return measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> int:
    """Do the runs in a folder, and print the table of all that were ever done there."""
    bench = prepared(folder, options.size, options.chunk, options.model)
    kept = folder / "runs.jsonl"
    for run in options.runs * options.repeats:
        seconds, blocks = restore(bench, run)
        done = {"run": run, "seconds": seconds, "equal": equal(bench), "blocks": blocks}
        with kept.open("a") as lines:
            print(json.dumps(done | {"machine": machine()}), file=lines)
        said = (run.title, f"{seconds:.1f} s", _compared([done]), blocks)
        print("; ".join(filter(None, said)), flush=True)
    every = [json.loads(line) for line in kept.read_text().splitlines()]
    print("\n".join(table(every, options.size)))
    return 0 if all(done["equal"] for done in every) else 1


def prepared(folder: Path, size: tuple[int, ...], chunk: int, chosen: Path | None) -> Bench:
    """Write image and network into a folder, the image once.

    Raises
    ------
    SystemExit
        The folder holds runs of another image or network.
    """
    bench, about = Bench(folder, model(chosen, folder)), folder / "about.json"
    network = hashlib.sha256(bench.network.read_bytes()).hexdigest()
    wanted = {"size": list(size), "chunk": chunk, "network": network}
    if about.exists() and (there := json.loads(about.read_text())) != wanted:
        other = next(name for name in wanted if there.get(name) != wanted[name])
        raise SystemExit(
            f"{folder}: expected runs of {other} {wanted[other]}, got some of {there.get(other)}; "
            "choose another --folder"
        )
    about.write_text(json.dumps(wanted))
    if not bench.image.exists():
        write_image(bench.image, size, chunk)
    return bench


def write_image(store: Path, size: tuple[int, ...], chunk: int) -> None:
    """Write an OME-Zarr of a plane (Y, X) or a stack (Z, Y, X), uint16, a row of chunks at once."""
    stored = (DEPTH, chunk, chunk)[-len(size) :]
    header = Header(size, np.dtype(np.uint16), "ZYX"[-len(size) :], {"Y": 0.1, "X": 0.1})
    with create(store, header, chunks=stored, overwrite=True) as target:
        for number, region in enumerate(Blocks(size, (*stored[:-1], size[-1]))):
            target.array[region] = specimen(tuple(s.stop - s.start for s in region), number)


def restore(bench: Bench, run: Run) -> tuple[float, str]:
    """Restore once; return the seconds from the shell, and what became of blocks after a kill."""
    remove(bench.output)
    remove(bench.unfinished)
    if not run.dask:
        return whole(bench, "--workers", str(run.workers)), ""
    with cluster(run.workers, bench.folder) as parts:
        address = ("--scheduler", parts.address)
        if not run.killed:
            return whole(bench, *address), ""
        with started(bench, *address) as command:
            before = half_done(bench, command)
            victim = parts.workers[0] if run.killed == "worker" else parts.scheduler
            victim.kill()
            seconds = ended(command, 0 if run.killed == "worker" else 2)
    if run.killed == "worker":
        return seconds, f"{before} before"
    more, again = resumed(bench, run.workers)
    return seconds + more, f"{before} before; {again} not computed again"


def resumed(bench: Bench, workers: int) -> tuple[float, int]:
    """Go on with another cluster; return seconds, and how many finished blocks stayed as they were.

    A block stayed where no chunk of it was written anew.
    """
    chunks = finished_blocks(bench.unfinished)
    before = written(bench.unfinished, chunks)
    with cluster(workers, bench.folder) as parts:
        seconds = whole(bench, "--scheduler", parts.address, "--resume")
    after = written(bench.output, chunks)
    return seconds, sum(a == b for a, b in zip(before, after, strict=True))


class Command(NamedTuple):
    """A command that runs, and since when."""

    process: subprocess.Popen[str]
    since: float


@contextmanager
def started(bench: Bench, *options: str) -> Iterator[Command]:
    """Start the command that restores the image, with one thread a worker."""
    words = [*PROGRAM, "restore", str(bench.image), "-o", str(bench.output), "--quiet"]
    words += ["--model", str(bench.network), "--threads", "1", *options]
    since, pipe = time.perf_counter(), subprocess.PIPE
    process = subprocess.Popen(words, env=environment(), stdout=pipe, stderr=pipe, text=True)
    try:
        yield Command(process, since)
    finally:
        process.kill()
        process.wait()


def ended(command: Command, code: int = 0) -> float:
    """Wait for a command's end; return the seconds it took.

    Raises
    ------
    SystemExit
        It ends with another exit code, or, where it should fail, with more than one line.
    """
    _, error = command.process.communicate()
    seconds, lines = time.perf_counter() - command.since, error.strip().splitlines()
    if command.process.returncode != code or (code and len(lines) != 1):
        said = (lines or ["no message"])[-1]
        raise SystemExit(f"expected exit code {code}, got {command.process.returncode}: {said}")
    return seconds


def whole(bench: Bench, *options: str) -> float:
    """Restore the image undisturbed; return the seconds it takes."""
    with started(bench, *options) as command:
        return ended(command)


def half_done(bench: Bench, command: Command) -> str:
    """Wait until half of the blocks are finished; return how many of how many are.

    Raises
    ------
    SystemExit
        The command ends before.
    """
    marks = bench.unfinished / PROGRESS
    while command.process.poll() is None:
        done = sum(path.name.isdigit() for path in (marks / "c").glob("*"))
        with suppress(FileNotFoundError):  # before the first block, and after the last
            blocks = json.loads((marks / "zarr.json").read_text())["shape"][0]
            if blocks <= 2 * done < 2 * blocks:
                return f"{done} of {blocks}"
        time.sleep(0.05)
    ended(command)
    raise SystemExit("expected blocks after the first half, got none; give a larger --size")


def finished_blocks(store: Path) -> list[list[str]]:
    """Return the chunks of each finished block of an unfinished output, as paths in it."""
    pixels, marks = (zarr.open_array(store / name, mode="r") for name in ("0", PROGRESS))
    blocks = Blocks(pixels.shape, tuple(marks.attrs["block"]))  # type: ignore[arg-type]
    finished = [blocks[int(index)] for index in np.flatnonzero(marks[:])]
    return [
        ["/".join(("0", "c", *map(str, place))) for place in _places(region, pixels.chunks)]
        for region in finished
    ]


def _places(region: Iterable[slice], chunks: Iterable[int]) -> Iterator[tuple[int, ...]]:
    both = zip(region, chunks, strict=True)
    return product(*(range(part.start // n, -(-part.stop // n)) for part, n in both))


def written(store: Path, blocks: Iterable[Iterable[str]]) -> list[list[int]]:
    """Return when the chunks of blocks were written, in nanoseconds."""
    return [[(store / name).stat().st_mtime_ns for name in chunks] for chunks in blocks]


def equal(bench: Bench) -> bool:
    """Tell whether the output's chunks are those of the first run; remove it."""
    reference, found = bench.folder / "chunks.json", chunks_of(bench.output)
    remove(bench.output)
    if not reference.exists():
        reference.write_text(json.dumps(found))
    return bool(json.loads(reference.read_text()) == found)


def chunks_of(store: Path) -> dict[str, str]:
    """Return a hash of each stored chunk, of all resolutions, by place in the store."""
    return {
        path.relative_to(store).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.name not in _MARKS
    }


def table(every: list[dict[str, Any]], size: tuple[int, ...]) -> list[str]:
    """Return the lines of a Markdown table of runs: medians, and where they were done."""
    runs = sorted({Run(*done["run"]) for done in every})
    times = {run: [done for done in every if Run(*done["run"]) == run] for run in runs}
    first = _median(times[runs[0]])
    rows = [_row(run, done, size, first) for run, done in times.items()]
    shape, machines = " × ".join(map(str, size)), {done["machine"] for done in every}
    counts = "/".join(str(n) for n in sorted({len(done) for done in times.values()}))
    lines = [f"{shape} uint16, {'; '.join(sorted(machines))}, medians of {counts}:", ""]
    return lines + [f"| {' | '.join(r)} |" for r in (_HEAD, ["---"] * len(_HEAD), *rows)]


def _row(run: Run, done: list[dict[str, Any]], size: tuple[int, ...], first: float) -> list[str]:
    seconds = _median(done)
    speed = math.prod(size) / seconds / 1e6
    numbers = [f"{seconds:.1f}", f"{speed:.2f}", f"{first / seconds:.2f}"]
    return [run.title, *numbers, _compared(done), done[-1]["blocks"] or "–"]


def _compared(done: list[dict[str, Any]]) -> str:
    return "byte-equal" if all(one["equal"] for one in done) else "DIFFERENT"


def _median(done: list[dict[str, Any]]) -> float:
    return float(median(one["seconds"] for one in done))


def _run(text: str) -> Run:
    found = _RUN.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"expected 2, dask-2, dask-2-worker-killed or dask-2-scheduler-killed, got {text!r}"
        )
    processes, workers, killed = found.groups()
    return Run(processes is None, killed or "", int(processes or workers))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=size, default=(8192, 8192), help="of the image, pixels")
    parser.add_argument("--chunk", type=int, default=512, help="side of its stored chunks, pixels")
    usual = [Run(False, "", 1), Run(False, "", 2)]
    parser.add_argument("--runs", type=_run, nargs="+", default=usual, help="default: 1 2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a restorer; the default network if not given")
    parser.add_argument("--folder", type=Path, help="keeps image and times; temporary if not given")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
