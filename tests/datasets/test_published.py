from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from microscopygan.datasets import published
from microscopygan.datasets.folder import Pair, load_dataset, split
from microscopygan.datasets.published import find_published
from microscopygan.image.formats import Image, write

SIZE = 40


def field(seed: int, *lead: int, size: int = SIZE) -> np.ndarray:
    """Smooth structures, of their own for each seed."""
    noise = np.random.default_rng(seed).normal(size=(*lead, size, size))
    smooth = gaussian_filter(noise, (*[0] * len(lead), 3, 3))
    return (1000 * (smooth - smooth.min()) / np.ptp(smooth) + 100).astype(np.uint16)


def put(path: Path, array: np.ndarray) -> None:
    if path.suffix == ".npy":
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    else:
        write(path, Image(array, "ZYX"[-array.ndim :]), overwrite=True)


def save_patches(path: Path, x: np.ndarray, y: np.ndarray, **axes: object) -> None:
    """Write what CSBDeep's save_training_data writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, X=x, Y=y, **axes)


def make_patches(root: Path) -> Path:
    y = field(1, 6, 1).astype(np.float32)
    save_patches(root / "noise" / "train.npz", y / 2 + 3, y, axes="SCYX")
    return root


def make_stacks(root: Path) -> Path:
    """CARE's archive of a denoising set: patches to train on, stacks to test on."""
    y = field(1, 5, 1, 4).astype(np.float32)
    save_patches(root / "noise" / "train_data" / "data_label.npz", y / 2, y)
    for k in range(2):
        put(root / "noise" / "test_data" / "GT" / f"EXP{k}.tif", field(10 + k, 3))
        for condition in (1, 2, 3):
            path = root / "noise" / "test_data" / f"condition_{condition}" / f"EXP{k}.tif"
            put(path, field(10 + k, 3) // (condition + 1))
    return root


def make_w2s(root: Path, suffix: str = ".npy") -> Path:
    for number in (1, 2, 80, 81, 120):
        for channel in range(3):
            name, seed = f"{number:03d}_{channel}{suffix}", 10 * number + channel
            put(root / "avg1" / name, field(seed) // 2)
            put(root / "avg16" / name, field(seed) // 3)
            put(root / "avg400" / name, field(seed))
            put(root / "sim" / name, field(seed).repeat(2, 0).repeat(2, 1))
    return root


def make_fmd(root: Path, kinds=("Confocal_MICE", "WideField_BPAE_B"), mix: bool = False) -> Path:
    for kind in kinds:
        for number in (1, 2, 10, 19, 20):
            seed = number + 100 * len(kind)
            put(root / kind / "gt" / str(number) / "avg50.png", field(seed))
            for k in range(3):
                put(root / kind / "raw" / str(number) / f"c{k}.png", field(seed) // 2 + k)
                put(root / kind / "avg2" / str(number) / f"c{k}.png", field(seed) // 3)
        for k in (1, 2) if mix else ():
            put(root / "test_mix" / "raw" / f"{kind}_{k}.png", field(19 + 100 * len(kind)) // 2)
            put(root / "test_mix" / "gt" / f"{kind}_{k}.png", field(19 + 100 * len(kind)))
    return root


def images(pairs: list[Pair]) -> list[str]:
    return sorted({pair.image for pair in pairs})


@pytest.mark.parametrize("make", [make_patches, make_stacks, make_fmd])
def test_pairs_belong_together(tmp_path, make):
    data = load_dataset(make(tmp_path))
    found = data.pairs["noise"] + data.test.get("noise", [])
    assert found
    for pair in found:
        assert pair.input.dtype == pair.target.dtype == np.float32
        assert pair.input.shape == pair.target.shape == (SIZE, SIZE)
        assert np.allclose(pair.input, pair.target, atol=0.02)
    names = [pair.name for pair in found]
    assert len(set(names)) == len(names)


def test_patches_are_named_by_their_file_and_index(tmp_path):
    data = load_dataset(make_patches(tmp_path))
    assert data.defects == ["noise"]
    assert (data.clean, data.defective, data.test) == ([], {}, {})
    assert [p.name for p in data.pairs["noise"]] == [f"train.npz#{k}" for k in range(6)]
    assert [p.image for p in data.pairs["noise"]] == [f"noise/train#{k}" for k in range(6)]
    raw = load_dataset(tmp_path, match_pairs=False).pairs["noise"][0]
    assert raw.target.max() > 1.5


def test_a_set_is_named_after_its_folder(tmp_path):
    make_patches(tmp_path)
    assert load_dataset(tmp_path / "noise").defects == ["noise"]
    (tmp_path / "noise").rename(tmp_path / "haze")
    assert load_dataset(tmp_path).defects == ["haze"]


def test_files_of_patches_are_joined_and_those_for_tests_held_out(tmp_path):
    y = field(1, 2, 1)
    for file in ("a.npz", "b_test.npz", "test.npz", "train_data/channel_tubules/data_label.npz"):
        save_patches(tmp_path / "noise" / file, y, y, axes="SCYX")
    data = load_dataset(tmp_path)
    names = [p.name for p in data.pairs["noise"]]
    assert names == [f"{f}.npz#{k}" for f in ("a", "channel_tubules/data_label") for k in (0, 1)]
    assert [p.name for p in data.test["noise"][::2]] == ["b_test.npz#0", "test.npz#0"]


def test_planes_of_a_patch_are_one_image(tmp_path):
    y = field(1, 3, 1, 4).astype(np.float32)
    save_patches(
        tmp_path / "noise" / "a.npz", y * [[[[[1]], [[2]], [[3]], [[4]]]]], y, axes="SCZYX"
    )
    pairs = load_dataset(tmp_path, match_pairs=False).pairs["noise"]
    assert [p.name for p in pairs] == [f"a.npz#{k}#{z}" for k in range(3) for z in range(4)]
    assert images(pairs) == [f"noise/a#{k}" for k in range(3)]
    volume = [p.input for p in pairs[:4]]
    assert np.allclose(np.percentile(volume, [1, 99.8]), [0, 1], atol=1e-3)


def test_a_few_useless_patches_are_left_out(tmp_path):
    y = field(1, 20, 1).astype(np.float32)
    y[3] = 7
    y[4], x = y[4].max() - y[4], y.copy()
    x[4] = field(1, 20, 1)[4]
    save_patches(tmp_path / "noise" / "a.npz", x, y, axes="SCYX")
    left = [f"noise/a#{k}" for k in range(20) if k not in (3, 4)]
    assert [p.image for p in load_dataset(tmp_path).pairs["noise"]] == left
    x[:2] = np.nan
    save_patches(tmp_path / "noise" / "a.npz", x, y, axes="SCYX")
    with pytest.raises(ValueError, match=r"a.npz#0: expected finite pixels"):
        load_dataset(tmp_path)


def test_conditions_of_a_stack_are_one_image(tmp_path):
    data = load_dataset(make_stacks(tmp_path))
    assert images(data.pairs["noise"]) == [f"noise/data_label#{k}" for k in range(5)]
    assert len(data.pairs["noise"]) == 20
    assert images(data.test["noise"]) == ["noise/EXP0", "noise/EXP1"]
    names = [f"condition_{c}/EXP{k}.tif#{z}" for c in (1, 2, 3) for k in (0, 1) for z in range(3)]
    assert [p.name for p in data.test["noise"]] == names


def test_low_beside_ground_truth(tmp_path):
    for k in range(3):
        put(tmp_path / "haze" / "GT" / f"{k}.tif", field(k))
    put(tmp_path / "haze" / "low" / "0.tif", field(0) // 2)
    put(tmp_path / "haze" / "low" / "2.tiff", field(2) // 2)
    data = load_dataset(tmp_path / "haze")
    assert [p.name for p in data.pairs["haze"]] == ["low/0.tif", "low/2.tiff"]
    (tmp_path / "parted" / "haze").mkdir(parents=True)
    (tmp_path / "haze").rename(tmp_path / "parted" / "haze" / "train")
    put(tmp_path / "parted" / "haze" / "test" / "GT" / "5.tif", field(5))
    put(tmp_path / "parted" / "haze" / "test" / "low" / "5.tif", field(5) // 2)
    parted = load_dataset(tmp_path / "parted")
    assert images(parted.pairs["haze"]) == ["haze/0", "haze/2"]
    assert images(parted.test["haze"]) == ["haze/5"]


def test_sets_below_train_and_test_keep_their_roles(tmp_path):
    for part in ("train", "test"):
        for k in range(2):
            put(tmp_path / part / "noise" / "GT" / f"{k}.tif", field(k))
            put(tmp_path / part / "noise" / "low" / f"{k}.tif", field(k) // 2)
    data = load_dataset(tmp_path)
    assert images(data.pairs["noise"]) == ["train/noise/0", "train/noise/1"]
    assert images(data.test["noise"]) == ["test/noise/0", "test/noise/1"]


def subsampled(planes: np.ndarray, axis: int) -> np.ndarray:
    blurred = uniform_filter1d(planes.astype(np.float32), 5, axis=axis)
    places = np.arange(planes.shape[axis]) // 4 * 4
    return np.take(blurred, places, axis=axis)


def test_the_scan_axis_of_axial_planes_is_the_first(tmp_path):
    y = np.random.default_rng(0).random((4, 1, SIZE, SIZE)).astype(np.float32)
    turned = y.swapaxes(2, 3)
    save_patches(tmp_path / "y" / "axial" / "a.npz", subsampled(y, 2), y, axes="SCYX")
    save_patches(tmp_path / "x" / "axial" / "a.npz", subsampled(turned, 3), turned, axes="SCYX")
    along_y, along_x = (load_dataset(tmp_path / axis).pairs["axial"] for axis in "yx")
    for one, other in zip(along_y, along_x, strict=True):
        assert np.allclose(one.input, other.input, atol=1e-5)
        assert np.allclose(one.target, other.target, atol=1e-5)
    (tmp_path / "x" / "axial").rename(tmp_path / "x" / "lowres")
    kept = load_dataset(tmp_path / "x").pairs["lowres"]
    assert np.allclose(kept[0].input, along_x[0].input.T)


@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_fields_of_w2s(tmp_path, suffix):
    data = load_dataset(make_w2s(tmp_path / "data", suffix))
    assert data.defects == ["lowres", "noise"]
    for defect in data.defects:
        assert images(data.pairs[defect]) == ["001", "002", "080"]
        assert images(data.test[defect]) == ["081", "120"]
        assert len(data.pairs[defect]) == 9
    noise, lowres = data.pairs["noise"], data.pairs["lowres"]
    assert [p.name for p in noise[:3]] == [f"avg1/001_{c}{suffix}" for c in range(3)]
    assert [p.name for p in lowres[:1]] == [f"avg400/001_0{suffix}"]
    for pair in noise:
        assert np.allclose(pair.input, pair.target, atol=0.02)
    for pair in lowres:
        assert pair.input.shape == pair.target.shape == (2 * SIZE, 2 * SIZE)
        assert np.abs(pair.input - pair.target).mean() < 0.05


def test_w2s_parted_into_train_and_test(tmp_path):
    for part, number in (("train", 1), ("train", 80), ("test", 81)):
        for level in ("avg1", "avg400"):
            put(tmp_path / part / level / f"{number:03d}_0.png", field(number))
    data = load_dataset(tmp_path)
    assert (images(data.pairs["noise"]), images(data.test["noise"])) == (["001", "080"], ["081"])


def test_raw_exposures_of_w2s(tmp_path):
    for number in (1, 81):
        frames = np.random.default_rng(number).poisson(field(number)[None] / 10, (400, SIZE, SIZE))
        put(tmp_path / f"Image{number:03d}" / "wf_channel0.npy", frames.astype(np.uint16))
    data = load_dataset(tmp_path, match_pairs=False)
    (pair,), (test,) = data.pairs["noise"], data.test["noise"]
    assert (pair.image, pair.name, test.image) == ("001", "Image001/wf_channel0.npy", "081")
    last = np.load(tmp_path / "Image081" / "wf_channel0.npy").astype(np.float64)
    for plane, whole in ((test.input, last[249]), (test.target, last.mean(0))):
        gain, offset = np.polyfit(whole.ravel(), plane.ravel(), 1)
        assert np.allclose(plane, gain * whole + offset, atol=1e-3)


def test_fields_of_fmd(tmp_path):
    data = load_dataset(make_fmd(tmp_path / "data"))
    assert data.defects == ["noise"]
    kinds = ("Confocal_MICE", "WideField_BPAE_B")
    assert {p.image for p in data.pairs["noise"]} == {
        f"{k}/{n}" for k in kinds for n in (1, 2, 10, 20)
    }
    assert images(data.test["noise"]) == [f"{k}/19" for k in kinds]
    assert data.pairs["noise"][0].name == "Confocal_MICE/1/c0.png"
    assert len(data.pairs["noise"]) == 2 * 4 * 3
    kept, held = split(data.pairs["noise"], 0.25, np.random.default_rng(0))
    assert len(held) == 2 * 3
    assert not set(images(kept)) & set(images(held))
    one = load_dataset(tmp_path / "data" / "Confocal_MICE")
    assert images(one.test["noise"]) == ["Confocal_MICE/19"]
    assert len(one.pairs["noise"]) == 12


def test_the_mixed_test_set_of_fmd_takes_the_place_of_its_fields(tmp_path):
    test = load_dataset(make_fmd(tmp_path, mix=True)).test["noise"]
    assert [p.name for p in test[:2]] == [f"test_mix/Confocal_MICE_{k}.png" for k in (1, 2)]
    assert images(test) == ["Confocal_MICE/19", "WideField_BPAE_B/19"]
    assert len(test) == 4


def test_sets_of_one_defect_are_joined(tmp_path):
    make_fmd(tmp_path / "fmd", mix=True)
    make_w2s(tmp_path / "w2s" / "data")
    y = field(1, 4, 1)
    save_patches(tmp_path / "axial" / "train_data" / "data_label.npz", y, y, axes="SCYX")
    found = find_published(tmp_path)
    assert sorted(found) == ["axial", "lowres", "noise"]
    roots = {pair.image.split("/")[0] for pair in found["noise"]}
    assert roots == {"fmd", "w2s"}
    assert {p.image for p in found["lowres"] if p.test} == {"w2s/data/081", "w2s/data/120"}


@pytest.mark.parametrize("pixels", [1, 5 * SIZE**2, 7 * SIZE**2])
def test_large_sets_are_thinned_evenly(tmp_path, monkeypatch, pixels):
    whole = load_dataset(make_fmd(tmp_path / "fmd")).pairs["noise"]
    monkeypatch.setattr(published, "PIXELS", pixels)
    thin = load_dataset(tmp_path / "fmd").pairs["noise"]
    assert len(thin) == max(pixels // SIZE**2, 1)
    assert {p.name for p in thin} <= {p.name for p in whole}
    if len(thin) > 1:
        assert len(set(images(thin))) == len(thin)
    test = load_dataset(make_stacks(tmp_path / "care")).test["noise"]
    assert len(test) == min(max(pixels // SIZE**2, 1), 6)


def test_planes_left_of_a_stack_are_those_of_the_whole(tmp_path, monkeypatch):
    for k in range(2):
        put(tmp_path / "noise" / "GT" / f"{k}.tif", field(k, 9))
        put(tmp_path / "noise" / "low" / f"{k}.tif", field(k, 9) // 2)
    whole = {p.name: p for p in load_dataset(tmp_path).pairs["noise"]}
    monkeypatch.setattr(published, "PIXELS", 6 * SIZE**2)
    thin = load_dataset(tmp_path).pairs["noise"]
    assert [p.name for p in thin] == [f"low/{k}.tif#{z}" for k in range(2) for z in (0, 4, 8)]
    for pair in thin:
        assert np.array_equal(pair.input, whole[pair.name].input)


def test_other_layouts_are_no_published_sets(tmp_path):
    put(tmp_path / "clean" / "a.tif", field(1))
    put(tmp_path / "Confocal_haze" / "a.tif", field(2))
    put(tmp_path / "pairs" / "noise" / "input" / "a.tif", field(3) // 2)
    put(tmp_path / "pairs" / "noise" / "target" / "a.tif", field(3))
    assert find_published(tmp_path) == {}
    assert load_dataset(tmp_path).defects == ["Confocal_haze", "noise"]


def only(*files: str, size: int = SIZE):
    """Add images, each of 6 planes if stacked, to a set or to an empty folder."""

    def change(root: Path) -> None:
        for file in files:
            stacked = file.endswith(("_X.npy", "channel0.npy", "EXP0.tif"))
            put(root / file, field(1, *((6,) if stacked else ()), size=size))

    return change


def patches(file: str, size: int = SIZE):
    x = field(1, 6, 1, size=size)
    return lambda root: save_patches(root / file, x, x, axes="SCYX")


def move(source: str, target: str):
    return lambda root: (root / source).rename(root / target)


def remove(pattern: str):
    return lambda root: [path.unlink() for path in root.glob(pattern)]


def nothing(root: Path) -> Path:
    return root


X = field(1, 6, 1)
CONDITION = "noise/test_data/condition_1/EXP0.tif"
BAD = {
    "length": (nothing, lambda root: save_patches(root / "a.npz", X, X[:5]), "of one shape"),
    "small patches": (nothing, patches("noise/a.npz", 20), "a.npz#0: expected at least 32×32"),
    "reserved": (make_patches, move("noise", "clean"), "named after its defect, got clean"),
    "patches and stacks": (make_stacks, patches("noise/test_data/b.npz"), "b.npz and GT/"),
    "patches and images": (
        make_patches,
        only("noise/a.tif"),
        "one layout, got train.npz and a.tif",
    ),
    "set in a set": (make_patches, patches("noise/b/b.npz"), "got a set of pairs and b/"),
    "clean beside": (make_patches, only("clean/a.tif"), "got noise/ and clean/"),
    "array beside": (make_patches, only("a_X.npy"), "got noise/ and a_X.npy"),
    "no GT": (make_stacks, remove("noise/*/GT/EXP1.tif"), "got EXP1 in condition_1/ only"),
    "empty GT": (make_stacks, remove("noise/*/GT/*"), "GT: expected images"),
    "other depth": (make_stacks, only(CONDITION), "expected the shape of its target"),
    "GT alone": (nothing, only("noise/GT/a.tif"), "a folder of images such as low/"),
    "w2s no clean": (make_w2s, remove("avg400/001_0.npy"), "got 001_0 in avg1/ only"),
    "w2s name": (
        make_w2s,
        only("avg1/a.npy", "avg400/a.npy"),
        "of field and channel such as 001_0",
    ),
    "w2s size": (make_w2s, only("sim/001_0.npy", size=99), "whole multiple"),
    "w2s clean only": (nothing, only("avg400/001_0.npy"), "expected avg1/ or sim/"),
    "w2s exposures": (nothing, only("Image001/wf_channel0.npy"), "expected 400 exposures"),
    "w2s no exposures": (nothing, only("Image001/a.npy"), "expected wf_channel0.npy"),
    "w2s tests": (nothing, only("avg1/081_0.npy", "avg400/081_0.npy"), "image to train on"),
    "w2s and fmd": (make_w2s, make_fmd, "one layout, got avg400/"),
    "fmd no clean": (make_fmd, remove("Confocal_MICE/gt/2/*"), "2: expected images"),
    "fmd two clean": (make_fmd, only("Confocal_MICE/gt/2/b.png"), "one image, avg50.png, got 2"),
    "fmd no noisy": (nothing, only("Confocal_MICE/gt/2/b.png"), "expected raw/, avg2/"),
    "fmd size": (make_fmd, only("Confocal_MICE/raw/2/c0.png", size=44), "shape of its target"),
}


@pytest.mark.parametrize(("make", "change", "message"), BAD.values(), ids=BAD)
def test_a_bad_set_is_one_clear_line(tmp_path, make, change, message):
    (tmp_path / "dataset").mkdir()
    root = make(tmp_path / "dataset")
    change(root)
    with pytest.raises(ValueError, match=message) as caught:
        load_dataset(root)
    line = str(caught.value)
    assert "dataset" in line
    assert "expected" in line
    assert "\n" not in line


def test_files_are_not_changed(tmp_path):
    for name, make in zip("abc", (make_patches, make_stacks, make_fmd), strict=True):
        make(tmp_path / name)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for name in "abc":
        load_dataset(tmp_path / name)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
