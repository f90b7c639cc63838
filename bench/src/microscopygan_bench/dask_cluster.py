"""A Dask cluster on this machine, of which parts can be killed: each is a process of its own.

Workers have one thread, and no nanny: one that is killed is not replaced.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from microscopygan_bench.processes import last_words, threaded

_PATIENCE = 120.0  # seconds for a part to start
_ADDRESS = re.compile(r"Scheduler at: +(tcp:\S+)")
_REGISTERED = re.compile(r"Registered to: +tcp")


@dataclass(frozen=True)
class Cluster:
    """A scheduler's address, and the processes."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def cluster(workers: int, folder: Path) -> Iterator[Cluster]:
    """Start a scheduler and so many workers; kill what is left of them at the end.

    Parameters
    ----------
    workers
        Number of processes.
    folder
        For logs, and for what workers put aside.

    Raises
    ------
    SystemExit
        A part does not start; its last words are told.
    """
    parts: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
        logs = [Path(scratch) / f"{number}.log" for number in range(workers + 1)]
        try:
            parts.append(_start(logs[0], "scheduler", "--host", "127.0.0.1", "--port", "0"))
            address = _said(parts[0], logs[0], _ADDRESS)[1]
            options = (address, "--nthreads", "1", "--no-nanny", "--local-directory", scratch)
            parts += [_start(log, "worker", *options) for log in logs[1:]]
            for process, log in zip(parts[1:], logs[1:], strict=True):
                _said(process, log, _REGISTERED)
            yield Cluster(address, parts[0], parts[1:])
        finally:
            for process in parts:
                process.kill()
                process.wait()


def _start(log: Path, part: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{part}", *options, "--no-dashboard"]
    with log.open("w") as output:
        return subprocess.Popen(command, env=threaded(1, None), stdout=output, stderr=output)


def _said(process: subprocess.Popen[bytes], log: Path, words: re.Pattern[str]) -> re.Match[str]:
    """Wait until a part of a cluster says something."""
    deadline = time.monotonic() + _PATIENCE
    while not (found := words.search(log.read_text(errors="replace"))):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(
                f"expected a Dask cluster to start, got: {last_words(log)}; "
                "try: pip install 'microscopygan[cluster]'"
            )
        time.sleep(0.1)
    return found
