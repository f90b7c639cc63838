"""Folders and layers as one training set, without napari."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from microscopygan.apps.napari.training_set import Source, check_sources, write_training_set
from microscopygan.datasets.folder import load_dataset
from microscopygan.image.formats import Image as OurImage
from microscopygan.image.formats import read, write


class Image:
    """What is asked of a layer of napari."""

    rgb = multiscale = False

    def __init__(self, seed: int, name: str) -> None:
        self.data = np.random.default_rng(seed).integers(0, 999, (64, 72), np.uint16)
        self.name, self.ndim, self.dtype = name, 2, self.data.dtype
        self.axis_labels, self.scale = ("y", "x"), np.ones(2)
        self.units = (SimpleNamespace(is_compatible_with=lambda other: False),) * 2
        self.source = SimpleNamespace(path=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.tif", "b.tif")):
        layer = Image(seed, name)
        (tmp_path / "mine").mkdir(exist_ok=True)
        write(tmp_path / "mine" / name, OurImage(layer.data, "YX", {"Y": 0.1, "X": 0.1}))
    return tmp_path / "mine"


def test_folders_and_layers_become_a_training_set(tmp_path: Path, folder: Path) -> None:
    layers = tuple(Image(k, f"cell {k}") for k in range(2))
    clean = tuple(Image(k + 9, "clean") for k in range(2))
    sources = {
        "defective": Source(folder),
        "clean": Source(layers=clean),
        "input": Source(layers=layers),
        "target": Source(layers=layers[:1] + clean[:1]),
    }
    made = write_training_set(tmp_path / "run_images", "noise", sources)
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*.tif"))
    assert names == [
        *("clean/0_clean.ome.tif", "clean/1_clean.ome.tif", "noise/a.tif", "noise/b.tif"),
        *("pairs/noise/input/0.ome.tif", "pairs/noise/input/1.ome.tif"),
        *("pairs/noise/target/0.ome.tif", "pairs/noise/target/1.ome.tif"),
    ]
    assert np.array_equal(read(made / "clean" / "0_clean.ome.tif").array, clean[0].data)
    assert (folder / "a.tif").read_bytes() == (made / "noise" / "a.tif").read_bytes()


def test_what_is_written_can_be_trained_on(tmp_path: Path, folder: Path) -> None:
    clean = tuple(Image(k, "clean") for k in range(2))
    sources = {"defective": Source(folder), "clean": Source(layers=clean)}
    data = load_dataset(write_training_set(tmp_path / "set", "my stripes", sources))
    assert (data.defects, len(data.clean)) == (["my stripes"], 2)


@pytest.mark.parametrize(
    ("roles", "defect", "said"),
    [
        ([], "noise", "Choose bad images"),
        (["clean"], "noise", "Choose bad images"),
        (["input"], "noise", "both sides"),
        (["defective"], "stripes", "good images as well"),
        (["defective"], "", "expected a name"),
        (["defective"], "a/b", "expected a name"),
        (["defective"], "clean", "expected a name"),
    ],
)
def test_too_little_is_said_in_a_sentence(folder: Path, roles, defect, said) -> None:
    with pytest.raises(ValueError, match=said):
        check_sources({role: Source(folder) for role in roles}, defect)


def test_noise_can_be_learned_from_itself(folder: Path) -> None:
    check_sources({"defective": Source(folder)}, "noise")


def test_only_what_it_wrote_is_replaced(tmp_path: Path, folder: Path) -> None:
    sources = {"defective": Source(folder)}
    made = write_training_set(tmp_path / "set", "noise", sources)
    write_training_set(made, "noise", sources)
    with pytest.raises(FileExistsError, match="there already"):
        write_training_set(folder, "noise", {"defective": Source(layers=(Image(0, "a"),))})
    assert sorted(path.name for path in folder.iterdir()) == ["a.tif", "b.tif"]


def test_pairs_of_layers_are_as_many(tmp_path: Path) -> None:
    layers = tuple(Image(k, "a") for k in range(3))
    sources = {"input": Source(layers=layers), "target": Source(layers=layers[:2])}
    with pytest.raises(ValueError, match="as many good layers as bad ones, got 2 and 3"):
        write_training_set(tmp_path / "set", "noise", sources)
    assert not (tmp_path / "set").exists()
