"""Benchmarks: scripts that print a table, with the machine and the commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from statistics import median


def machine() -> str:
    """Return one line that names the processor, its cores, NVIDIA's GPUs and the commit."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    git = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    parts = [name, f"{os.cpu_count()} cores", *_gpus(), f"commit {git.stdout.strip() or 'unknown'}"]
    return ", ".join(parts)


def _gpus() -> list[str]:
    """Ask NVIDIA's driver, so that no benchmark has to load PyTorch."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return query.stdout.splitlines() if query.returncode == 0 else []


def reference_seconds(threads: int) -> float:
    """Return the seconds that this machine needs, just now, for a fixed piece of work.

    It is ten steps of training three convolutions in single precision: median of five times.
    Machines of one name can differ by a factor.
    """
    import torch
    from torch import nn

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )  # fmt: skip
    image, marks = torch.ones(8, 1, 64, 64), [time.perf_counter()]
    for _ in range(5):
        for _ in range(10):
            network(image).square().mean().backward()
        marks.append(time.perf_counter())
    torch.set_num_threads(before)
    return median(b - a for a, b in pairwise(marks))
