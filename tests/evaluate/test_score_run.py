"""Scores of a run: the files the report reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from microscopygan.datasets.folder import Pair
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.evaluate.score_run import score_defects, score_restorer


@pytest.fixture
def pairs() -> list[Pair]:
    rng = np.random.default_rng(0)
    clean = [nuclei((64, 64), rng) for _ in range(4)]
    noise = Noise(photons=20)
    return [Pair(noise.apply(p, rng), p, f"{k}.tif", f"{k}") for k, p in enumerate(clean)]


def test_a_perfect_restorer_scores_best(tmp_path: Path, pairs: list[Pair]) -> None:
    answers = {p.input.tobytes(): p.target for p in pairs}
    restorers = {"restored": lambda x: answers[x.tobytes()] * 0.99}
    rows = score_restorer(tmp_path, {"noise": pairs}, restorers)
    assert len(rows) == 12
    quality = {
        method: [r["psnr_affine"] for r in rows if r["method"] == method]
        for method in ("input", "restored")
    }
    assert min(quality["restored"]) > max(quality["input"])
    with np.load(tmp_path / "evaluation" / "examples.npz") as file:
        assert "noise/0/restored" in file


def test_real_noise_looks_more_real_than_gaussian(tmp_path: Path, pairs: list[Pair]) -> None:
    rng = np.random.default_rng(1)
    clean = np.stack([p.target for p in pairs])
    made = np.stack([Noise(photons=20).apply(p, rng) for p in clean])
    draws = {"noise/clean": clean, "noise/physics": made}
    draws |= {"noise/synthetic1": made, "noise/synthetic2": made}
    real = {"noise": [p.input for p in pairs]}
    found = score_defects(tmp_path, draws, real, {"noise": pairs}, seed=0)["noise"]
    assert found["cin-gan"]["noise_curve"] < found["gaussian"]["noise_curve"]
    assert json.loads((tmp_path / "evaluation" / "realism.json").read_text())["noise"] == found
