"""Seconds of restoring, beside the bare network, PyTorch, and other programs; and start-up.

``microscopygan-bench restoration-speed --peers VENVS`` times, for each size of image, medians of
runs that take turns:

- ours, from a TIFF file to a TIFF file, in a process that has its model loaded, as those of the
  others have, and as a command from the shell, which loads it;
- the bare ONNX Runtime session, at its default options, on one window of the image's area;
- the same weights in PyTorch, eager, on that window;
- of a stack, a model of three planes with its neighbours along Z, and plane by plane;
- CARE of CSBDeep and of CAREamics, from file to file with their own defaults, plane by plane, at
  their default network sizes (which differ from ours) and untrained: weights take no part in
  time. They run in virtual environments that this script makes in VENVS, once, from
  ``peers/NAME.txt``; without ``--peers`` they are left out.

The weights of ours are drawn at random as well. Bars: 85 % of the bare session, three times CARE,
neighbours at most 1.15 times plane by plane.
``--install-size`` makes a virtual environment without extras, restores in it and weighs it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO

import numpy as np
import tifffile

from microscopygan_bench import machine
from microscopygan_bench.inputs import PROGRAM, REPOSITORY, environment, model, size, specimen

PEERS = Path(__file__).parent / "peers"
CARE = {"CARE of CSBDeep": "care", "CARE of CAREamics": "careamics"}
OURS = "ours, file to file"
BARE = "ONNX Runtime, one window"
BARS = {BARE: 0.85} | dict.fromkeys(CARE, 3.0)  # ours is to be so many times as fast
BESIDE, ALONE = "ours, 3 planes, neighbours", "ours, 3 planes, each alone"
BESIDE_BAR = 1.15  # times as long with neighbours, at most
START_UP = {"import": 0.15, "--help": 0.4, "512 x 512, from the shell": 1.5}  # bars, seconds
INSTALLED = 350e6  # bytes
_PIXELS_ACROSS = 4  # a window's sides are multiples of this

Job = dict[str, str]
Run = Callable[[Job], float]


@dataclass(frozen=True)
class Case:
    """An image to restore: its files, and its numbers of pixels and of planes."""

    name: str
    job: Job
    pixels: int
    planes: int = 1


class Worker:
    """A contender that waits for jobs in a process of its own, see `peers.serve`."""

    def __init__(self, command: list[str], scratch: Path, env: Mapping[str, str]) -> None:
        self._log: IO[str] = tempfile.TemporaryFile("w+", dir=scratch)  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**env, "TMPDIR": str(scratch)},
            text=True,
        )

    def __call__(self, job: Job) -> float:
        """Return the seconds that a job takes."""
        try:
            print(json.dumps(job), file=self._process.stdin, flush=True)
            answer = json.loads(self._process.stdout.readline())  # type: ignore[union-attr]
        except (OSError, ValueError):
            raise RuntimeError(self._last_words()) from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return float(answer["seconds"])

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it may have ended
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._log.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1] if lines else f"ended with code {self._process.returncode}"


def main(arguments: list[str] | None = None) -> None:
    """Time and weigh, and print tables."""
    options = _options(arguments)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = options.output or scratch
        folder.mkdir(parents=True, exist_ok=True)
        network = model(options.model, folder)
        print(f"{machine()}, {options.repeats} runs each, in turns; medians", flush=True)
        if options.sizes:
            cases = [write_case(shape, folder) for shape in options.sizes]
            several = any(case.planes > 1 for case in cases)
            deep = model(None, folder, planes=3) if several else network
            contenders = start_contenders(network, deep, options.peers, scratch, stack)
            print_speed(cases, contenders, options.repeats)
        print_start_up(network, scratch, options.repeats)
        if options.install_size:
            print_installed(network, scratch)


def write_case(shape: tuple[int, ...], folder: Path) -> Case:
    """Write an image, and a window of its area for the bare networks."""
    name = "x".join(map(str, shape))
    files = {"source": f"{name}.tif", "window": f"{name}.npy", "target": f"{name}_out.tif"}
    job = {key: str(folder.resolve() / file) for key, file in files.items()}
    counts = specimen(shape)
    tifffile.imwrite(job["source"], counts, imagej=True, metadata={"axes": "ZYX"[-counts.ndim :]})
    window = np.resize(counts / np.float32(500), (1, 1, *window_shape(shape)))
    np.save(job["window"], window.astype(np.float32))
    return Case(name, job, counts.size, len(counts) if counts.ndim > 2 else 1)


def window_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (Y, X) of a window of an image's area: that of a plane, or nearest to a square."""
    if len(shape) == 2:
        return _up(shape[0]), _up(shape[1])
    cells = -(-math.prod(shape) // _PIXELS_ACROSS**2)
    rows = next(n for n in range(math.isqrt(cells), 0, -1) if cells % n == 0)
    return rows * _PIXELS_ACROSS, cells // rows * _PIXELS_ACROSS


def start_contenders(
    network: Path, deep: Path, peers: Path | None, scratch: Path, stack: ExitStack
) -> dict[str, Run | str]:
    """Start whatever is timed; of what cannot be, the reason. `deep` sees three planes."""
    here, elsewhere = environment(), dict(os.environ)
    elsewhere.pop("PYTHONPATH", None)

    def worker(script: str, *options: str, python: Path | str = sys.executable) -> Worker:
        command = [str(python), str(PEERS / f"run_{script}.py"), *options]
        started = Worker(command, scratch, here if python == sys.executable else elsewhere)
        stack.callback(started.close)
        return started

    contenders: dict[str, Run | str] = {
        OURS: worker("ours", str(network)),
        "ours, from the shell": lambda job: timed(_restore(job, network)),
        BARE: worker("onnx", str(network)),
        "PyTorch, channels last": worker("torch", "channels_last"),
        "PyTorch, default layout": worker("torch", "contiguous_format"),
        ALONE: worker("ours", str(deep), "none"),
        BESIDE: worker("ours", str(deep), "z"),
    }
    for name, peer in CARE.items():
        python = "left out; give --peers" if peers is None else install_peer(peer, peers)
        contenders[name] = python if isinstance(python, str) else worker(peer, python=python)
    return contenders


def install_peer(name: str, folder: Path) -> Path | str:
    """Make the virtual environment of another program, once; return its Python, or the reason."""
    venv = folder.resolve() / name
    python, done = venv / "bin" / "python", venv / "installed"
    lists = [PEERS / f"{name}.txt", PEERS / f"{name}.alone.txt"]
    wanted = "".join(path.read_text() for path in lists if path.exists())
    if done.exists() and done.read_text() == wanted:
        return python
    print(f"installing {name} into {venv} (minutes, once)", file=sys.stderr)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    steps = [[sys.executable, "-m", "venv", "--clear", str(venv)], [*pip, "--upgrade", "pip"]]
    steps.append([*pip, "-r", str(lists[0])])
    if lists[1].exists():
        steps.append([*pip, "--no-deps", "-r", str(lists[1])])
    for step in steps:
        ran = subprocess.run(step, capture_output=True, text=True, check=False)
        if ran.returncode:
            errors = [line for line in ran.stderr.splitlines() if not line.startswith("WARNING")]
            return f"cannot be installed: {errors[-1] if errors else 'no message'}"
    done.write_text(wanted)
    return python


def print_speed(cases: list[Case], contenders: dict[str, Run | str], repeats: int) -> None:
    """Time each image and print a row for each contender."""
    print(f"\n{'image':14}{'':28}{'s':>9}{'Mpixel/s':>10}{'ours is':>10}  bar")
    for case in cases:
        stacks = () if case.planes > 1 else (ALONE, BESIDE)
        able = {name: run for name, run in contenders.items() if name not in stacks}
        medians = take_turns(able, case.job, repeats)
        ours = medians[OURS]
        for name, seconds in medians.items():
            print(speed_row(case, name, seconds, ours), flush=True)
        if BESIDE in medians:
            print(beside_row(case, medians[BESIDE], medians[ALONE]), flush=True)


def take_turns(
    contenders: Mapping[str, Run | str], job: Job, repeats: int
) -> dict[str, float | str]:
    """Time contenders in turns, after one run each that does not count.

    Returns
    -------
    For each contender the median in seconds, or the reason why there is none.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    reasons = {name: run for name, run in contenders.items() if isinstance(run, str)}
    for _ in range(repeats + 1):
        for name, run in contenders.items():
            if name in reasons or isinstance(run, str):
                continue
            try:
                seconds[name].append(run(job))
            except RuntimeError as error:
                reasons[name] = str(error)
    return {
        name: reasons[name] if name in reasons else median(all_of[1:])
        for name, all_of in seconds.items()
    }


def speed_row(case: Case, name: str, seconds: float | str, ours: float | str) -> str:
    """Write a row: seconds, megapixels per second, how many times as fast ours is, the bar."""
    head = f"{case.name:14}{name:28}"
    if isinstance(seconds, str):
        return f"{head}  {seconds[:200]}"
    row = f"{head}{seconds:9.3f}{case.pixels / seconds / 1e6:10.3f}"
    if isinstance(ours, str):
        return row
    row += f"{seconds / ours:9.2f}×"
    return row + (f"  {outcome(BARS[name] <= seconds / ours)}" if name in BARS else "")


def beside_row(case: Case, beside: float | str, alone: float | str) -> str:
    """Write how many times as long a stack takes with its neighbours, and whether the bar holds."""
    if isinstance(beside, str) or isinstance(alone, str):
        return f"{case.name:14}neighbours: not measured"
    ratio = beside / alone
    return f"{case.name:14}neighbours: {ratio:.2f} times as long  {outcome(ratio <= BESIDE_BAR)}"


def print_start_up(network: Path, scratch: Path, repeats: int) -> None:
    """Time what a user waits for before anything is restored."""
    case = write_case((512, 512), scratch)
    importing = "import time; t = time.perf_counter(); import microscopygan; "
    importing += "print(time.perf_counter() - t)"
    runs: dict[str, Callable[[], float]] = {
        "import": lambda: float(_output([sys.executable, "-c", importing])),
        "--help": lambda: timed(lambda: _output([*PROGRAM, "--help"])),
        "512 x 512, from the shell": lambda: timed(_restore(case.job, network)),
    }
    medians = take_turns({name: _ignoring_job(run) for name, run in runs.items()}, {}, repeats)
    print(f"\n{'start-up':28}{'s':>9}{'below':>9}")
    for name, seconds in medians.items():
        print(start_up_row(name, seconds))


def start_up_row(name: str, seconds: float | str) -> str:
    """Write a row: seconds, the bar, whether it holds."""
    if isinstance(seconds, str):
        return f"{name:28}{seconds}"
    return f"{name:28}{seconds:9.3f}{START_UP[name]:9.2f}  {outcome(seconds < START_UP[name])}"


def print_installed(network: Path, scratch: Path) -> None:
    """Install the package without extras, restore with it, and weigh it by package."""
    venv = scratch / "base"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    before = sum(weigh(venv).values())
    subprocess.run([venv / "bin" / "pip", "install", "--quiet", str(REPOSITORY)], check=True)
    case = write_case((64, 64), scratch)
    command: list[str | Path] = [venv / "bin" / "microscopygan", "restore", case.job["source"]]
    command += ["-o", case.job["target"], "--model", network, "--overwrite"]
    away = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env=away, stdout=subprocess.DEVNULL, cwd=scratch)
    weights = weigh(venv)
    total = sum(weights.values()) - before
    print(f"\nbase install: {total / 1e6:.0f} MB of 350 MB, restores; {outcome(total < INSTALLED)}")
    for name, weight in sorted(weights.items(), key=lambda item: -item[1])[:12]:
        print(f"{name:28}{weight / 1e6:9.1f} MB")


def weigh(venv: Path) -> dict[str, int]:
    """Return bytes by folder of a virtual environment's packages, all else under one name."""
    weights: dict[str, int] = {}
    for path in venv.rglob("*"):
        if path.is_file() and not path.is_symlink():
            parts = path.relative_to(venv).parts
            inside = "site-packages" in parts
            name = parts[parts.index("site-packages") + 1] if inside else "(environment)"
            weights[name] = weights.get(name, 0) + path.stat().st_size
    return weights


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that `run` takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def outcome(holds: bool) -> str:
    """Say whether a bar holds."""
    return "holds" if holds else "MISSED"


def _restore(job: Job, network: Path) -> Callable[[], str]:
    command = [*PROGRAM, "restore", job["source"], "-o", job["target"], "--overwrite"]
    return lambda: _output([*command, "--model", str(network)])


def _output(command: Iterable[str]) -> str:
    done = subprocess.run(
        list(command), env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "no message").splitlines()[-1])
    return done.stdout


def _ignoring_job(run: Callable[[], float]) -> Run:
    return lambda _: run()


def _up(length: int) -> int:
    return -(-length // _PIXELS_ACROSS) * _PIXELS_ACROSS


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder that keeps images and model")
    parser.add_argument("--model", type=Path, help="a restorer; PyTorch runs the default network")
    parser.add_argument("--peers", type=Path, help="folder for virtual environments of peers")
    parser.add_argument("--repeats", type=int, default=5)
    default = [(2048, 2048), (60, 256, 256)]
    parser.add_argument("--sizes", type=size, nargs="*", default=default, metavar="ZxYxX")
    parser.add_argument("--install-size", action="store_true", help="weigh a base install, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
