"""Small data and settings that several rooms' tests share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from microscopygan.apps import cli
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.image.formats import Image, write
from microscopygan.settings import Settings, make_settings

hypothesis.settings.register_profile("busy", deadline=None)  # machines may be busy
hypothesis.settings.load_profile("busy")


@pytest.fixture
def coarse_physics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calibration try fewer noise levels on fewer planes, and draw fewer and smaller ones."""
    monkeypatch.setattr("microscopygan.defects.noise.PHOTONS", np.geomspace(2, 600, 12))
    monkeypatch.setattr("microscopygan.defects.noise.CLEAN", 4)
    monkeypatch.setattr("microscopygan.training.identification.DRAWS", 48)
    search = "microscopygan.training.composition_search"
    for name, few in (("DRAWN", 4), ("WIDE", 4), ("CHILDREN", 2), ("SWEEPS", 0), ("MOVES", (0.1,))):
        monkeypatch.setattr(f"{search}.{name}", few)
    monkeypatch.setattr("microscopygan.training.synthesis._DRAWS", 8)
    monkeypatch.setattr("microscopygan.training.synthesis._FIELD", 64)


@pytest.fixture
def tiny(coarse_physics: None) -> Settings:
    """Settings of a run of seconds: all terms of the losses, few channels and steps."""
    chosen = make_settings("default", "scratch", validation=0.0, specimens=2)
    terms = {"adversarial_weight": 0.03, "content_weight": 0.3}
    often = {"steps": 4, "batch": 3, "patch": 32, "save_every": 2, "log_every": 1}
    often |= {"picture_every": 4}
    small = {"architecture": {"channels": 4, "blocks": 1}}
    narrow = {"architecture": {"channels": (4, 4, 4)}}
    return chosen.changed(
        {"defects": often | small, "restorer": often | terms | narrow}  # type: ignore[operator]
    )


@pytest.fixture
def brief(coarse_physics: None, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an adaptation of seconds: the networks that ship, few steps, small images.

    What it exports stays in float32, since rounding takes longer than all the rest.
    """
    monkeypatch.setattr("microscopygan.training.correction._TRIED", 4)
    monkeypatch.setattr("microscopygan.training.export_onnx.quantised", lambda graph: None)
    few = {"steps": 10, "batch": 2, "save_every": 5, "picture_every": 10, "log_every": 1}
    small = {
        "adaptation": {"validations": 2, "fields": 8, "field": 64},
        "sampling": {"field": 64},
        "split": {"specimen_side": 64},
        "specimens": 2,
    }
    narrow = few | {"patch": 48}
    return make_settings("default", seed=1, defects=narrow, restorer=narrow, **small)


def write_dataset(folder: Path, seed: int = 0) -> Path:
    """Write a dataset of simulated nuclei with two defects: unpaired, pairs and test pairs."""
    rng = np.random.default_rng(seed)
    defects = {"noise": Noise(photons=30), "lowres": LowResolution(sigma=1.5, binning=2)}

    def put(path: Path, plane: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = np.clip(plane * 20_000 + 1_000, 0, 65535).astype(np.uint16)
        write(path, Image(counts, "YX", {"Y": 0.1, "X": 0.1}))

    for k in range(3):
        put(folder / "clean" / f"{k}.tif", nuclei((72, 80), rng))
    for name, defect in defects.items():
        for k in range(2):
            put(folder / name / f"{k}.tif", defect.apply(nuclei((72, 80), rng), rng))
        for part in ("pairs", "test"):
            for k in range(2):
                clean = nuclei((72, 80), rng)
                put(folder / part / name / "target" / f"{k}.tif", clean)
                put(folder / part / name / "input" / f"{k}.tif", defect.apply(clean, rng))
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset folder, fresh for the test."""
    return write_dataset(tmp_path / "dataset")


@pytest.fixture
def python() -> str:
    """This interpreter, for tests that need a process of their own."""
    return sys.executable


@pytest.fixture
def launch(python: str) -> Callable[..., None]:
    """Run a script or module (``-m``, NAME) with arguments in two processes.

    ``--multi_gpu`` means several processes to the launcher; without a GPU they share the CPU.
    """

    def run(*arguments: object) -> None:
        command = [python, "-m", "accelerate.commands.launch", "--multi_gpu"]
        command += ["--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
        command += ["--mixed_precision", "no", "--dynamo_backend", "no"]
        command += [str(argument) for argument in arguments]
        on_cpu = os.environ | {"ACCELERATE_USE_CPU": "true"}  # else each trains on its own
        done = subprocess.run(command, env=on_cpu, capture_output=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr.decode()

    return run


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; gives (exit code, output, error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            cli.main([str(a) for a in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run
