"""Noise learned from noisy images alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from microscopygan.apps.flow import told_of
from microscopygan.defects.parameters import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.gan.noisy import (
    Noisy,
    RecorruptedBatches,
    measure_noise,
    noisy_judges,
    recorrupted,
)
from microscopygan.gan.training import train
from microscopygan.image.dataset import Dataset, Sample
from microscopygan.settings import HINTS, Settings, settings


class Known(nn.Module):
    """A restorer that knows the answers."""

    def __init__(self, answers: list[np.ndarray]) -> None:
        super().__init__()
        self.answers = iter(answers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(next(self.answers))[None, None]


def test_the_variance_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((128, 128), rng) for _ in range(6)]
    noise = Noise(photons=25, read_noise=1.5)
    planes = [noise.apply(plane, rng) for plane in clean]
    found = measure_noise(planes, Known(clean))
    for plane, one in zip(clean, found, strict=True):
        wanted = plane / 25 + 1.5**2 / 25**2
        bright = plane > 0.2
        ratio = one.variance[bright].mean() / wanted[bright].mean()
        assert 0.8 < ratio < 1.25


def test_noise_of_neighbours_that_correlates_is_refused() -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((64, 64), rng) for _ in range(2)]
    planes = [
        (p + ndimage.gaussian_filter(rng.normal(0, 0.3, p.shape), 1)).astype(np.float32)
        for p in clean
    ]
    with pytest.raises(ValueError, match="differs from pixel to pixel"):
        measure_noise(planes, Known(clean))


def test_the_noises_of_a_pair_are_uncorrelated() -> None:
    rng = np.random.default_rng(0)
    clean = np.linspace(0, 4, 200 * 200, dtype=np.float32).reshape(200, 200)
    noise = rng.normal(0, 0.3, clean.shape).astype(np.float32)
    image, target = recorrupted(Noisy(clean + noise, np.full(clean.shape, 0.09, "f4")), rng)
    gain = np.polyfit(clean.ravel(), image.ravel(), 1)
    left = [(plane - np.polyval(gain, clean)).ravel() for plane in (image, target)]
    assert abs(np.corrcoef(left)[0, 1]) < 0.02
    assert left[1].std() > 1.5 * left[0].std()


def test_noisy_images_judge_with_new_noise() -> None:
    some = [Noisy(np.full((64, 72), k, "f4"), np.ones((64, 72), "f4")) for k in range(2)]
    found = noisy_judges(some, 0)["noise"]
    assert found.image.shape == found.target.shape == (32, 64, 64)
    assert not np.array_equal(found.image[0], found.image[1])


def test_batches_have_the_keys_of_pairs() -> None:
    one = Noisy(
        np.random.default_rng(0).random((80, 80), dtype=np.float32), np.ones((80, 80), "f4")
    )
    batch = RecorruptedBatches([one], 4, 32, 0, HINTS)(0, 0)
    assert batch["input"].shape == batch["target"].shape == (4, 1, 32, 32)
    assert batch["hint"].shape == (4, len(HINTS))
    assert set(batch) == {"input", "target", "defect", "unfinished", "hint"}


def test_noisy_images_alone_are_enough(tmp_path: Path) -> None:
    """Slow (about 5 s): an adaptation of a few steps."""
    rng = np.random.default_rng(0)
    noise = Noise(photons=15)
    noisy = [Sample(noise.apply(nuclei((96, 96), rng), rng), f"{k}", f"{k}") for k in range(5)]
    chosen = settings("default")
    few = {"steps": 6, "batch": 2, "log_every": 1, "save_every": 3, "picture_every": 6}
    chosen = Settings.model_validate(
        chosen.model_dump() | {"restorer": chosen.restorer.model_dump() | few}
    )
    run = tmp_path / "run"
    train(Dataset([], {"noise": noisy}, {}, {}), run, chosen, quiet=True)
    assert not (run / "defects.safetensors").exists()
    assert json.loads((run / "run.json").read_text())["dataset"]["clean"] == 0
    said = told_of(run)
    assert "dB" not in said[0]
    assert said[1:] == [
        "Judged on noisy images (noise).",
        "No clean image was given: the noise was learned from itself.",
    ]
    assert (run / "restorer.onnx").exists()
