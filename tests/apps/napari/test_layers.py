"""Layers as images and back, without napari: a layer here is an object with the same attributes."""

from pathlib import Path
from types import SimpleNamespace

import dask.array
import numpy as np
import pytest

from microscopygan.apps.napari.layers import command_for, image_of, pixels_of, refusal
from microscopygan.apps.restore_options import RestoreOptions
from microscopygan.image.formats import write
from microscopygan.image.image import Image as OurImage

PER_UNIT = {"um": 1.0, "nm": 1e-3, "mm": 1e3}


class Unit:
    """A unit of length, or the pixel, with what is asked of pint's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_compatible_with(self, other: str) -> bool:
        return self.name in PER_UNIT

    def __rmul__(self, number: float) -> "Unit":
        self.number = number
        return self

    def to(self, other: str) -> SimpleNamespace:
        return SimpleNamespace(magnitude=self.number * PER_UNIT[self.name])


class Image:
    """What `layers` asks of a layer of napari."""

    rgb = multiscale = False

    def __init__(self, data, path=None, labels=None, scale=None, units="pixel", name="stack"):
        self.data, self.name, self.metadata = data, name, {}
        self.ndim, self.dtype = data.ndim, data.dtype
        self.axis_labels = labels or tuple(f"-{k}" for k in range(data.ndim, 0, -1))
        self.scale = np.ones(data.ndim) if scale is None else np.array(scale, float)
        self.units = tuple(Unit(units) for _ in range(data.ndim))
        self.source = SimpleNamespace(path=path)


class Labels(Image):
    """A layer that is no image."""


@pytest.fixture
def stack() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 999, (3, 40, 48), np.uint16)


def image(layer: Image, **options: object) -> OurImage:
    return image_of(layer, RestoreOptions(**options))


@pytest.mark.parametrize(
    ("labels", "axes"),
    [(("z", "y", "x"), "ZYX"), (("Time", "row", "column"), "TYX"), (("c", "Y", "X"), "CYX")],
)
def test_axis_labels_name_the_axes(stack, labels, axes) -> None:
    assert image(Image(stack, labels=labels)).axes == axes


def test_what_the_user_says_wins(stack) -> None:
    layer = Image(stack, labels=("z", "y", "x"), scale=(2, 1, 1), units="um")
    chosen = image(layer, axes="TYX", voxel_size="0.5,0.5")
    assert (chosen.axes, chosen.pixel_size) == ("TYX", {"Y": 0.5, "X": 0.5})


@pytest.mark.parametrize(
    ("scale", "units", "sizes"),
    [
        ((500, 100, 100), "nm", {"Z": 0.5, "Y": 0.1, "X": 0.1}),
        ((0.5, 0.1, 0.1), "um", {"Z": 0.5, "Y": 0.1, "X": 0.1}),
        ((0.5, 0.1, 0.1), "pixel", {"Z": 0.5, "Y": 0.1, "X": 0.1}),
        ((1, 1, 1), "pixel", {}),
    ],
)
def test_scale_and_units_are_the_pixel_size(stack, scale, units, sizes) -> None:
    layer = Image(stack, labels=("z", "y", "x"), scale=scale, units=units)
    assert image(layer).pixel_size == pytest.approx(sizes)


def test_the_file_says_what_the_layer_does_not(stack, tmp_path: Path) -> None:
    sizes = {"Z": 0.5, "Y": 0.1, "X": 0.1}
    path = write(tmp_path / "s.ome.tif", OurImage(stack, "ZYX", sizes))
    opened = image(Image(stack, path=str(path)))
    assert (opened.axes, opened.pixel_size, opened.source) == ("ZYX", sizes, path)
    other = Image(stack[:, :20], path=str(path), labels=("z", "y", "x"))
    assert image(other).pixel_size == {}


def test_one_channel_of_a_file_has_its_pixel_size(stack, tmp_path: Path) -> None:
    both = OurImage(np.stack([stack, stack]), "CZYX", {"Z": 0.5, "Y": 0.1, "X": 0.1})
    path = write(tmp_path / "both.ome.tif", both)
    layer = Image(stack, path=str(path), name="actin")
    assert image(layer).axes == "ZYX"
    assert image(layer).pixel_size["Z"] == 0.5
    assert command_for(layer, RestoreOptions()).split()[2] == "actin.tif"


def test_axes_that_nobody_knows_are_a_question(stack) -> None:
    with pytest.raises(ValueError, match=r"stack: what are its 3 dimensions .*Axes"):
        image(Image(stack))


def test_colours_and_labels_are_refused_in_a_sentence(stack) -> None:
    photo = Image(stack, name="photo")
    photo.rgb = True
    for layer, said in ((Labels(stack, name="cells"), "layer of labels"), (photo, "RGB")):
        assert said in refusal(layer)
        assert refusal(layer).startswith(layer.name)
        assert refusal(layer).endswith(".")
        with pytest.raises(ValueError, match=said):
            image(layer)
    assert refusal(Image(stack)) is None
    assert "bool" in refusal(Image(stack > 5))


def test_full_resolution_and_lazy_pixels(stack) -> None:
    pyramid = Image(stack)
    pyramid.data, pyramid.multiscale = [stack, stack[:, ::2, ::2]], True
    assert pixels_of(pyramid) is stack
    lazy = dask.array.from_array(stack)
    assert pixels_of(Image(lazy)) is lazy

    class Stored:
        shape, dtype, ndim, chunks = stack.shape, stack.dtype, 3, (1, 20, 48)

        def __getitem__(self, key: object) -> np.ndarray:
            return stack[key]

    read = pixels_of(Image(Stored()))
    assert read.chunksize == (1, 20, 48)
    assert np.array_equal(np.asarray(read), stack)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"strength": 0.5, "defect": "noise"}, " --defect noise --strength 0.5"),
        ({"task": "axial"}, " --task axial"),
    ],
)
def test_the_command_says_no_more_than_needed(stack, tmp_path, options, words) -> None:
    sizes = {"Z": 0.5, "Y": 0.1, "X": 0.1}
    path = write(tmp_path / "s.ome.tif", OurImage(stack, "ZYX", sizes))
    command = command_for(Image(stack, path=str(path)), RestoreOptions(**options))
    assert command == f"microscopygan restore {path} -o restored{words}"


def test_the_command_says_what_the_file_does_not(stack, tmp_path: Path) -> None:
    path = write(tmp_path / "s.npy", OurImage(stack, "ZYX"))
    layer = Image(stack, str(path), ("z", "y", "x"), (2, 0.5, 0.5), "um")
    command = command_for(layer, RestoreOptions(task="axial"))
    assert command.endswith("--task axial --axes ZYX --voxel-size 2.0,0.5,0.5")
    assert str(path) in command
