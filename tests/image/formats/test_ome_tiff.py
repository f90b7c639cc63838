"""Images of several files and several images of one file."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from microscopygan.image.formats import (
    Image,
    contents,
    list_images,
    open_image,
    output_name,
    read,
    write,
)

RNG = np.random.default_rng(0)
PLANES = RNG.integers(0, 4000, (3, 2, 40, 50), dtype=np.uint16)  # T, C
NAMES = [[f"exp_t{t}_c{c}.tif" for c in range(2)] for t in range(3)]


def xml(uuid: str, planes: str, lengths: tuple[int, int] = (3, 2), name: str = "") -> bytes:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">'
        f'<Image ID="Image:0" Name="{name}"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        f'Type="uint16" SizeX="50" SizeY="40" SizeZ="1" SizeC="{lengths[1]}" SizeT="{lengths[0]}" '
        'PhysicalSizeX="0.2" PhysicalSizeY="0.2"><Channel ID="Channel:0:0" Name="DAPI"/>'
        f'<Channel ID="Channel:0:1" Name="GFP"/>{planes}</Pixels></Image></OME>'
    )
    return text.encode()


def planes_of(names: list[list[str]]) -> str:
    return "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{t}{c}</UUID></TiffData>'
        for t, row in enumerate(names)
        for c, name in enumerate(row)
    )


def write_set(folder: Path, *, companion: bool = False, times: int = 3, name: str = "") -> None:
    """Write a file for each plane, each with all of the XML or with the name of a companion."""
    only = (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        b'<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:9"/></OME>'
    )
    if companion:
        (folder / "set.companion.ome").write_bytes(xml("urn:uuid:9", planes_of(NAMES)))
    for t in range(times):
        for c in range(2):
            text = only if companion else xml(f"urn:uuid:{t}{c}", planes_of(NAMES), name=name)
            tifffile.imwrite(
                folder / NAMES[t][c],
                PLANES[t, c],
                **{"photometric": "minisblack", "metadata": None, "description": text},
            )


@pytest.mark.parametrize("companion", [False, True])
def test_a_set_of_files_is_one_image(tmp_path, companion):
    write_set(tmp_path, companion=companion)
    write(tmp_path / "other.tif", Image(PLANES[0, 0], "YX"))
    listed = list_images([tmp_path])
    assert len(listed) == 2
    assert list_images([str(tmp_path / "exp*.tif")]) == [tmp_path / NAMES[0][0]]
    assert output_name(listed[0]) == ("set.ome.tif" if companion else "exp.ome.tif")
    named = [tmp_path / NAMES[1][1], *([tmp_path / "set.companion.ome"] if companion else [])]
    for path in (listed[0], *named):
        image = open_image(path)
        assert (image.axes, image.pixel_size) == ("TCYX", {"Y": 0.2, "X": 0.2})
        assert image.channels == ("DAPI", "GFP")
        assert f"lies in {7 if companion else 6} files" in image.notes[0]
        assert np.array_equal(image.array[...], PLANES)
        assert np.array_equal(image.array[1:, 1, 5:9, ::3], PLANES[1:, 1, 5:9, ::3])


def test_one_file_of_a_set_alone(tmp_path):
    write_set(tmp_path)
    path = tmp_path / NAMES[2][1]
    image = open_image(path, this_file=True)
    assert (image.axes, image.channels, image.notes) == ("YX", ("GFP",), ())
    assert np.array_equal(image.array[...], PLANES[2, 1])
    assert output_name(path, this_file=True) == path.name
    assert len(list_images([tmp_path], sets=False)) == 6


def test_a_set_is_named_as_its_image(tmp_path):
    write_set(tmp_path, name="embryo 3")
    assert contents(tmp_path / NAMES[0][1]).name == "embryo 3"


def test_a_set_that_was_stopped_early_gives_its_complete_time_points(tmp_path):
    write_set(tmp_path)
    (tmp_path / NAMES[2][1]).unlink()
    image = open_image(tmp_path / NAMES[0][0])
    assert np.array_equal(image.array[...], PLANES[:2])
    assert image.notes[0].startswith("Only 2 of the 3 time points")
    assert "1 planes of the next one are left out" in image.notes[0]


def test_a_plane_that_is_lost_in_between_is_missing(tmp_path):
    write_set(tmp_path)
    (tmp_path / NAMES[1][0]).unlink()
    with pytest.raises(ValueError, match="1 of 6 planes are missing"):
        open_image(tmp_path / NAMES[0][0])


def test_a_companion_that_is_missing(tmp_path):
    write_set(tmp_path, companion=True)
    (tmp_path / "set.companion.ome").unlink()
    path = tmp_path / NAMES[0][0]
    with pytest.raises(ValueError, match=r"expected its companion set\.companion\.ome beside"):
        open_image(path)
    assert np.array_equal(open_image(path, this_file=True).array[...], PLANES[0, 0])


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("lost", ["set.companion.ome", NAMES[1][1]])
def test_pipes_in_the_place_of_files_of_a_set_are_missing(tmp_path, lost):
    write_set(tmp_path, companion=True)
    (tmp_path / lost).unlink()
    os.mkfifo(tmp_path / lost)
    said = "expected its companion" if "companion" in lost else "1 of 6 planes are missing"
    with pytest.raises(ValueError, match=said):
        open_image(tmp_path / NAMES[0][0])


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/passwd", "..\\secret.tif"])
def test_files_outside_of_the_folder_are_not_opened(tmp_path, name):
    text = xml("urn:uuid:00", planes_of([[NAMES[0][0], name]]), lengths=(1, 2))
    settings = {"photometric": "minisblack", "metadata": None, "description": text}
    tifffile.imwrite(tmp_path / NAMES[0][0], PLANES[0, 0], **settings)
    with pytest.raises(ValueError, match="expected all files of an image in one folder"):
        open_image(tmp_path / NAMES[0][0])


def test_a_file_that_was_renamed_is_itself(tmp_path):
    text = xml("urn:uuid:00", planes_of([["before.tif"]]), lengths=(1, 1))
    settings = {"photometric": "minisblack", "metadata": None, "description": text}
    tifffile.imwrite(tmp_path / "after.tif", PLANES[0, 0], **settings)
    assert np.array_equal(open_image(tmp_path / "after.tif").array[...], PLANES[0, 0])
    assert list_images([tmp_path]) == [tmp_path / "after.tif"]


@pytest.mark.parametrize("ome", [False, True])
def test_several_images_of_one_file(tmp_path, ome):
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    with tifffile.TiffWriter(path, ome=ome) as writer:
        for k, name in enumerate(("left", "right")):
            about = {"Name": name, "axes": "YX", "PhysicalSizeX": k + 0.5} if ome else None
            writer.write(PLANES[k, 0, k:], photometric="minisblack", metadata=about)
    listed = list_images([tmp_path])
    assert [p.name for p in listed] == [f"{path.name}#0", f"{path.name}#1"]
    assert [output_name(p) for p in listed] == ["a_0.ome.tif", "a_1.ome.tif"]
    for k, one in enumerate(listed):
        assert np.array_equal(read(one).array, PLANES[k, 0, k:])
    if ome:
        image = read(f"{path}#right")
        assert (image.pixel_size, image.details["name"]) == ({"X": 1.5}, "right")
        assert np.array_equal(image.array, PLANES[1, 0, 1:])
    with pytest.raises(ValueError, match=r"expected one image, got 2 .* such as .*#0"):
        read(path)
    with pytest.raises(ValueError, match="expected one of the images 0 to 1, got 2"):
        read(f"{path}#2")


def test_spare_planes_are_a_question_whose_answer_is_taken(tmp_path):
    stack = PLANES.reshape(6, 40, 50)[:5]
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack[:4].reshape(2, 2, 40, 50), ome=True, metadata={"axes": "TZYX"})
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata
    settings = {"photometric": "minisblack", "metadata": None, "description": text.encode()}
    tifffile.imwrite(path, stack, **settings)
    with pytest.raises(ValueError, match=r"expected 4 planes .*, got 5; give --axes ZYX"):
        open_image(path)
    for axes in ("ZYX", "TYX"):
        assert np.array_equal(open_image(path, axes=axes).array[...], stack)


def test_the_same_image_gives_the_same_bytes(tmp_path):
    """Whenever and wherever it is written: a UUID of tifffile's own holds time and address."""
    image = Image(PLANES, "TCYX", {"Y": 0.1, "X": 0.1}, channels=("DNA", "actin"))
    written = [write(tmp_path / f"{k}" / "a.ome.tif", image).read_bytes() for k in range(2)]
    assert written[0] == written[1]
    other = write(tmp_path / "b.ome.tif", Image(PLANES, "TCYX", {"Y": 0.2, "X": 0.2}))
    assert uuid(other.read_bytes()) != uuid(written[0])


def uuid(content: bytes) -> bytes:
    return re.search(rb'UUID="urn:uuid:([0-9a-f-]{36})"', content)[1]
