"""Draws that a run keeps; files are made in tests/journeys/test_synthesize.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microscopygan.datasets.folder import Dataset, Sample
from microscopygan.defects.noise import Noise
from microscopygan.gan.networks import build_generator
from microscopygan.settings import Settings
from microscopygan.training.split import split_dataset
from microscopygan.training.synthesis import save_draws


def test_each_kept_draw_has_a_noise_of_its_own(tmp_path: Path, tiny: Settings) -> None:
    smooth = [np.outer(np.hanning(128), np.hanning(128)).astype(np.float32)] * 2
    data = Dataset(
        [Sample(p, "a", "a") for p in smooth], {"noise": [Sample(smooth[0], "b", "b")]}, {}, {}
    )
    split = replace(split_dataset(data, tiny), physics={"noise": [Noise(photons=20)]})
    generator = build_generator(
        tiny.defects.architecture, 1
    )  # gives its draft back before it is trained
    save_draws(tmp_path / "draws.npz", generator, split, tiny)
    with np.load(tmp_path / "draws.npz") as kept:
        first, second = (kept[f"noise/synthetic{k}"] - kept["noise/clean"] for k in (1, 2))
        assert np.allclose(kept["noise/synthetic1"], kept["noise/physics"], atol=1e-6)
    assert first.std() > 0.05
    assert second.std() == pytest.approx(first.std(), rel=0.2)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
