"""OIB, OIF, OIR: stand-ins with the interface of oiffile 2026.2.8 and oirfile 2026.10.22."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace

import numpy as np
import pytest

from microscopygan.image.formats import list_images, open_image, output_name, read

MOVIE = np.random.default_rng(0).integers(0, 999, (2, 3, 4, 20, 30), dtype=np.uint16)


class File:
    """What is used of both packages."""

    array, warned_at = MOVIE, ""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self._warn("opening")

    def _warn(self, when: str) -> None:
        if self.warned_at == when:
            logging.getLogger("oirfile").warning("%r appears truncated", self.filename)

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype


class OirFile(File):
    """TZCYX, or other dimensions."""

    dims = ("T", "Z", "C", "Y", "X")
    coord_scales = MappingProxyType({"T": 2.5, "Z": 0.5, "Y": 0.1, "X": 0.2})
    coords = MappingProxyType({"C": np.array(["CH1", "CH2", "TD"])})
    channels = ()
    array = MOVIE.swapaxes(1, 2)
    companion_files = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def asarray(self, *, out: str) -> np.ndarray:
        assert out == "memmap"
        self._warn("reading")
        return self.array


class Series:
    """Planes in the order of the letters in their names."""

    def __init__(self, shape: tuple[int, ...], number: int) -> None:
        self.axes, self.shape, self._number = "CZT", shape, number

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[str]:
        return iter(f"s_{k}.tif" for k in range(self._number))


class OifFile(File):
    """CZTYX, which is not the order that the settings state."""

    axes, lost = "TZCYX", 0

    @property
    def stored(self) -> np.ndarray:
        return self.array.transpose(1, 2, 0, 3, 4)

    @property
    def series(self) -> tuple[Series, ...]:
        shape = self.stored.shape[:3]
        return (Series(shape, int(np.prod(shape)) - self.lost), Series((1,), 1))

    def asarray(self, series: object = 0, *, out: str | None = None) -> np.ndarray:
        return self.array[0, 0, 0] if isinstance(series, str) else self.stored

    @property
    def mainfile(self) -> dict[str, dict[str, object]]:
        axes = [("X", 45.0, "um"), ("Y", 45.0, "um"), ("C", 3.0, "Ch"), ("Z", -1500.0, "nm")]
        axes += [("T", 2000.0, "ms")]
        settings: dict[str, dict[str, object]] = {
            f"Axis {k} Parameters Common": {
                "AxisCode": code,
                "StartPosition": 0.0,
                "EndPosition": end,
                "PixUnit": unit,
            }
            for k, (code, end, unit) in enumerate(axes)
        }
        settings |= {f"Channel {k} Parameters": {"CH Name": f"CH{k}"} for k in (1, 2, 3)}
        width = {"WidthConvertValue": 0.2, "WidthUnit": "um"}
        height = {"HeightConvertValue": 0.1, "HeightUnit": "um"}
        return settings | {"Reference Image Parameter": width | height}


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace()
    for name, kind in (("oirfile", OirFile), ("oiffile", OifFile)):
        module = ModuleType(name)
        stand_in = type(kind.__name__, (kind,), {})
        setattr(module, kind.__name__, stand_in)
        setattr(found, name, stand_in)
        monkeypatch.setitem(sys.modules, name, module)
    return found


def file(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(b"OLYMPUSRAWFORMAT")
    return path


@pytest.mark.parametrize(
    ("name", "axes", "interval"),
    [("a.OIR", "TZCYX", 2.5), ("a.oib", "CZTYX", 2.0), ("a.oif", "CZTYX", 2.0)],
)
def test_pixels_and_metadata(packages, tmp_path, name, axes, interval):
    path = file(tmp_path, name)
    image = open_image(path)
    assert (image.axes, image.channels) == (
        axes,
        ("CH1", "CH2", "TD") if "OIR" in name else ("CH1", "CH2", "CH3"),
    )
    assert image.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.1, "X": 0.2})
    assert image.interval == pytest.approx(interval)
    expected = MOVIE.transpose(["TCZYX".index(letter) for letter in axes])
    assert np.array_equal(image.array[1, ::2, 1, 5:9], expected[1, ::2, 1, 5:9])
    assert np.array_equal(read(path).array, expected)
    assert (list_images([tmp_path]), output_name(path)) == ([path], "a.ome.tif")


def test_one_plane_of_one_channel(packages, tmp_path):
    packages.oirfile.array, packages.oirfile.coords = MOVIE[:1, :1, :1], {}
    packages.oirfile.channels = (SimpleNamespace(name="only"),)
    image = open_image(file(tmp_path, "a.oir"))
    assert (image.axes, image.channels, image.interval) == ("YX", ("only",), None)
    packages.oiffile.array = MOVIE[:1, :1]
    image = open_image(file(tmp_path, "b.oib"))
    assert (image.axes, image.channels) == ("ZYX", ("CH1",))
    assert image.pixel_size["Z"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "dims", [("T", "L", "C", "Y", "X"), ("T", "Z", "S", "Y", "X"), ("T", "Z", "C", "Q", "X")]
)
def test_colours_spectra_and_lines_are_refused(packages, tmp_path, dims):
    packages.oirfile.dims = dims
    with pytest.raises(ValueError, match=r"a\.oir: expected grey values .*export it as OME-TIFF"):
        open_image(file(tmp_path, "a.oir"))


@pytest.mark.parametrize("when", ["opening", "reading"])
def test_what_the_package_fills_up_is_an_error(packages, tmp_path, when):
    packages.oirfile.warned_at = when
    with pytest.raises(ValueError, match=r"^\S+a\.oir: expected .* damaged .*appears truncated"):
        read(file(tmp_path, "a.oir"))


def test_planes_that_are_missing_are_an_error(packages, tmp_path):
    packages.oiffile.lost = 1
    with pytest.raises(ValueError, match=r"a\.oib: .*it has 23 of 24 planes"):
        open_image(file(tmp_path, "a.oib"))


def test_a_size_that_is_not_on_the_disk_is_refused(packages, tmp_path):
    packages.oirfile.array = np.broadcast_to(np.uint16(1), (2, 3, 4, 10**5, 10**5))
    with pytest.raises(ValueError, match=r"a\.oir: expected pixels .* next to none on the disk"):
        open_image(file(tmp_path, "a.oir"))


@pytest.mark.parametrize(
    ("name", "package"), [("a.oir", "oirfile"), ("a.oib", "oiffile"), ("a.oif", "oiffile")]
)
def test_packages_that_are_not_installed(monkeypatch, tmp_path, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ValueError, match=rf"expected {package} .*microscopygan\[vendor\]"
    ) as caught:
        open_image(file(tmp_path, name))
    assert str(caught.value).endswith(
        "export it as OME-TIFF from FluoView, or by bfconvert of Bio-Formats"
    )
    assert ("Python 3.12" in str(caught.value)) == (package == "oirfile")
