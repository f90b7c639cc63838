"""Processes of which a benchmark waits for the end: on few processors, for a limited time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from microscopygan_bench.inputs import environment

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def threaded(threads: int, python: Path | None) -> dict[str, str]:
    """Return the environment of a process of so many threads.

    A peer's, in its own `python`, does not see this program's packages.
    """
    variables = environment() if python is None else dict(os.environ)
    if python is not None:
        variables.pop("PYTHONPATH", None)
    return variables | dict.fromkeys(_THREADS, str(threads)) | {"PYTHONUNBUFFERED": "1"}


def run_process(
    command: list[str], variables: dict[str, str], log: IO[str], limit: float, threads: int
) -> int:
    """Run a process on so many processors, for `limit` seconds at most; return its exit code.

    What it writes goes to `log`; -1 where it had to be ended.
    """
    with _processors(threads):
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        log.write(f"\nstopped after {limit:.0f} seconds\n")
        return -1
    finally:
        process.kill()
        process.wait()


@contextmanager
def _processors(count: int) -> Iterator[None]:
    """Start processes on so many processors, where the system can be told so."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def last_words(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "ended without a word"
