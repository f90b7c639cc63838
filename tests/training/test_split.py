"""Which images of a dataset serve which part of a training."""

from dataclasses import replace

import numpy as np
import pytest

from microscopygan.datasets.folder import Dataset, Pair, Sample
from microscopygan.defects.composition import Composition
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.stripes import Stripes
from microscopygan.settings import Settings, make_settings
from microscopygan.training.split import calibrate_physics, split_dataset

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
    split = split_dataset(Dataset([], {}, {"noise": pairs(10)}, {}), chosen)
    assert split.pairs == {"noise": []}
    seen = {p.tobytes() for p in split.defective["noise"]}
    hidden = {(p - 1).tobytes() for p in split.own_clean["noise"]}
    assert len(seen) == len(hidden) == 5
    originals = {p.tobytes() for p in planes(10)}
    assert seen <= originals
    assert not any(
        np.allclose(np.frombuffer(a, "f4"), np.frombuffer(b, "f4")) for a in seen for b in hidden
    )


def test_validation_pairs_are_held_back(tiny: Settings) -> None:
    chosen = tiny.model_copy(update={"validation": 0.2})
    split = split_dataset(Dataset([], {}, {"noise": pairs(10)}, {}), chosen)
    validation = {p.image for p in split.validation_pairs["noise"]}
    assert len(validation) == 2
    assert not validation & {p.image for p in split.pairs["noise"]}
    assert len(split.defective["noise"]) == 8


def test_pairs_limits_the_real_pairs(tiny: Settings) -> None:
    chosen = tiny.model_copy(update={"pairs": 3})
    assert len(split_dataset(Dataset([], {}, {"noise": pairs(10)}, {}), chosen).pairs["noise"]) == 3


def test_alpha_zero_without_pairs_is_refused(tiny: Settings) -> None:
    samples = [Sample(p, "a", "a") for p in planes(2)]
    data = Dataset(samples, {"noise": samples}, {}, {})
    with pytest.raises(ValueError, match="alpha 0 needs real pairs"):
        split_dataset(data, tiny.model_copy(update={"alpha": 0.0}))


def test_no_clean_image_is_refused(tiny: Settings) -> None:
    data = Dataset([], {"noise": [Sample(p, "a", "a") for p in planes(2)]}, {}, {})
    with pytest.raises(ValueError, match="expected clean images"):
        split_dataset(data, tiny)


@pytest.mark.parametrize("seed", range(5))
def test_an_image_that_validates_one_defect_trains_none(seed: int) -> None:
    data = Dataset(
        samples(12, 50) + samples(4, name=""), {}, {"a": pairs(10), "b": pairs(8, 3)}, {}
    )
    split = split_dataset(data, make_settings("default", seed=seed, validation=0.2))
    validation = {p.image for some in split.validation_pairs.values() for p in some}
    assert len(split.validation_pairs["a"]) >= 2
    assert len(split.validation_pairs["b"]) >= 2
    assert not validation & {p.image for some in split.pairs.values() for p in some}
    targets = {p.target.tobytes() for some in split.validation_pairs.values() for p in some}
    assert not targets & {plane.tobytes() for plane in split.clean}
    clean = {s.plane.tobytes() for s in data.clean if s.image in validation}
    assert not clean & {plane.tobytes() for plane in split.clean}


def test_no_defect_loses_all_its_pairs() -> None:
    data = Dataset([], {}, {"a": pairs(5), "b": pairs(1), "c": pairs(1, 1)}, {})
    for seed in range(10):
        split = split_dataset(data, make_settings("default", seed=seed, validation=0.2))
        assert len(split.pairs["b"]) == len(split.pairs["c"]) == 1
        assert len(split.validation_pairs["a"]) == 2


@pytest.mark.parametrize(
    ("name", "count", "held_back"),
    [
        ("noise", 4, 0),
        ("noise", 10, 3),
        ("noise", 20, 4),
        ("noise", 60, 6),
        ("a", 1, 0),
        ("a", 2, 1),
        ("a", 10, 3),
    ],
)
def test_of_few_pairs_an_adaptation_holds_more_back(name: str, count: int, held_back: int) -> None:
    chosen = make_settings("default")
    split = split_dataset(Dataset([], {}, {name: pairs(count)}, {}), chosen)
    assert len(split.validation_pairs[name]) == held_back
    assert len(split.pairs[name]) == count - held_back


def test_a_fifth_of_the_clean_images_validates_defects_without_pairs() -> None:
    split = split_dataset(Dataset(samples(20), {"a": samples(2), "b": samples(2)}, {}, {}), ADAPT)
    spare = split.validation_planes["a"]
    assert len(spare) == 4
    assert split.validation_planes["b"] is spare
    kept = {plane.tobytes() for plane in split.clean}
    assert not kept & {plane.tobytes() for plane in spare}
    assert len(split.clean) == 16 + ADAPT.specimens


def test_few_clean_images_all_train() -> None:
    split = split_dataset(Dataset(samples(9), {"a": samples(2)}, {}, {}), ADAPT)
    assert len(split.clean) == 9 + ADAPT.specimens
    assert len(split.real_clean) == 9
    assert split.validation_planes == {"a": []}


def test_a_training_from_scratch_holds_no_clean_image_back(tiny: Settings) -> None:
    split = split_dataset(Dataset(samples(20), {"a": samples(2)}, {}, {}), tiny)
    assert len(split.clean) == 20 + tiny.specimens


def test_one_of_few_pairs_validates_where_no_pair_is_synthetic() -> None:
    real = ADAPT.model_copy(update={"alpha": 0.0})
    split = split_dataset(Dataset([], {}, {"a": pairs(3)}, {}), real)
    assert (len(split.pairs["a"]), len(split.validation_pairs["a"])) == (2, 1)
    with pytest.raises(ValueError, match="pairs of two images or more"):
        split_dataset(Dataset([], {}, {"a": pairs(1)}, {}), real)


def test_labels_of_one_defect_are_fitted_alike() -> None:
    labels = ("noise", "Noise_2023")
    rng = np.random.default_rng(0)
    clean = [nuclei((64, 64), rng) for _ in range(6)]
    bad = [Noise(photons=10).apply(plane, rng) for plane in clean[:3]]
    data = [Sample(p, f"{k}", f"{k}") for k, p in enumerate(clean)]
    sets = {}
    for label in labels:
        some = [Sample(p, f"n{k}", f"n{k}") for k, p in enumerate(bad)]
        split = split_dataset(Dataset(data, {label: some}, {}, {}), ADAPT)
        sets[label] = calibrate_physics(split, ADAPT)[label]
    assert sets["noise"] == sets["Noise_2023"]


def noisy(count: int, shape: tuple[int, int]) -> Dataset:
    rng = np.random.default_rng(0)
    some = [Sample(rng.random(shape, dtype="f4"), f"{k}", f"{k}") for k in range(count)]
    return Dataset([], {"noise": some}, {}, {})


def test_noisy_images_alone_are_held_back_by_image() -> None:
    split = split_dataset(noisy(10, (48, 48)), ADAPT)
    assert split.clean == []
    labelled = Dataset([], {"Noise_2": noisy(10, (48, 48)).defective["noise"]}, {}, {})
    assert len(split_dataset(labelled, ADAPT).defective["Noise_2"]) == 8
    assert len(split.defective["noise"]) == 8
    kept = {plane.tobytes() for plane in split.defective["noise"]}
    assert not kept & {plane.tobytes() for plane in split.validation_planes["noise"]}


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
    split = split_dataset(noisy(1, shape), ADAPT)
    assert split.defective["noise"][0].shape == train
    assert split.validation_planes["noise"][0].shape == spare


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
    split = split_dataset(data, tiny.model_copy(update={"alpha": 1.0, "validation": 0.0}))
    kinds = ("a", "b")
    seen = {float(plane[0, 0]) for name in kinds for plane in split.defective[name]}
    hidden = {float(plane[0, 0]) for name in kinds for plane in split.own_clean[name]}
    assert not seen & hidden
    assert [len(split.defective[name]) for name in "abc"] == [10, 4, 1]
    assert [len(split.own_clean[name]) for name in "abc"] == [10, 4, 1]


def test_a_label_stands_for_most_of_its_physics() -> None:
    some = split_dataset(
        Dataset(samples(12), {"odd": samples(2), "Noise_2": samples(2)}, {}, {}), ADAPT
    )
    assert some.meaning == {"Noise_2": "Noise_2", "odd": "odd"}
    both = Composition(steps=(Stripes(gain=0.1), Noise(photons=9)))
    physics = {"odd": [both, both, Composition(steps=(Noise(photons=9),))]}
    assert replace(some, physics=physics).meaning["odd"] == "stripes+noise"
