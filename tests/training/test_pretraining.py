"""The generalist's training: its images, and the script from end to end."""

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from microscopygan.defects.base import Composition
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import membranes, nuclei
from microscopygan.defects.statistics import noisiness
from microscopygan.image.formats import Image, write
from microscopygan.restoration.model import Restorer
from microscopygan.settings import HINTS, PretrainingSettings, SamplingSettings, make_settings
from microscopygan.training.batches import PairBatches, draw_field
from microscopygan.training.pretraining import (
    SHARES,
    broad_split,
    defect_split,
    quiet_fields,
)

FEW = PretrainingSettings(specimens=6, draws=8, defective=8)
SCRIPT = Path(__file__).parents[2] / "scripts" / "pretrain.py"


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.05])
def test_noise_is_estimated_whatever_the_structure(sigma: float) -> None:
    rng = np.random.default_rng(0)
    for plane in (nuclei((128, 128), rng), membranes((128, 128), rng)):
        noisy = plane + rng.normal(0, sigma, plane.shape)
        before, after = noisiness(plane), noisiness(noisy.astype(np.float32))
        assert after == pytest.approx(np.hypot(before, sigma / np.ptp(plane)), rel=0.35)


def test_noisy_fields_are_left_out() -> None:
    rng = np.random.default_rng(0)
    clean = nuclei((256, 256), rng)
    assert len(quiet_fields(clean)) == 4 + 1 + 1
    assert not quiet_fields(clean + rng.normal(0, 0.1, clean.shape).astype(np.float32))
    assert not quiet_fields(clean[:100])


def test_the_split_is_that_of_a_training() -> None:
    split = broad_split([nuclei((200, 200), np.random.default_rng(0))], 0, FEW)
    counts = {name: split.defects.count(name) for name in SHARES}
    assert counts == SHARES
    rng = np.random.default_rng(1)
    for name in SHARES:
        defective, clean = draw_field(split, name, 128, rng, SamplingSettings())
        assert defective.shape == clean.shape == (128, 128)
        assert np.array_equal(defective, clean) == (name == "none")
    wanted = {"batch": 16, "patch": 96, "architecture": {"hints": HINTS}}
    settings = make_settings("default", "scratch", alpha=1.0, restorer=wanted)
    batch = PairBatches(split, settings)(0, 0)
    assert np.isfinite(batch["input"]).all()
    hinted = batch["hint"].any(1)
    assert 0 < hinted.sum() < 16


def test_cin_gan_sees_more_than_is_simulated_for_it() -> None:
    broad = broad_split([nuclei((200, 200), np.random.default_rng(0))], 0, FEW)
    split = defect_split(broad, np.random.default_rng(1), FEW)
    assert split.defects == HINTS
    assert all(len(split.defective[name]) == 8 for name in HINTS)
    assert all(isinstance(drawn, Noise) for drawn in split.physics["noise"])
    assert any(isinstance(drawn, Composition) for drawn in broad.physics["noise+axial"])


@pytest.mark.slow
def test_the_script_trains_ships_nothing_and_resumes(tmp_path: Path, python: str) -> None:
    """Slow (about 20 s): two runs of the script."""
    rng = np.random.default_rng(0)
    for name in ("dsb2018_001", "dsb2018_008", "neubias_xy_8bit__nup_0"):
        path = tmp_path / "clean" / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        counts = (nuclei((200, 200), rng) * 20_000).astype(np.uint16)
        write(path, Image(counts, "YX", {"Y": 0.1, "X": 0.1}))
    run = tmp_path / "run"
    command = [python, str(SCRIPT), str(tmp_path / "clean"), "-o", str(run), "--steps", "2"]
    command += ["--defect-steps", "1", "--channels", "4,4,4", "--specimens", "6"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    done = subprocess.run([*command[:-1], "7"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("cannot go on with other specimens; give another -o\n")
    about = json.loads((run / "run.json").read_text())
    assert about["seconds"] >= 0
    assert set(about["clean"]) == {"dsb2018_001.tif"}
    assert set(about["held_out"]) == {"dsb2018_008.tif", "neubias_xy_8bit__nup_0.tif"}
    with (run / "restorer" / "judged.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2"]
    assert Restorer(run / "restorer.onnx").card.hints == HINTS
    assert (run / "defects.safetensors").exists()
