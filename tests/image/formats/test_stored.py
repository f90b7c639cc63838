"""Images that lie in several datasets: which of them a region is read from, and what names it."""

from pathlib import Path

import numpy as np
import pytest

from microscopygan.image.formats import Request
from microscopygan.image.formats.stored import Pixels, Stored, image_of, view_setup
from microscopygan.image.lazy import Slices

MOVIE = np.random.default_rng(0).integers(0, 4000, (2, 3, 1, 20, 30), dtype=np.uint16)
DATASETS = {f"t{t}c{c}": MOVIE[t, c] for t, c in np.ndindex(2, 3)}


class InMemory(Pixels):
    """Datasets by name."""

    read: tuple[str, ...] = ()

    def region(self, name: str, region: Slices) -> np.ndarray:
        type(self).read += (name,)
        return DATASETS[name][region]


def stored(**changes: object) -> Stored:
    about = {"names": tuple(DATASETS), "shape": MOVIE.shape, "lead": 2, "axes": "TCZYX"}
    return Stored(Path("a.h5"), dtype=MOVIE.dtype, **about | changes)


def test_a_region_is_read_from_the_datasets_that_hold_it(monkeypatch):
    monkeypatch.setattr(InMemory, "read", ())
    image = image_of(stored(), Request(), InMemory, chunks=(1, 1, 1, 10, 30))
    assert (image.axes, image.array.chunks) == ("TCYX", (1, 1, 10, 30))
    assert np.array_equal(image.array[1, ::2, 3:9, ::4], MOVIE[1, ::2, 0, 3:9, ::4])
    assert InMemory.read == ("t1c0", "t1c2")


def test_a_part_is_named(monkeypatch):
    image = image_of(stored(), Request(part="/one/"), InMemory)
    assert image.source == Path("a.h5#one")


@pytest.mark.parametrize(
    ("details", "kept"),
    [([{"color": "FF0000"}] * 3, 3), ([{"color": "FF0000"}] * 2, 0), ([], 0)],
)
def test_channels_are_described_where_their_number_fits(details, kept):
    image = image_of(stored(details={"channels": details}), Request(), InMemory)
    assert len(image.details.get("channels", ())) == kept


def test_axes_that_are_given_win(monkeypatch):
    one = stored(channels=("a", "b", "c"), sizes={"Z": 1.0, "Y": 0.5, "X": 0.5})
    image = image_of(one, Request(axes="TZYX"), InMemory)
    assert (image.axes, image.channels) == ("TZYX", ())
    assert image_of(one, Request(), InMemory).channels == ("a", "b", "c")


@pytest.mark.parametrize("unit", ["µm", "um", "micrometer", "nm"])
def test_a_setup_of_big_data_viewer(tmp_path, unit):
    (tmp_path / "a.xml").write_text(
        "<SpimData><ViewSetup><id>0</id></ViewSetup><ViewSetup><id>4</id><name>side</name>"
        f"<voxelSize><unit>{unit}</unit><size>100 200 500</size></voxelSize></ViewSetup></SpimData>"
    )
    factor = 1e-3 if unit == "nm" else 1
    name, sizes = view_setup(tmp_path / "a.n5", 4)
    assert name == "side"
    assert sizes == pytest.approx({"X": 100 * factor, "Y": 200 * factor, "Z": 500 * factor})
    assert view_setup(tmp_path / "a.n5", 7) == (None, {})
    assert view_setup(tmp_path / "b.n5", 4) == (None, {})
