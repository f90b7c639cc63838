"""Material and batches: roles of images, alpha, determinism, the axial direction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microscopygan.defects.parameters import Noise
from microscopygan.gan.networks import DefectGenerator
from microscopygan.gan.patches import DefectBatches, PairBatches, crop, flip, gather
from microscopygan.gan.training import save_draws
from microscopygan.image.dataset import Dataset, Pair, Sample, load_dataset
from microscopygan.settings import Settings


def planes(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).random((count, 48, 48), dtype=np.float32))


def pairs(count: int) -> list[Pair]:
    return [Pair(p, p + 1, f"{k}", f"{k}") for k, p in enumerate(planes(count))]


def test_alpha_one_never_sees_an_image_in_both_states(tiny: Settings) -> None:
    chosen = tiny.model_copy(update={"alpha": 1.0})
    material = gather(Dataset([], {}, {"noise": pairs(10)}, {}), chosen)
    assert material.pairs == {"noise": []}
    seen = {p.tobytes() for p in material.defective["noise"]}
    hidden = {(p - 1).tobytes() for p in material.own_clean["noise"]}
    assert len(seen) == len(hidden) == 5
    originals = {p.tobytes() for p in planes(10)}
    assert seen <= originals
    assert not any(
        np.allclose(np.frombuffer(a, "f4"), np.frombuffer(b, "f4")) for a in seen for b in hidden
    )


def test_validation_pairs_are_held_back(tiny: Settings) -> None:
    chosen = tiny.model_copy(update={"validation": 0.2})
    material = gather(Dataset([], {}, {"noise": pairs(10)}, {}), chosen)
    held = {p.image for p in material.validation["noise"]}
    assert len(held) == 2
    assert not held & {p.image for p in material.pairs["noise"]}
    assert len(material.defective["noise"]) == 8


def test_pairs_limits_the_real_pairs(tiny: Settings) -> None:
    chosen = tiny.model_copy(update={"pairs": 3})
    assert len(gather(Dataset([], {}, {"noise": pairs(10)}, {}), chosen).pairs["noise"]) == 3


def test_alpha_zero_without_pairs_is_refused(tiny: Settings) -> None:
    samples = [Sample(p, "a", "a") for p in planes(2)]
    data = Dataset(samples, {"noise": samples}, {}, {})
    with pytest.raises(ValueError, match="alpha 0 needs real pairs"):
        gather(data, tiny.model_copy(update={"alpha": 0.0}))


def test_no_clean_image_is_refused(tiny: Settings) -> None:
    data = Dataset([], {"noise": [Sample(p, "a", "a") for p in planes(2)]}, {}, {})
    with pytest.raises(ValueError, match="expected clean images"):
        gather(data, tiny)


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_alpha_is_the_share_of_synthetic_pairs(
    alpha: float, expected: float, tiny: Settings
) -> None:
    material = gather(Dataset([], {}, {"other": pairs(4)}, {}), tiny)
    batches = PairBatches(material, 64, 32, alpha, seed=0)
    share = np.mean([batches(step, 0)["synthetic"] for step in range(8)])
    assert share == pytest.approx(expected, abs=0.06)


def test_a_batch_is_a_function_of_seed_step_and_process(dataset: Path, tiny: Settings) -> None:
    material = gather(load_dataset(dataset), tiny)
    for batches in (DefectBatches(material, 3, 32, 7), PairBatches(material, 3, 32, 0.5, 7)):
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


def test_crops_of_a_pair_lie_at_one_place() -> None:
    plane = np.random.default_rng(0).random((20, 70))
    one, two = crop([plane, plane + 1], 32, np.random.default_rng(1))
    assert one.shape == (32, 32)
    np.testing.assert_array_equal(one + 1, two)


def test_each_kept_draw_has_a_noise_of_its_own(tmp_path: Path, tiny: Settings) -> None:
    smooth = [np.outer(np.hanning(128), np.hanning(128)).astype(np.float32)] * 2
    data = Dataset(
        [Sample(p, "a", "a") for p in smooth], {"noise": [Sample(smooth[0], "b", "b")]}, {}, {}
    )
    material = replace(gather(data, tiny), physics={"noise": [Noise(photons=20)]})
    generator = DefectGenerator(tiny.defects, 1)  # gives its draft back before it is trained
    save_draws(tmp_path / "draws.npz", generator, material, seed=0)
    with np.load(tmp_path / "draws.npz") as kept:
        first, second = (kept[f"noise/synthetic{k}"] - kept["noise/clean"] for k in (1, 2))
        assert np.allclose(kept["noise/synthetic1"], kept["noise/physics"], atol=1e-6)
    assert first.std() > 0.05
    assert second.std() == pytest.approx(first.std(), rel=0.2)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
