"""CIN-GAN's pre-training: pairs of a defect and a poorer guess, and a short run of it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from microscopygan.defects.composition import Composition
from microscopygan.defects.noise import Noise
from microscopygan.defects.stripes import Stripes
from microscopygan.diagnosis.parameters import STAGES, parameters
from microscopygan.gan.cin_gan import load_defects
from microscopygan.gan.networks import Corrector
from microscopygan.settings import LaboratorySettings
from microscopygan.training.laboratories import Specimens
from microscopygan.training.pretraining_corrector import (
    Coder,
    apply_alike,
    draw_drafts,
    lacks,
    poorer,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "pretrain.py"
SPECIMENS = Specimens([], LaboratorySettings(field=64))
BOTH = Composition(steps=(Stripes(gain=0.1, offset=0.02, length=5.0), Noise(photons=50.0)))


def test_stages_that_both_have_draw_the_same() -> None:
    plane = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    guess = apply_alike(BOTH.steps[1:], plane, 3)
    assert np.array_equal(guess, apply_alike(BOTH.steps[1:], plane, 3))
    both = apply_alike(BOTH.steps, plane, 3)
    assert np.array_equal(both, apply_alike(BOTH.steps, plane, 3))
    noise = guess - plane, both - apply_alike(BOTH.steps[:1], plane, 3)
    assert np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1] > 0.9
    assert noise[0].std() == pytest.approx((plane / 50).mean() ** 0.5, rel=0.1)


def test_a_guess_that_is_the_defect_lacks_nothing() -> None:
    assert not lacks(BOTH, BOTH.steps).any()
    without = lacks(BOTH, BOTH.steps[1:])
    assert without.shape == (len(STAGES) + 2 * len(parameters()),)
    assert np.flatnonzero(without[: len(STAGES)]).tolist() == [STAGES.index("stripes")]
    coder = Coder(len(without), 8)
    labels = torch.from_numpy(np.stack([without, 0 * without]))
    assert coder(labels)[0].abs().max() > 0
    assert coder(labels)[1].abs().max() < 1e-5


def test_a_poorer_guess_has_no_stage_that_the_defect_has_not() -> None:
    rng = np.random.default_rng(0)
    guesses = [poorer(BOTH, rng) for _ in range(40)]
    assert {len(guess) for guess in guesses} == {0, 1, 2}
    names = {step.name for step in BOTH.steps}
    assert all({step.name for step in guess} <= names for guess in guesses)


def test_laboratories_lack_what_they_are_told_to() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        drawn = draw_drafts(SPECIMENS, 2, rng, without=("noise",), lacking="hum")
        assert drawn.simulated.shape == drawn.defective.shape == (2, 64, 64)
        missing = np.flatnonzero(drawn.lacks[: len(STAGES)])
        assert [STAGES[k] for k in missing] == ["hum"]
        assert not np.array_equal(drawn.simulated, drawn.defective)


@pytest.mark.slow
def test_the_script_trains_for_a_time(tmp_path: Path, python: str) -> None:
    """Slow (about 15 s): the script, which tries its result on every stage."""
    options = ["--minutes", "0.07", "--workers", "0", "--laboratories", "2"]
    options += ["--pupils", "corrector", "--field", "64", "--tried", "1"]
    command = [python, str(SCRIPT), "-o", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    generator, names = load_defects(tmp_path / "defects.safetensors")
    assert isinstance(generator, Corrector)
    assert names == ()
    assert generator.laboratories.any(1).all()
    assert json.loads((tmp_path / "held_out.json").read_text()).keys() == set(STAGES)
