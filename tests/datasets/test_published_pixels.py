import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.datasets.published_pixels import open_patches, read_enlarged
from microscopygan.image.lazy import MappedArray


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 999, shape).astype(np.uint16)


@given(st.permutations("SCZYX"), st.booleans(), st.booleans())
@settings(max_examples=12, deadline=None)
def test_planes_do_not_depend_on_the_order_of_axes(tmp_path_factory, axes, fortran, compressed):
    x, y = (numbers(seed, 2, 2, 3, 9, 8) for seed in (1, 2))
    order = ["SCZYX".index(letter) for letter in axes]
    a, b = (np.asarray(v.transpose(order), order="F" if fortran else "C") for v in (x, y))
    path = tmp_path_factory.mktemp("data") / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, X=a, Y=b, axes="".join(axes))
    patches = open_patches(path)
    assert len(patches) == 2
    for k in range(2):
        for image, whole in zip(patches.read(k), (x, y), strict=True):
            back = [image.axes.index(letter) for letter in "CZYX"]
            assert np.array_equal(image.array.transpose(back), whole[k])


@pytest.mark.parametrize(
    "axes", [np.array(["SCYX"]), np.array("SCYX"), np.array(b"SCYX"), np.array(list("scyx")), None]
)
def test_axes_are_read_as_they_may_be_stored(tmp_path, axes):
    y = numbers(1, 3, 1, 8, 9)
    np.savez(tmp_path / "a.npz", X=y, Y=y, **({} if axes is None else {"axes": axes}))
    assert open_patches(tmp_path / "a.npz").axes == "SCYX"


def test_patches_stay_on_disk(tmp_path):
    x, y = numbers(1, 3, 1, 8, 9), numbers(2, 3, 1, 8, 9)
    np.savez(tmp_path / "a.npz", X=x, Y=y, axes="SCYX")
    patches = open_patches(tmp_path / "a.npz")
    assert isinstance(patches.inputs, MappedArray)
    assert np.array_equal(patches.inputs, x)
    assert np.array_equal(patches.targets, y)


def test_enlarged_planes_lie_on_the_grid_of_their_target(tmp_path):
    """A plane that is linear in the position stays that very plane."""
    coarse, fine = np.arange(40) * 2 + 0.5, np.arange(80)
    np.save(tmp_path / "a.npy", coarse[:, None] + 3 * coarse)
    np.save(tmp_path / "b.npy", fine[:, None] + 3.0 * fine)
    image, target = read_enlarged(tmp_path / "a.npy", tmp_path / "b.npy")
    inner = (slice(12, -12),) * 2
    assert np.allclose(image.array[inner], target.array[inner], atol=0.01)


X = numbers(1, 6, 1, 8, 9)
OBJECTS = np.array([{}, {}], object)
BAD = {
    "length": ({"X": X, "Y": X[:5], "axes": "SCYX"}, "X and Y of one shape"),
    "projection": ({"X": X[:, None], "Y": X[:, None, :, :4], "axes": "SCZYX"}, "fewer planes"),
    "pickle": ({"X": OBJECTS, "Y": OBJECTS}, "X holds object, and .* never loaded"),
    "pickled axes": ({"X": X, "Y": X, "axes": np.array({"S": 0}, object)}, "allow_pickle=False"),
    "text": ({"X": np.array(["a"]), "Y": X}, "X holds <U1"),
    "unknown axes": ({"X": X, "Y": X, "axes": "SQYX"}, "axes letters of STCZYX"),
    "no S": ({"X": X, "Y": X, "axes": "TCYX"}, "with S, Y and X, got 'TCYX'"),
    "repeated axes": ({"X": X, "Y": X, "axes": "SSYX"}, "each once"),
    "axes too short": ({"X": X, "Y": X, "axes": "SYX"}, "along the axes SYX"),
    "axes not stored": ({"X": X[:, 0], "Y": X[:, 0]}, "with S, Y and X, got ''"),
    "no patches": ({"X": X[:0], "Y": X[:0], "axes": "SCYX"}, "one shape"),
    "other keys": ({"source": X, "target": X}, "got source, target"),
    "nothing": ({}, "got nothing"),
}


def one_line(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_patches(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: expected")
    assert "\n" not in line


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_other_contents_are_one_clear_line(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    one_line(tmp_path / "a.npz", message)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_one_clear_line(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, X=X, Y=X, axes="SCYX")
    whole = path.read_bytes()
    for length in (0, 5, 200, len(whole) - 300):
        path.write_bytes(whole[:length])
        one_line(path, "damaged file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", b"\x93NUMPY\x01\x00garbage")
    one_line(path, "damaged file")
