"""Which images of a dataset serve which part of a training."""

import numpy as np
import pytest

from microscopygan.datasets.folder import Dataset, Pair, Sample
from microscopygan.settings import Settings, make_settings
from microscopygan.training.split import gather, judged_on

ADAPT = make_settings("default", seed=1, validation=0.2)


def planes(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).random((count, 48, 48), dtype=np.float32))


def pairs(count: int, first: int = 0) -> list[Pair]:
    some = enumerate(planes(count, first), first)
    return [Pair(p, p + 1, f"{k}", f"{k}") for k, p in some]


def samples(count: int, first: int = 0, name: str = "clean") -> list[Sample]:
    some = enumerate(planes(count, first), first)
    return [Sample(p, f"{name}{k}", f"{name}{k}") for k, p in some]


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


@pytest.mark.parametrize("seed", range(5))
def test_an_image_that_judges_one_defect_trains_none(seed: int) -> None:
    data = Dataset(
        samples(12, 50) + samples(4, name=""), {}, {"a": pairs(10), "b": pairs(8, 3)}, {}
    )
    material = gather(data, make_settings("default", seed=seed, validation=0.2))
    held = {p.image for some in material.validation.values() for p in some}
    assert len(material.validation["a"]) >= 2
    assert len(material.validation["b"]) >= 2
    assert not held & {p.image for some in material.pairs.values() for p in some}
    targets = {p.target.tobytes() for some in material.validation.values() for p in some}
    assert not targets & {plane.tobytes() for plane in material.clean}
    clean = {s.plane.tobytes() for s in data.clean if s.image in held}
    assert not clean & {plane.tobytes() for plane in material.clean}
    assert judged_on(material) == {"a": "held-back pairs", "b": "held-back pairs"}


def test_no_defect_loses_all_its_pairs() -> None:
    data = Dataset([], {}, {"a": pairs(5), "b": pairs(1), "c": pairs(1, 1)}, {})
    for seed in range(10):
        material = gather(data, make_settings("default", seed=seed, validation=0.2))
        assert len(material.pairs["b"]) == len(material.pairs["c"]) == 1
        assert len(material.validation["a"]) == 1


def test_a_fifth_of_the_clean_images_judges_defects_without_pairs() -> None:
    material = gather(Dataset(samples(20), {"a": samples(2), "b": samples(2)}, {}, {}), ADAPT)
    spare = material.spare["a"]
    assert len(spare) == 4
    assert material.spare["b"] is spare
    kept = {plane.tobytes() for plane in material.clean}
    assert not kept & {plane.tobytes() for plane in spare}
    assert len(material.clean) == 16 + ADAPT.specimens
    assert set(judged_on(material).values()) == {"held-back clean images"}


def test_few_clean_images_all_train() -> None:
    material = gather(Dataset(samples(9), {"a": samples(2)}, {}, {}), ADAPT)
    assert len(material.clean) == 9 + ADAPT.specimens
    assert material.spare == {"a": []}
    assert judged_on(material) == {"a": "specimens"}


def test_a_training_from_scratch_holds_no_clean_image_back(tiny: Settings) -> None:
    material = gather(Dataset(samples(20), {"a": samples(2)}, {}, {}), tiny)
    assert len(material.clean) == 20 + tiny.specimens


def test_one_of_few_pairs_judges_where_no_pair_is_synthetic() -> None:
    real = ADAPT.model_copy(update={"alpha": 0.0})
    material = gather(Dataset([], {}, {"a": pairs(3)}, {}), real)
    assert (len(material.pairs["a"]), len(material.validation["a"])) == (2, 1)
    with pytest.raises(ValueError, match="pairs of two images or more"):
        gather(Dataset([], {}, {"a": pairs(1)}, {}), real)


def noisy(count: int, shape: tuple[int, int]) -> Dataset:
    rng = np.random.default_rng(0)
    some = [Sample(rng.random(shape, dtype="f4"), f"{k}", f"{k}") for k in range(count)]
    return Dataset([], {"noise": some}, {}, {})


def test_noisy_images_alone_are_held_back_by_image() -> None:
    material = gather(noisy(10, (48, 48)), ADAPT)
    assert material.clean == []
    assert len(material.defective["noise"]) == 8
    kept = {plane.tobytes() for plane in material.defective["noise"]}
    assert not kept & {plane.tobytes() for plane in material.spare["noise"]}
    assert judged_on(material) == {"noise": "noisy images"}


@pytest.mark.parametrize(
    ("shape", "train", "spare"),
    [
        ((100, 400), (100, 320), (100, 80)),
        ((200, 100), (136, 100), (64, 100)),
        ((90, 90), (90, 90), (90, 90)),
    ],
)
def test_of_one_noisy_image_an_end_is_held_back(
    shape: tuple[int, int], train: tuple[int, int], spare: tuple[int, int]
) -> None:
    material = gather(noisy(1, shape), ADAPT)
    assert material.defective["noise"][0].shape == train
    assert material.spare["noise"][0].shape == spare


def test_without_pairs_no_image_is_seen_in_both_states(tiny: Settings) -> None:
    def stack(names: list[int]) -> list[Pair]:  # two planes an image
        return [
            Pair(np.full((48, 48), k, "f4"), np.full((48, 48), k, "f4"), f"{k}#{z}", f"{k}")
            for k in names
            for z in range(2)
        ]

    data = Dataset(
        [], {}, {"a": stack([*range(10)]), "b": stack([0, 1, 2, 3]), "c": stack([0])}, {}
    )
    material = gather(data, tiny.model_copy(update={"alpha": 1.0, "validation": 0.0}))
    kinds = ("a", "b")
    seen = {float(plane[0, 0]) for name in kinds for plane in material.defective[name]}
    hidden = {float(plane[0, 0]) for name in kinds for plane in material.own_clean[name]}
    assert not seen & hidden
    assert [len(material.defective[name]) for name in "abc"] == [10, 4, 1]
    assert [len(material.own_clean[name]) for name in "abc"] == [10, 4, 1]
