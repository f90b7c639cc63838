from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from microscopygan.datasets.folder import Pair, Sample, load_dataset, match_intensity, split
from microscopygan.image.formats import Image, write

SIZE = 40


def field(seed: int, *lead: int, size: int = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(*lead, size, size))
    smooth = gaussian_filter(noise, (*[0] * len(lead), 4, 4))
    return (1000 * (smooth - smooth.min()) / np.ptp(smooth) + 100).astype(np.uint16)


def put(path: Path, array: np.ndarray) -> None:
    write(path, Image(array, "ZYX"[-array.ndim :]))


def make_folders(root: Path) -> Path:
    for k in range(3):
        put(root / "clean" / f"c{k}.tif", field(k))
        put(root / "noise" / f"n{k}.tif", field(10 + k))
        put(root / "pairs" / "noise" / "input" / f"p{k}.tif", field(20 + k) // 2 + 7)
        put(root / "pairs" / "noise" / "target" / f"p{k}.tif", field(20 + k))
    put(root / "blur" / "stack.tif", field(30, 4))
    put(root / "test" / "noise" / "input" / "t.tif", field(40))
    put(root / "test" / "noise" / "target" / "t.tif", field(40) // 3)
    return root


def make_arrays(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    for name in ("noise", "low_res"):
        np.save(root / f"{name}_X.npy", field(1, 4))
        np.save(root / f"{name}_Y.npy", (2 * field(1, 4))[..., None])
    return root


def test_folders(tmp_path):
    data = load_dataset(make_folders(tmp_path))
    assert data.defects == ["blur", "noise"]
    assert [s.name for s in data.clean] == ["c0.tif", "c1.tif", "c2.tif"]
    assert [s.image for s in data.clean] == ["c0", "c1", "c2"]
    assert [s.name for s in data.defective["blur"]] == [f"stack.tif#{k}" for k in range(4)]
    assert {s.image for s in data.defective["blur"]} == {"stack"}
    assert [p.image for p in data.pairs["noise"]] == ["p0", "p1", "p2"]
    assert len(data.test["noise"]) == 1
    for sample in data.clean:
        assert sample.plane.dtype == np.float32
        assert np.allclose(np.percentile(sample.plane, [1, 99.8]), [0, 1], atol=1e-3)


def test_a_volume_is_normalised_as_a_whole(tmp_path):
    planes = [s.plane for s in load_dataset(make_folders(tmp_path)).defective["blur"]]
    assert np.allclose(np.percentile(planes, [1, 99.8]), [0, 1], atol=1e-3)


def test_targets_come_onto_the_scale_of_their_input(tmp_path):
    root = make_folders(tmp_path)
    for pair in load_dataset(root).pairs["noise"]:
        assert pair.target.dtype == np.float32
        assert np.allclose(pair.target, pair.input, atol=0.01)
    raw = load_dataset(root, match_pairs=False).pairs["noise"][0]
    assert raw.target.max() > 1.5


def test_the_layout_of_2019(tmp_path):
    data = load_dataset(make_arrays(tmp_path))
    assert data.defects == ["low_res", "noise"]
    assert (data.clean, data.defective, data.test) == ([], {}, {})
    pairs = data.pairs["low_res"]
    assert [p.image for p in pairs] == [f"low_res#{k}" for k in range(4)]
    for pair in pairs:
        assert pair.input.shape == pair.target.shape == (SIZE, SIZE)
        assert np.allclose(np.percentile(pair.input, [1, 99.8]), [0, 1], atol=1e-3)
        assert np.allclose(pair.target, pair.input, atol=1e-3)


def test_input_files_are_not_changed(tmp_path):
    root = make_folders(tmp_path)
    before = {p: p.read_bytes() for p in root.rglob("*.tif")}
    load_dataset(root)
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_hidden_files_and_folders_are_left_out(tmp_path):
    root = make_folders(tmp_path)
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "noise" / "._n0.tif").write_bytes(b"x")
    (root / "noise" / "notes.txt").write_text("x")
    assert load_dataset(root).defects == ["blur", "noise"]


@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=12),
    st.floats(0.01, 0.99),
    st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_no_image_is_on_both_sides(counts, fraction, seed):
    plane = np.zeros((32, 32), np.float32)
    samples = [
        Sample(plane, f"{i}#{k}", str(i)) for i, count in enumerate(counts) for k in range(count)
    ]
    kept, held = split(samples, fraction, np.random.default_rng(seed))
    assert sorted(s.name for s in kept + held) == sorted(s.name for s in samples)
    assert not {s.image for s in kept} & {s.image for s in held}
    assert bool(kept) == bool(samples)
    assert bool(held) == (len(counts) > 1)
    if len(counts) > 1:
        number = len({s.image for s in held})
        assert number == min(max(round(fraction * len(counts)), 1), len(counts) - 1)


def test_a_split_repeats_with_its_seed():
    pairs = [Pair(np.zeros(1), np.zeros(1), str(i), str(i)) for i in range(20)]
    first, second = (split(pairs, 0.3, np.random.default_rng(5))[1] for _ in range(2))
    assert [p.name for p in first] == [p.name for p in second]
    with pytest.raises(ValueError, match="between 0 and 1"):
        split(pairs, 1.0, np.random.default_rng(0))


def save(*parts: str, array: np.ndarray):
    def change(root: Path) -> None:
        path = root.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        np.save(path, array) if path.suffix == ".npy" else put(path, array)

    return change


def remove(*parts: str):
    return lambda root: root.joinpath(*parts).unlink()


def folder(*parts: str):
    return lambda root: root.joinpath(*parts).mkdir(parents=True)


def corrupt(*parts: str):
    def change(root: Path) -> None:
        root.joinpath(*parts).parent.mkdir(exist_ok=True)
        root.joinpath(*parts).write_bytes(b"II*\0garbage")

    return change


NAN = np.where(field(1) > 1000, np.nan, 1.0)
PAIRS = ("pairs", "noise")
BAD_FOLDERS = {
    "empty defect": (folder("haze"), "haze: expected images"),
    "empty pairs": (folder("pairs", "haze"), "haze: expected the folders input/"),
    "no target": (remove(*PAIRS, "target", "p1.tif"), "p1 in input/ only"),
    "no input": (remove(*PAIRS, "input", "p1.tif"), "p1 in target/ only"),
    "other size": (save(*PAIRS, "target", "p1.tif", array=field(1, size=44)), "p1.tif: expected"),
    "other depth": (save(*PAIRS, "target", "p1.tif", array=field(1, 3)), "p1.tif: expected the"),
    "same name twice": (save(*PAIRS, "input", "p1.npy", array=field(1)), "one image of each name"),
    "opposite": (save(*PAIRS, "target", "p1.tif", array=2000 - field(21)), "belong together"),
    "small": (save("noise", "s.tif", array=field(1, size=31)), "s.tif: expected at least 32×32"),
    "constant": (save("noise", "s.tif", array=np.full((40, 40), 3, np.uint8)), "with structure"),
    "nan": (save("noise", "s.npy", array=NAN), "s.npy: expected finite"),
    "rgb": (save("noise", "s.npy", array=np.zeros((40, 40, 3))), "colour"),
    "bool": (save("noise", "s.npy", array=field(1) > 9), "got bool"),
    "corrupt": (corrupt("clean", "c1.tif"), "c1.tif: expected"),
    "loose file": (save("loose.tif", array=field(1)), "got both"),
    "both layouts": (save("haze_X.npy", array=field(1, 2)), "got both"),
    "reserved": (folder("pairs", "clean"), "reserved"),
    "capitals": (folder("Test"), "got Test/ and test/; join them"),
    "results": (folder("Restored_noise"), "got what is called restored, which would be learned"),
    "results of pairs": (folder("pairs", "outputs"), "got what is called output"),
    "a run": (corrupt("haze", "run.json"), "got the run that run.json is of"),
    "unknown test": (
        lambda root: (root / "test" / "noise").rename(root / "test" / "haze"),
        "haze: expected one of the defects blur, noise",
    ),
}
X = field(1, 4)
BAD_ARRAYS = {
    "length": (save("noise_Y.npy", array=X[:3]), "noise_X.npy: expected the shape"),
    "no Y": (remove("noise_Y.npy"), "expected noise_Y.npy beside it"),
    "no X": (remove("noise_X.npy"), "expected noise_X.npy beside it"),
    "one plane": (save("noise_X.npy", array=X[0]), r"expected \(N, H, W\)"),
    "small": (save("noise_X.npy", array=X[:, :20]), "at least 32×32"),
    "constant": (save("noise_X.npy", array=X * (np.arange(4) != 2)[:, None, None]), "X.npy#2"),
    "nan": (save("noise_X.npy", array=X * np.nan), "NaN"),
    "object": (save("noise_X.npy", array=np.array([[{}]], object)), "allow_pickle"),
    "name": (save("other.npy", array=X), "other.npy: expected NAME_X.npy"),
    "image": (save("a_X.tif", array=X), "a_X.tif: expected NAME_X.npy"),
    "reserved": (save("test_X.npy", array=X), "reserved"),
}
CASES = [(make_folders, *case) for case in BAD_FOLDERS.values()]
CASES += [(make_arrays, *case) for case in BAD_ARRAYS.values()]
NAMES = [f"folders: {n}" for n in BAD_FOLDERS] + [f"arrays: {n}" for n in BAD_ARRAYS]


@pytest.mark.parametrize(("make", "change", "message"), CASES, ids=NAMES)
def test_a_bad_dataset_is_one_clear_line(tmp_path, make, change, message):
    root = make(tmp_path / "dataset")
    change(root)
    with pytest.raises(ValueError, match=message) as caught:
        load_dataset(root)
    line = str(caught.value)
    assert "dataset" in line
    assert "expected" in line
    assert "\n" not in line


def test_no_dataset(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_dataset(tmp_path / "none")
    with pytest.raises(ValueError, match="got no defective image"):
        load_dataset(tmp_path)
    put(tmp_path / "clean" / "c.tif", field(1))
    with pytest.raises(ValueError, match="got no defective image"):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match="got the file"):
        load_dataset(tmp_path / "clean" / "c.tif")
    (tmp_path / "pairs").mkdir()
    with pytest.raises(ValueError, match="got no folder"):
        load_dataset(tmp_path)


def structure(seed: int, size: int = 96) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 5)
    return (field - field.min()) / np.ptp(field)


@given(st.integers(0, 99), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=15, deadline=None)
def test_gain_is_not_biased_by_noise_and_blur(seed, gain, offset):
    clean = structure(seed)
    noise = np.random.default_rng(seed).normal(0, 0.1, clean.shape)
    defective = gain * (gaussian_filter(clean, 1) + noise) + offset
    matched = match_intensity(clean, defective)
    fitted, base = np.polyfit(clean.ravel(), matched.ravel(), 1)
    assert matched.dtype == np.float32
    assert abs(fitted / gain - 1) < 0.15
    assert abs((base - offset) / gain) < 0.1


def test_matching_agrees_with_least_squares():
    clean, defective = structure(1), structure(1) ** 1.5 + 0.2 * structure(2)
    blurred = [gaussian_filter(v, 6, mode="nearest").ravel() for v in (clean, defective)]
    gain, offset = np.polyfit(*blurred, 1)
    assert np.allclose(match_intensity(clean, defective), gain * clean + offset, atol=1e-5)


def test_a_volume_shares_one_gain():
    volume = np.stack([structure(1), 3 * structure(2)])
    assert np.allclose(match_intensity(volume, 2 * volume + 1), 2 * volume + 1, atol=1e-4)


def test_a_flat_target_keeps_its_gain():
    assert np.allclose(match_intensity(np.full((40, 40), 2.0), np.full((40, 40), 5.0)), 5.0)


def test_images_that_do_not_belong_together():
    with pytest.raises(ValueError, match="check that they belong together"):
        match_intensity(structure(1), 1 - structure(1))
    with pytest.raises(ValueError, match="of one shape"):
        match_intensity(np.zeros((4, 4)), np.zeros((4, 5)))


def test_folders_in_another_case(tmp_path):
    for k in range(2):
        put(tmp_path / "Clean" / f"{k}.tif", field(k))
        put(tmp_path / "NOISE" / f"{k}.tif", field(10 + k))
        put(tmp_path / "Pairs" / "Noise" / "Input" / f"{k}.tif", field(20 + k) // 2 + 7)
        put(tmp_path / "Pairs" / "Noise" / "Target" / f"{k}.tif", field(20 + k))
    dataset = load_dataset(tmp_path)
    assert (len(dataset.clean), dataset.defects) == (2, ["noise"])
    assert (len(dataset.defective["noise"]), len(dataset.pairs["noise"])) == (2, 2)


def test_names_in_two_forms_of_unicode_are_the_same(tmp_path):
    for side, name in (("input", "Zellk\u00f6rper"), ("target", "Zellko\u0308rper")):
        put(tmp_path / "pairs/noise" / side / f"{name}.tif", field(1) // (1 + (side == "input")))
    assert len(load_dataset(tmp_path).pairs["noise"]) == 1


def test_frames_and_slices_of_one_stack_are_a_pair(tmp_path):
    stack = field(1, 3)
    write(make(tmp_path / "pairs/noise/input/a.tif"), Image(stack // 2, "TYX"))
    write(make(tmp_path / "pairs/noise/target/a.tif"), Image(stack[:, None], "ZCYX"))
    pairs = load_dataset(tmp_path).pairs["noise"]
    assert [pair.name for pair in pairs] == ["a.tif#0", "a.tif#1", "a.tif#2"]


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_pair_of_the_same_pixels_is_told(tmp_path):
    for side in ("input", "target"):
        put(tmp_path / "pairs/noise" / side / "a.tif", field(1))
    with pytest.raises(ValueError, match=r"a\.tif: .*got the same pixels in .*a\.tif"):
        load_dataset(tmp_path)


def test_each_plane_of_a_set_of_files_is_read_once(tmp_path):
    stack = field(1, 4)
    names = [f"p{k}.ome.tif" for k in range(4)]
    data = "".join(
        f'<TiffData FirstT="{k}" IFD="0" PlaneCount="1"><UUID FileName="{name}">u:{k}</UUID>'
        "</TiffData>"
        for k, name in enumerate(names)
    )
    (tmp_path / "noise").mkdir()
    for k, name in enumerate(names):
        text = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="u:{k}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="{SIZE}" SizeY="{SIZE}" SizeZ="1" SizeC="1" SizeT="4">'
            f'<Channel ID="Channel:0:0"/>{data}</Pixels></Image></OME>'
        )
        settings = {"photometric": "minisblack", "metadata": None, "description": text}
        tifffile.imwrite(tmp_path / "noise" / name, stack[k], **settings)
    samples = load_dataset(tmp_path).defective["noise"]
    assert len(samples) == 4
    assert {sample.image for sample in samples} == {"p0"}


def test_each_image_of_a_file_is_one_of_its_own(tmp_path):
    make(tmp_path / "noise/a.ome.tif")
    with tifffile.TiffWriter(tmp_path / "noise/a.ome.tif", ome=True) as writer:
        for k in range(2):
            writer.write(field(k), photometric="minisblack", metadata={"axes": "YX"})
    samples = load_dataset(tmp_path).defective["noise"]
    assert [sample.name for sample in samples] == ["a.ome.tif#0", "a.ome.tif#1"]
    assert [sample.image for sample in samples] == ["a#0", "a#1"]
