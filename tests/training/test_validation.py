"""Validation: what the images say, which state is kept, when a training ends."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from microscopygan.evaluate.metrics import psnr_affine
from microscopygan.gan.networks import UNetRestorer
from microscopygan.settings import AdaptationSettings, RestorerArchitecture
from microscopygan.training.time_budget import Clock
from microscopygan.training.validation import (
    Validation,
    affine_error,
    cut_fields,
    joined,
    read_validations,
    stack_pairs,
)

SMALL = RestorerArchitecture(channels=(4, 4, 4), blocks=1)


@pytest.fixture
def planes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.random((3, 24, 32), dtype=np.float32)
    return (clean + 0.3 * rng.standard_normal(clean.shape)).astype(np.float32), clean


def network(answer: float) -> UNetRestorer:
    """A restorer that adds a constant times the image's own rows, worse the larger it is."""
    restorer = UNetRestorer(SMALL)
    with torch.no_grad():
        for parameter in restorer.parameters():
            parameter.zero_()
        restorer.last.bias.fill_(answer)
        restorer.stem.weight[0, 0, 0, 0] = answer
        restorer.last.weight[0, 0, 1, 1] = 1.0
    return restorer


def test_gains_are_those_of_affine_psnr(planes, tmp_path: Path) -> None:
    defective, clean = planes
    validation = Validation({"noise": stack_pairs(zip(defective, clean, strict=True))}, tmp_path, 1)

    class Halve(nn.Module):
        weight = nn.Parameter(torch.zeros(1))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 0.5 * image + torch.from_numpy(clean)[:, None]

    restored = 0.5 * defective + clean
    wanted = np.mean(
        [
            psnr_affine(c, r) - psnr_affine(c, d)
            for c, r, d in zip(clean, restored, defective, strict=True)
        ]
    )
    network = Halve()
    network.register_parameter("one", nn.Parameter(torch.zeros(1)))
    assert validation.gains(network)["noise"].mean() == pytest.approx(wanted, abs=0.01)
    validation.images["noise"] = validation.images["noise"]._replace(source=np.array([0, 1, 1]))
    assert len(validation.gains(network)["noise"]) == 2
    lenient = Validation(validation.images, tmp_path, clean_psnr=5)
    assert not lenient.gains(network)["noise"].any()  # of images that count as clean


def test_the_error_does_not_depend_on_gain_and_offset(planes) -> None:
    image, target = (torch.from_numpy(a)[:, None] for a in planes)
    torch.testing.assert_close(affine_error(image, target), affine_error(3 * image - 2, target))


def test_a_state_is_kept_and_patience_ends(planes, tmp_path: Path) -> None:
    pairs = {"noise": stack_pairs(zip(*planes, strict=True))}
    validation = Validation(pairs, tmp_path, 1, patience=2)
    said = [validation(network(answer), step) for step, answer in enumerate((0.5, 0.0, 0.4, 0.6))]
    assert said == [False, False, False, True]
    assert validation.kept_step == 1
    kept = validation.with_kept(network(0.7))
    assert torch.equal(kept.state_dict()["last.bias"], torch.zeros(1))
    again = Validation(pairs, tmp_path, 1, patience=2)  # a resumed training
    assert again.kept_step == 1
    assert again(network(0.4), 2) is False  # step 3 is to come again
    assert [row.step for row in read_validations(tmp_path)] == [0, 1, 2]
    assert [len(row.gains["noise"]) for row in read_validations(tmp_path)] == [3, 3, 3]


def test_what_is_kept_lies_between_the_start_and_the_trained_network(
    planes, tmp_path: Path
) -> None:
    start, trained = network(0.4), network(0.0)
    images = {"noise": stack_pairs(zip(*planes, strict=True))}
    validation = Validation(images, tmp_path, start=start, mixing_weight=0.85)
    validation(start, 0)
    kept = validation.with_kept(network(0.7)).state_dict()["last.bias"]
    assert torch.equal(kept, start.last.bias)
    with torch.no_grad():
        start.last.bias.fill_(9.0)  # which trains on
    validation(trained, 5)
    kept = validation.with_kept(network(0.7)).state_dict()["last.bias"]
    torch.testing.assert_close(kept, torch.full((1,), 0.15 * 0.4))
    assert torch.equal(trained.last.bias, torch.zeros(1))


def test_what_ships_is_kept_unless_another_is_surely_better(planes, tmp_path: Path) -> None:
    images = {"noise": stack_pairs(zip(*planes, strict=True))}
    validation = Validation(images, tmp_path, start=network(0.01))
    validation(network(0.01), 0)
    validation(network(0.0), 5)
    gains = [row.gains["noise"].mean() for row in read_validations(tmp_path)]
    assert gains[0] < gains[1]
    assert validation.kept_step == 0


def test_validations_of_earlier_runs_are_read(tmp_path: Path) -> None:
    (tmp_path / "judged.csv").write_text("step,noise,axial\n0,3.0,1.0\n10,4.0,2.0\n")
    first, second = read_validations(tmp_path)
    assert (first.step, second.step) == (0, 10)
    assert (first.mean, second.mean) == (2.0, 3.0)
    assert second.gains["axial"].tolist() == [2.0]
    assert read_validations(tmp_path / "none") == []


def test_synthetic_images_join_few_real_ones() -> None:
    some = stack_pairs([(np.zeros((40, 40)), np.ones((40, 40)))] * 4, "aabb", real=True)
    more = stack_pairs([(np.zeros((36, 48)), np.ones((36, 48)))] * 2)
    both = joined(some, more)
    assert both.image.shape == both.target.shape == (6, 36, 40)
    assert both.source.tolist() == [0, 0, 1, 1, 2, 3]
    assert (some.pairs, more.pairs, both.pairs) == (2, 0, 2)


def test_fields_are_cut_alike_in_sizes_the_network_takes() -> None:
    plane = np.arange(90.0 * 70).reshape(90, 70)
    rng = np.random.default_rng(0)
    fields, source = cut_fields([[plane, plane + 1]] * 3, rng, AdaptationSettings())
    assert source == [0] * 10 + [1] * 10 + [2] * 10
    assert all(a.shape == (68, 68) and np.array_equal(a + 1, b) for a, b in fields)


def test_of_many_images_some_are_cut() -> None:
    images = [[np.full((40, 40), k, "f4")] for k in range(1000)]
    fields, source = cut_fields(images, np.random.default_rng(0), AdaptationSettings())
    values = [field[0][0, 0] for field in fields]
    assert values == source
    assert len(values) == 32
    assert (values[0], values[-1]) == (0, 999)


def test_a_validation_after_the_time_ends_the_training(planes, tmp_path: Path) -> None:
    validation = Validation({"noise": stack_pairs(zip(*planes, strict=True))}, tmp_path)
    validation.clock = Clock(1000)
    validation.clock.reserve(3 * 0.5)
    assert validation(network(0.4), 1) is False
    validation.clock = Clock(-10)
    assert validation(network(0.4), 2) is True
