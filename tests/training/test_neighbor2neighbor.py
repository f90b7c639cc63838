"""Noise learned from noisy images alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from microscopygan.datasets.folder import Dataset, Sample
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.settings import Settings, make_settings
from microscopygan.training.neighbor2neighbor import (
    NeighbourBatches,
    check_noise,
    neighbours,
    noisy_images,
)
from microscopygan.training.run_folder import summary
from microscopygan.training.stages import train


class Known(nn.Module):
    """A restorer that knows the answers."""

    def __init__(self, answers: list[np.ndarray]) -> None:
        super().__init__()
        self.answers = iter(answers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(next(self.answers))[None, None]


def test_noise_of_neighbours_that_correlates_is_refused() -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((64, 64), rng) for _ in range(2)]
    planes = [
        (p + ndimage.gaussian_filter(rng.normal(0, 0.3, p.shape), 1)).astype(np.float32)
        for p in clean
    ]
    with pytest.raises(ValueError, match="differs from pixel to pixel"):
        check_noise(planes, Known([plane for plane in clean for _ in range(16)]), Settings())


def test_a_pair_has_two_pixels_of_each_four() -> None:
    rng = np.random.default_rng(0)
    plane = rng.permutation(41 * 60).reshape(41, 60).astype(np.float32)
    image, target = neighbours(plane, rng)
    assert image.shape == target.shape == (20, 30)
    assert not (image == target).any()
    step = 1 / (np.percentile(image, 99.8) - np.percentile(image, 1))
    assert step == pytest.approx(1, rel=1e-3)


def test_any_noise_of_a_pair_is_uncorrelated() -> None:
    """Few photons on a black ground, most pixels of which hold none."""
    rng = np.random.default_rng(0)
    clean = np.repeat(np.linspace(0.1, 2, 200, dtype=np.float32), 2)[:, None] * np.ones(400, "f4")
    image, target = neighbours(rng.poisson(clean).astype(np.float32), rng)
    left = [plane - plane.mean(1, keepdims=True) for plane in (image, target)]
    assert abs(np.corrcoef(left[0].ravel(), left[1].ravel())[0, 1]) < 0.02


def test_noisy_images_validate_with_their_neighbours() -> None:
    rng = np.random.default_rng(0)
    planes = [rng.random((64, 72), dtype=np.float32) for _ in range(2)]
    images = noisy_images(planes, Settings())
    assert images.image.shape == images.target.shape == (32, 32, 32)
    assert not np.array_equal(images.image[0], images.target[0])


def test_batches_have_the_keys_of_pairs() -> None:
    plane = np.random.default_rng(0).random((80, 80), dtype=np.float32)
    settings = make_settings("default", restorer={"batch": 4, "patch": 32})
    batch = NeighbourBatches([plane], settings)(0, 0)
    assert batch["input"].shape == batch["target"].shape == (4, 1, 32, 32)
    assert batch["hint"].shape == (4, len(make_settings().restorer.architecture.hints))
    assert set(batch) == {"input", "target", "defect", "corrected", "hint"}


@pytest.mark.slow
def test_noisy_images_alone_are_enough(tmp_path: Path) -> None:
    """Slow (about 5 s): an adaptation of a few steps."""
    rng = np.random.default_rng(0)
    noise = Noise(photons=15)
    noisy = [Sample(noise.apply(nuclei((96, 96), rng), rng), f"{k}", f"{k}") for k in range(5)]
    few = {"steps": 6, "batch": 2, "log_every": 1, "save_every": 3, "picture_every": 6}
    chosen = make_settings("default", restorer=few)
    run = tmp_path / "run"
    train(Dataset([], {"noise": noisy}, {}, {}), run, chosen, quiet=True)
    assert not (run / "defects.safetensors").exists()
    assert json.loads((run / "run.json").read_text())["dataset"]["clean"] == 0
    said = summary(run)
    assert "dB" not in said[0]
    assert said[0].endswith("on 32 fields of one noisy image.")
    assert said[1:] == ["No clean image was given: the noise was learned from itself."]
    assert (run / "restorer.onnx").exists()
