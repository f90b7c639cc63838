"""Vendors' formats, with a stand-in for bioio that keeps its interface (checked with bioio 3.6)."""

import sys
from collections import namedtuple
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from microscopygan.image.formats import list_images, open_image, read

PIXELS = np.random.default_rng(0).integers(0, 999, (2, 3, 4, 20, 30), dtype=np.uint16)
Sizes = namedtuple("Sizes", "Z Y X")


class UnsupportedFileFormatError(Exception):
    """As bioio's where the plug-in is missing."""


class Dask:
    """What is used of a Dask array."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: tuple[slice | int, ...]) -> "Dask":
        return Dask(self._array[key])

    def compute(self, scheduler: str) -> np.ndarray:
        return self._array


class BioImage:
    """Two series of TCZYX pixels for LIF files, one for others."""

    pixels = PIXELS
    sizes = Sizes(0.3, 0.1, 0.1)
    interval: object = timedelta(seconds=2)
    unit: str | None = None

    def __init__(self, image: str) -> None:
        if image.endswith(".nd2"):
            raise UnsupportedFileFormatError("no plug-in")
        self.scenes = ("Series 1", "Series 2") if image.endswith(".lif") else ("Image",)
        self._factor = 1

    def set_scene(self, scene: int) -> None:
        self._factor = scene + 1

    dims = SimpleNamespace(order="TCZYX")

    @property
    def dask_data(self) -> "Dask":
        return Dask(self.pixels * self._factor)

    channel_names = property(lambda self: [np.str_("DNA"), "actin", "dirt"][: self.pixels.shape[1]])
    physical_pixel_sizes = property(lambda self: self.sizes)
    time_interval = property(lambda self: self.interval)

    @property
    def dimension_properties(self) -> SimpleNamespace:
        axis = SimpleNamespace(type=None, unit=self.unit)
        return SimpleNamespace(T=axis, C=axis, Z=axis, Y=axis, X=axis)


@pytest.fixture
def bioio(monkeypatch: pytest.MonkeyPatch) -> type[BioImage]:
    module = ModuleType("bioio")
    stand_in = type("BioImage", (BioImage,), {})
    module.BioImage = stand_in
    monkeypatch.setitem(sys.modules, "bioio", module)
    return stand_in


@pytest.fixture
def czi(tmp_path: Path) -> Path:
    path = tmp_path / "a.CZI"
    path.write_bytes(b"ZISRAWFILE")
    return path


def test_pixels_and_metadata(bioio, czi):
    image = open_image(czi)
    assert (image.axes, image.array.shape) == ("TCZYX", PIXELS.shape)
    assert image.pixel_size == {"Z": 0.3, "Y": 0.1, "X": 0.1}
    assert (image.channels, image.interval) == (("DNA", "actin", "dirt"), 2.0)
    assert np.array_equal(image.array[1, 2, 1:3, 5], PIXELS[1, 2, 1:3, 5])
    assert np.array_equal(read(czi).array, PIXELS)
    assert list_images([czi.parent]) == [czi]


def test_axes_of_length_1_are_dropped(bioio, czi):
    bioio.pixels = PIXELS[:1, 1:2]
    bioio.sizes = Sizes(None, 0.0, 0.2)
    image = open_image(czi)
    assert (image.axes, image.pixel_size, image.interval) == ("ZYX", {"X": 0.2}, None)
    assert image.channels == ("DNA",)
    assert np.array_equal(image.array[:, 3:9], PIXELS[0, 1, :, 3:9])
    assert open_image(czi, axes="TYX").axes == "TYX"


def test_units_that_the_plugin_states(bioio, czi):
    bioio.unit, bioio.interval = "nanometer", 4.0
    image = open_image(czi)
    assert image.pixel_size == pytest.approx({"Z": 3e-4, "Y": 1e-4, "X": 1e-4})
    assert image.interval is None  # 4 nanometres are no time


def test_a_file_of_several_images(bioio, tmp_path):
    (tmp_path / "a.lif").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"got 2 \(Series 1, Series 2\); name one, such as .*#0"):
        open_image(tmp_path / "a.lif")
    second = tmp_path / "a.lif#1"
    assert np.array_equal(open_image(second).array[0], PIXELS[0] * 2)
    assert list_images([second]) == [second]
    assert list_images([tmp_path]) == [tmp_path / "a.lif#0", second]
    assert np.array_equal(open_image(tmp_path / "a.lif#Series 2").array[1], PIXELS[1] * 2)
    with pytest.raises(ValueError, match="one of the images 0 to 1, got 5"):
        open_image(tmp_path / "a.lif#5")


def test_colour_images_are_refused(bioio, czi):
    bioio.dims = SimpleNamespace(order="TCZYXS")
    bioio.pixels = np.zeros((1, 1, 1, 20, 30, 3), np.uint8)
    with pytest.raises(ValueError, match="got YXS, a colour image"):
        open_image(czi)


@pytest.mark.parametrize(
    ("name", "what", "package"),
    [("a.czi", "bioio", "bioio-czi"), ("a.nd2", "plug-in", "bioio-nd2")],
)
def test_packages_that_are_not_installed(bioio, monkeypatch, tmp_path, name, what, package):
    (tmp_path / name).write_bytes(b"x")
    if what == "bioio":
        monkeypatch.setitem(sys.modules, "bioio", None)
    message = rf"expected .*{what} .*pip install 'microscopygan\[vendor\]' {package}$"
    with pytest.raises(ValueError, match=message) as caught:
        open_image(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_a_plugin_raises_is_one_line(bioio, czi, monkeypatch):
    def fail(self: BioImage, *args: object) -> None:
        raise RuntimeError("corrupt\nsegment")

    image = open_image(czi)
    monkeypatch.setattr(bioio, "__init__", fail)
    with pytest.raises(ValueError, match=r"a\.CZI: .*damaged.*\(corrupt segment\)"):
        open_image(czi)
    with pytest.raises(ValueError, match=r"a\.CZI: .*damaged ones \(corrupt segment\)"):
        image.array[0]
