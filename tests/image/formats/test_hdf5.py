"""HDF5: datasets by name, Imaris, BigDataViewer and ilastik, as these programs lay them out."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microscopygan.image.formats import hdf5, list_images, open_image, output_name, read

h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install microscopygan[hdf5]")

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (5, 40, 50), dtype=np.uint16)
MOVIE = RNG.integers(0, 4000, (2, 3, 5, 40, 50), dtype=np.uint16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


def test_the_one_image_of_a_file(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("some/where", data=STACK, chunks=(2, 16, 16), compression="gzip")
        file["some/where"].attrs["element_size_um"] = [0.3, 0.1, 0.2]
        file["times"], file["texts"] = np.arange(5.0), np.array([[b"a", b"b"]])
    image = open_image(path, axes="ZYX")
    assert (image.axes, image.source, image.notes) == ("ZYX", path, ())
    assert image.pixel_size == {"Z": 0.3, "Y": 0.1, "X": 0.2}
    assert np.array_equal(image.array[1:4:2, 5:30, ::3], STACK[1:4:2, 5:30, ::3])
    assert np.array_equal(read(path).array, STACK)
    assert (list_images([path.parent]), output_name(path)) == ([path], "a.ome.tif")
    with pytest.raises(ValueError, match="give --axes ZYX, TYX or CYX"):
        open_image(path)


def test_one_of_several_by_name_or_number(path):
    with h5py.File(path, "w") as file:
        file["raw"], file["more/mask"] = STACK[0] * 2, STACK[0]
    with pytest.raises(ValueError, match=r"got 2 \(more/mask, raw\); name one, such as .*a\.h5#0"):
        open_image(path)
    for part in ("1", "raw", "/raw"):
        assert np.array_equal(open_image(f"{path}#{part}").array[...], STACK[0] * 2)
    assert list_images([path]) == [Path(f"{path}#0"), Path(f"{path}#1")]
    assert output_name(Path(f"{path}#more/mask")) == "a_more_mask.ome.tif"


@pytest.mark.parametrize(
    ("shape", "keys", "axes"),
    [((2, 5, 40, 50, 1), "tzyxc", "TZYX"), ((40, 50, 3), "yxc", "YXC"), ((1, 40, 50), "zyx", "YX")],
)
def test_axes_by_the_tags_of_ilastik(path, shape, keys, axes):
    array = RNG.random(shape).astype(np.float32)
    with h5py.File(path, "w") as file:
        tags = {"axes": [{"key": key, "typeFlags": 2, "resolution": 0} for key in keys]}
        file["exported_data"] = array
        file["exported_data"].attrs["axistags"] = json.dumps(tags)
    image = open_image(path)
    assert image.axes == axes
    assert np.array_equal(image.array[...], array.reshape(image.array.shape))


def test_axes_by_the_labels_of_dimensions(path):
    with h5py.File(path, "w") as file:
        file["a"] = STACK
        for dimension, letter in zip(file["a"].dims, "tyx", strict=True):
            dimension.label = letter
    assert open_image(path).axes == "TYX"


def letters(text: str) -> np.ndarray:
    return np.array([letter.encode() for letter in text], "S1")


def imaris(path: Path, array: np.ndarray = MOVIE, **changes: str) -> Path:
    """Write TCZYX pixels as Imaris does: in padded blocks, all attributes as single letters."""
    times, channels, *size = array.shape
    about = {f"ExtMin{k}": str(-10.0 * k) for k in range(3)}
    steps = (0.1, 0.2, 0.5)
    about |= {f"ExtMax{k}": str(-10.0 * k + n * steps[k]) for k, n in enumerate(reversed(size))}
    about |= {"Unit": "um", "Name": "cells", "Description": "live", "RecordingDate": "2024-05-06"}
    groups: dict[str, dict[str, str]] = {"DataSetInfo/Image": about | changes}
    for k in range(channels):
        colour = {"Color": f"{int(k == 0)}.000 0.500 0.000", "LSMEmissionWavelength": str(500 + k)}
        groups[f"DataSetInfo/Channel {k}"] = {"Name": f"dye {k}", **colour}
    stamps = {f"TimePoint{k + 1}": f"2024-05-06 10:00:{5 * k:02d}.500" for k in range(times)}
    groups["DataSetInfo/TimeInfo"] = stamps
    with h5py.File(path, "w") as file:
        for t, c in np.ndindex(times, channels):
            name = f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}"
            padded = np.pad(array[t, c], [(0, -n % 8) for n in size])
            file.create_dataset(f"{name}/Data", data=padded, chunks=(8, 8, 8), compression="gzip")
            groups[name] = {f"ImageSize{a}": str(n) for a, n in zip("ZYX", size, strict=True)}
        file.create_dataset("DataSet/ResolutionLevel 1/TimePoint 0/Channel 0/Data", data=STACK)
        for name, values in groups.items():
            for key, value in values.items():
                file.require_group(name).attrs[key] = letters(value)
    return path


def test_imaris(tmp_path):
    path = imaris(tmp_path / "a.ims")
    image = open_image(path)
    assert (image.axes, image.array.shape) == ("TCZYX", MOVIE.shape)
    assert np.array_equal(image.array[...], MOVIE)
    assert np.array_equal(image.array[1, ::2, 2, 5:9], MOVIE[1, ::2, 2, 5:9])
    assert image.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.2, "X": 0.1})
    assert image.origin == pytest.approx({"X": 0.05, "Y": -9.9, "Z": -19.75})
    assert (image.channels, image.interval) == (("dye 0", "dye 1", "dye 2"), 5.0)
    assert image.details["channels"][0] == {"color": "FF8000", "emission": 500.0}
    assert image.details["name"] == "cells"
    assert (image.details["description"], image.details["acquired"]) == ("live", "2024-05-06")
    assert (list_images([path]), output_name(path)) == ([path], "a.ome.tif")


def test_imaris_of_one_channel_in_other_units(tmp_path):
    path = imaris(tmp_path / "a.ims", MOVIE[:1, :1], Unit="nm")
    image = open_image(path)
    assert (image.axes, image.channels, image.interval) == ("ZYX", ("dye 0",), None)
    assert image.pixel_size == pytest.approx({"Z": 5e-4, "Y": 2e-4, "X": 1e-4})
    assert np.array_equal(read(path).array, MOVIE[0, 0])


def test_imaris_that_lacks_a_channel(tmp_path):
    path = imaris(tmp_path / "a.ims")
    with h5py.File(path, "r+") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 2"]
    with pytest.raises(ValueError, match=r"a\.ims: expected .*TimePoint 1/Channel 2/Data in the"):
        open_image(path)


def test_big_data_viewer(path):
    with h5py.File(path, "w") as file:
        for t, s in np.ndindex(2, 3):
            file[f"t{t:05d}/s{s:02d}/0/cells"] = (MOVIE[t, s] * 16).view(np.int16)
            file[f"t{t:05d}/s{s:02d}/1/cells"] = STACK.view(np.int16)
            file.require_group(f"s{s:02d}").attrs["resolutions"] = np.ones((2, 3))
    path.with_suffix(".xml").write_text(
        "<SpimData><SequenceDescription><ViewSetups><ViewSetup><id>1</id><name>angle 1</name>"
        "<voxelSize><unit>nm</unit><size>100.0 200.0 500.0</size></voxelSize></ViewSetup>"
        "</ViewSetups></SequenceDescription></SpimData>"
    )
    assert list_images([path]) == [Path(f"{path}#{k}") for k in range(3)]
    image = open_image(f"{path}#s01")
    assert (image.axes, image.array.dtype) == ("TZYX", np.uint16)
    assert np.array_equal(image.array[...], MOVIE[:, 1] * 16)
    assert image.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.2, "X": 0.1})
    assert image.details == {"name": "angle 1"}
    assert open_image(f"{path}#0").pixel_size == {}


def test_chunks_that_are_missing_are_counted(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (64, 64), "u2", chunks=(16, 64))[:16] = 7
    image = open_image(path)
    assert image.notes == ("3 chunks of the image are not there: read as 0.",)
    assert image.array[...].sum() == 7 * 16 * 64


def external(file: Any, path: Path) -> None:
    file.create_dataset("a", (9, 9), "u1", external=[(str(path), 0, 81)])


def virtual(file: Any, path: Path) -> None:
    layout = h5py.VirtualLayout((9, 9), "u1")
    layout[...] = h5py.VirtualSource(str(path), "a", (9, 9))
    file.create_virtual_dataset("a", layout)


def linked(file: Any, path: Path) -> None:
    file["a"] = h5py.ExternalLink(str(path), "a")


def never_written(file: Any, path: Path) -> None:
    file.create_dataset("a", (10**6, 10**6), "u2", chunks=(10**3, 10**3))


def huge_chunks(file: Any, path: Path) -> None:
    file.create_dataset("a", (50_000, 30_000), "u1", chunks=(50_000, 30_000), compression="gzip")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (external, "the pixels of a in the file itself, got some in other files"),
        (virtual, "the pixels of a in the file itself, got some in other files"),
        (linked, "a dataset of 2 to 5 dimensions, got none"),
        (never_written, "got next to none on the disk"),
        (huge_chunks, r"chunks of at most 1\.1 GB, which are decoded at once, got 1\.5 GB"),
    ],
)
def test_what_leads_elsewhere_or_fills_the_memory_is_refused(tmp_path, path, make, said):
    with h5py.File(tmp_path / "b.h5", "w") as other:
        other["a"] = np.ones((9, 9), np.uint8)
    with h5py.File(path, "w") as file:
        make(file, tmp_path / "b.h5")
    with pytest.raises(ValueError, match=rf"a\.h5: expected .*{said}"):
        open_image(path)


def test_a_chunk_that_would_be_decoded_to_far_more_is_refused(path, monkeypatch):
    monkeypatch.setattr(hdf5, "_SMALL", 2**20)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", data=STACK[0], chunks=(20, 50), compression="gzip")
        dataset.id.write_direct_chunk((20, 0), zlib.compress(bytes(10**7)))
    image = open_image(path)
    assert np.array_equal(image.array[:20], STACK[0, :20])
    with pytest.raises(ValueError, match=r"a chunk of 2000 bytes would be decoded to far more"):
        image.array[...]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_is_one_line(path, part):
    with h5py.File(path, "w") as file:
        file["a"] = STACK[0]
    path.write_bytes(path.read_bytes()[: max(int(part * path.stat().st_size), 1)])
    with pytest.raises(ValueError, match=r"^\S+a\.h5: expected an image .*damaged") as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_chunk_is_one_line(path):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", data=STACK[0], chunks=(40, 50), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), b"no stream at all")
    with pytest.raises(ValueError, match=r"^\S+a\.h5: expected whole pixels, got damaged ones"):
        read(path)
