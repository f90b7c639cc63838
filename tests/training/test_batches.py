"""Batches: alpha, determinism, the axial direction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microscopygan.datasets.folder import Dataset, Pair, load_dataset
from microscopygan.defects.composition import Composition
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.settings import SamplingSettings, Settings
from microscopygan.training.batches import (
    DefectBatches,
    PairBatches,
    crop,
    draw_field,
    flip,
    resized,
    simulate,
)
from microscopygan.training.split import Split, split_dataset


def planes(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).random((count, 48, 48), dtype=np.float32))


def pairs(count: int) -> list[Pair]:
    return [Pair(p, p + 1, f"{k}", f"{k}") for k, p in enumerate(planes(count))]


def pair_batches(split: Split, tiny: Settings, **changes: object) -> PairBatches:
    return PairBatches(split, tiny.changed({"restorer.batch": 64, **changes}))


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_alpha_is_the_share_of_synthetic_pairs(
    alpha: float, expected: float, tiny: Settings
) -> None:
    split = split_dataset(Dataset([], {}, {"other": pairs(4)}, {}), tiny)
    batches = pair_batches(split, tiny.changed({"defects.physics": False}), alpha=alpha)
    share = np.mean([batches(step, 0)["corrected"] for step in range(8)])
    assert share == pytest.approx(expected, abs=0.06)


def test_real_pairs_alone_teach_what_no_physics_describes(tiny: Settings) -> None:
    split = split_dataset(Dataset([], {}, {"other": pairs(4)}, {}), tiny)
    batch = pair_batches(split, tiny, alpha=0.9)(0, 0)
    assert not batch["corrected"].any()
    assert (batch["target"] > batch["input"] + 0.4).all()  # as in the pairs, but for the gain


def test_only_some_defects_may_be_drawn(tiny: Settings) -> None:
    split = split_dataset(Dataset([], {}, {"noise": pairs(4), "other": pairs(4)}, {}), tiny)
    batches = PairBatches(split, tiny.changed({"restorer.batch": 64}), ["other"])
    assert set(batches(0, 0)["defect"]) == {1}


def test_cin_gan_corrects_its_share_and_what_no_physics_describes(tiny: Settings) -> None:
    split = split_dataset(Dataset([], {}, {"noise": pairs(4), "other": pairs(4)}, {}), tiny)
    split = replace(split, physics={"noise": [Noise(photons=20)]})
    batches = pair_batches(split, tiny, alpha=1.0, cin_gan=0.25)
    drawn = [batches(step, 0) for step in range(8)]
    left, defect = (np.concatenate([b[name] for b in drawn]) for name in ("corrected", "defect"))
    assert left[defect == 0].mean() == pytest.approx(0.25, abs=0.08)
    assert left[defect == 1].all()
    batches = pair_batches(split, tiny, alpha=0.5, cin_gan=0.5)
    drawn = [batches(step, 0) for step in range(8)]
    left, defect = (np.concatenate([b[name] for b in drawn]) for name in ("corrected", "defect"))
    assert left[defect == 0].mean() == pytest.approx(0.25, abs=0.08)  # no real pair is
    assert left[defect == 1].mean() == pytest.approx(0.25, abs=0.08)


def test_a_batch_is_a_function_of_seed_step_and_process(dataset: Path, tiny: Settings) -> None:
    split = split_dataset(load_dataset(dataset), tiny)
    for batches in (DefectBatches(split, tiny), PairBatches(split, tiny)):
        first, again = batches(5, 0), batches(5, 0)
        assert all(np.array_equal(first[name], again[name]) for name in first)
        for other in (batches(6, 0), batches(5, 1)):
            assert any(not np.array_equal(first[name], other[name]) for name in first)
        assert first["defect"].dtype == np.int64


def test_axial_patches_are_never_turned() -> None:
    plane = np.arange(12.0).reshape(3, 4)
    for seed in range(20):
        turned = flip([plane], "axial", np.random.default_rng(seed))[0]
        assert turned.shape == (3, 4)
    shapes = {flip([plane], "noise", np.random.default_rng(s))[0].shape for s in range(20)}
    assert shapes == {(3, 4), (4, 3)}


@pytest.mark.parametrize(
    ("defect", "views"),
    [("camera", 1), ("motion", 2), ("noise+motion", 2), ("axial", 4), ("noise", 8), ("unheard", 8)],
)
def test_patches_are_flipped_as_far_as_their_defect_stays_the_same(defect: str, views: int) -> None:
    plane = np.arange(9.0).reshape(3, 3)
    drawn = [flip([plane, plane + 1], defect, np.random.default_rng(s)) for s in range(60)]
    assert len({image.tobytes() for image, _ in drawn}) == views
    assert all(np.array_equal(image + 1, target) for image, target in drawn)
    if views == 2:
        assert any(np.array_equal(image, plane[::-1, ::-1]) for image, _ in drawn)


def test_crops_of_a_pair_lie_at_one_place() -> None:
    plane = np.random.default_rng(0).random((20, 70))
    one, two = crop([plane, plane + 1], 32, np.random.default_rng(1))
    assert one.shape == (32, 32)
    np.testing.assert_array_equal(one + 1, two)


def test_resized_planes_keep_their_content() -> None:
    y, x = np.mgrid[:128, :128] / 128
    plane = (1 + np.sin(4 * np.pi * x) * y).astype(np.float32)
    assert resized(plane, 1.0) is plane
    for side in (96, 170):
        there = resized(plane, side / 128)
        assert there.shape == (side, side)
        back = resized(there, 128 / side)
        np.testing.assert_allclose(back[8:-8, 8:-8], plane[8:-8, 8:-8], atol=0.05)


def test_zoomed_fields_are_of_another_magnification(tiny: Settings) -> None:
    wave = np.tile(np.sin(2 * np.pi * np.arange(256) / 16), (256, 1)).astype(np.float32)
    split = split_dataset(Dataset([], {}, {"axial": [Pair(wave, wave, "a", "a")]}, {}), tiny)
    rng = np.random.default_rng(0)

    def cycles(zoomed: float) -> set[int]:
        sampling = SamplingSettings(own_clean=1.0, zoomed=zoomed)
        drawn = [draw_field(split, "axial", 128, rng, sampling)[1] for _ in range(40)]
        return {int(np.abs(np.fft.rfft(field[64])).argmax()) for field in drawn}

    assert cycles(0.0) == {8}
    frequencies = cycles(1.0)
    assert min(frequencies) in (5, 6)  # of 128 pixels, magnified 1.5 times at most
    assert max(frequencies) in (10, 11)  # reduced to 0.75 at least


def test_background_light_of_noise_is_no_defect(tiny: Settings) -> None:
    """A restorer that had to take it off would have to guess how much there is."""
    smooth = np.outer(np.hanning(128), np.hanning(128)).astype(np.float32)
    split = split_dataset(Dataset([], {}, {"noise": pairs(2)}, {}), tiny)
    noise = Noise(photons=200, background=0.35)
    composed = Composition(steps=(noise, LowResolution(sigma=1.0, photons=None)))
    for physics in (noise, composed):
        split = replace(split, physics={"noise": [physics]})
        image, target = simulate(split, "noise", smooth, np.random.default_rng(0))
        assert image.mean() == pytest.approx(target.mean(), abs=0.005)
        assert np.ptp(target) > 0.7
