"""Pre-training: all that learns, learns from the same laboratories; it goes on where it stopped."""

import csv
import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from microscopygan.diagnosis.parameters import STAGES
from microscopygan.gan.cgan import load_restorer
from microscopygan.gan.networks import UNetRestorer, grown
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import GENERALIST
from microscopygan.settings import LaboratorySettings, PretrainingSettings, RestorerArchitecture
from microscopygan.training.fine_tuning import RESTORER
from microscopygan.training.laboratories import Specimens
from microscopygan.training.pretraining import (
    encoder_pupil,
    loader,
    pretrain,
    quiet_fields,
    restorer_pupil,
    sorts_of,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "pretrain.py"
LABORATORY = LaboratorySettings(images=2, alike=1, stacked=1)
SETTINGS = PretrainingSettings(laboratories=1, log_every=1, field=128)
SMALL = RestorerArchitecture(channels=(4, 4, 8), blocks=1, hints=STAGES, planes=3)


def specimens() -> Specimens:
    y, x = np.mgrid[:160, :160] / 12
    return Specimens(sorts_of([np.sin(y) + np.cos(x)], SETTINGS), LABORATORY)


def test_quiet_fields_leave_out_noise() -> None:
    y, x = np.mgrid[:300, :300] / 9
    smooth = (np.sin(y) * np.cos(x)).astype(np.float32)
    noisy = smooth + np.random.default_rng(0).normal(0, 0.2, smooth.shape)
    assert len(quiet_fields(smooth)) > 3
    assert quiet_fields(noisy.astype(np.float32)) == []
    assert sorts_of([noisy]) == []


def test_batches_are_of_laboratories() -> None:
    batch = next(iter(loader(specimens(), SETTINGS, LABORATORY, seed=0)))
    assert batch["defective"].shape == (1, 2, 128, 128)
    assert batch["strength"].shape == (1, len(STAGES))


@pytest.mark.slow
def test_restorer_and_encoder_learn_and_go_on(tmp_path) -> None:
    """Slow (3 s): some steps of both, stopped and resumed."""
    torch.manual_seed(0)

    def pupils():
        return {
            "restorer": restorer_pupil(UNetRestorer(SMALL), SETTINGS),
            "encoder": encoder_pupil(SETTINGS),
        }

    said: list[str] = []
    settings = {"settings": SETTINGS, "laboratory": LABORATORY, "say": said.append}
    first = pretrain(specimens(), pupils(), tmp_path, seconds=1, **settings)
    resumed = pretrain(specimens(), pupils(), tmp_path, seconds=1.5, **settings)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == list(range(1, len(rows) + 1))
    assert all(math.isfinite(float(row["encoder"])) for row in rows)
    assert said
    for name in first:
        before, after = (p[name].averaged().state_dict() for p in (first, resumed))
        assert any(not torch.equal(before[key], after[key]) for key in before)


def test_a_grown_network_does_blind_what_the_trained_one_does() -> None:
    torch.manual_seed(0)
    old = UNetRestorer(SMALL.model_copy(update={"hints": STAGES[2:4], "planes": 1}))
    for parameter in old.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    new, image = grown(old, SMALL), torch.rand(2, 3, 16, 16)
    hint = torch.zeros(2, len(STAGES))
    hint[:, 3] = 1
    with torch.no_grad():
        wanted = old(image[:, 1:2], torch.tensor([[0.0, 1.0]] * 2))
        assert torch.allclose(new(image, hint), wanted, atol=1e-6)
        alone = new(image[:, 1:2], hint)
    assert torch.allclose(alone, wanted, atol=1e-6)


@pytest.mark.slow
def test_what_the_script_trains_can_ship(tmp_path: Path, python: str) -> None:
    """Slow (about 20 s): two processes, of which one trains for two seconds."""
    run, weights = tmp_path / "run", tmp_path / "weights"
    weights.mkdir()
    shutil.copy(RESTORER, weights)
    for options in (
        ["--minutes", "0.03", "--pupils", GENERALIST, "--laboratories", "2", "--workers", "0"],
        ["--ship", "0.25", "--weights", str(weights)],
    ):
        command = [python, str(SCRIPT), "-o", str(run), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    with torch.no_grad():
        folders = (RESTORER.parent, run, weights)
        last, trained, mean = (load_restorer(f / RESTORER.name).last.weight for f in folders)
    torch.testing.assert_close(mean, 0.75 * last + 0.25 * trained)
    shipped = Restorer(weights / "generalist.onnx")
    assert shipped.card.hints == STAGES
    assert shipped.card.planes == 3
    assert shipped.card.training["mixing_weight"] == 0.25
    assert json.loads((weights / "generalist.json").read_text())["minutes"] == 0.03
