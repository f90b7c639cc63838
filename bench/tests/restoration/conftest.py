"""A small benchmark, with stubs as further methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan_bench.peers.job import Arrays
from microscopygan_bench.restoration import cells, protocol
from microscopygan_bench.restoration.cells import Bench
from microscopygan_bench.restoration.methods import METHODS, Method
from microscopygan_bench.restoration.protocol import BenchmarkData

SIDE, TRAIN, TEST = 40, 7, 3
DEFECTS = {"noise": Noise(photons=30), "lowres": LowResolution(sigma=1.5, binning=2)}
UNKNOWN = {"spots": Noise(photons=30), "rings": LowResolution(sigma=1.5, binning=2)}
STUB = """
import os, signal
import numpy as np
from microscopygan_bench.peers.job import Trained, perform, write_arrays

def train(job, given, work):
    if os.environ.get("STUB") == "killed":
        write_arrays(work.parent / "restored.npz", {"noise": np.zeros((3, 40, 40))})
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("STUB") == "broken":
        raise ValueError("out of luck")
    if os.environ.get("STUB") == "blank":
        return Trained(lambda planes: planes * np.nan, 0, 0)
    return Trained(lambda planes: planes + 0.001 * np.arange(planes.shape[-1]) ** 2, 12, 34)

perform(train, ["numpy"])
"""


def write_data(folder: Path) -> Path:
    """Write a benchmark of two tasks on small planes."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name, defect in DEFECTS.items():
        for part, count in (("train", TRAIN), ("test", TEST)):
            clean = np.stack([nuclei((SIDE, SIDE), rng) for _ in range(count)])
            bad = np.stack([defect.apply(plane, rng) for plane in clean])
            np.save(folder / f"{name}_{part}_X.npy", 500 * bad)
            np.save(folder / f"{name}_{part}_Y.npy", (300 * clean + 20).astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("benchmark") / "data")


@pytest.fixture(scope="module")
def benchmark_data(data: Path) -> BenchmarkData:
    return protocol.read_data(data)


@pytest.fixture
def bench(benchmark_data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A benchmark with two stubs as further methods: one for each task, and one for all."""
    script = tmp_path / "stub"
    script.with_suffix(".py").write_text(STUB)
    stubs = {"each": True, "every": False}
    for name, single in stubs.items():
        stub = Method(f"stub for {name}", "peers", {}, single=single, script=str(script))
        monkeypatch.setitem(METHODS, name, stub)
    monkeypatch.setattr(cells, "reference_seconds", lambda threads: 0.25)
    monkeypatch.setattr(Noise, "calibrate", lambda *_: [Noise(photons=40)])
    composed = protocol.two_defects(benchmark_data, tmp_path / "two.npz")
    return Bench(benchmark_data, composed, tmp_path / "out", 0.5, 1, {})


@pytest.fixture
def task_images() -> Callable[[str], Arrays]:
    """Images of two tasks without a physical model, by setting."""

    def draw(setting: str) -> Arrays:
        """What two tasks without a physical model, which need no calibration, are trained on."""
        rng = np.random.default_rng(0)
        images: Arrays = {}
        for name, defect in UNKNOWN.items():
            clean = np.stack([nuclei((40, 40), rng) for _ in range(8)])
            count = len(clean) if setting == "A" else 3
            bad = np.stack([defect.apply(plane, rng) for plane in clean[:count]])
            targets = clean if setting == "A" else clean[count:]
            images |= {f"{name}/input": bad, f"{name}/target": targets.astype(np.float32)}
        return images

    return draw
