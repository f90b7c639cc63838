"""The OME-XML of a bioformats2raw store: read, completed by the images' own words, and copied."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from microscopygan.image.formats import Header, Image, create, list_images, open_image, read, write
from microscopygan.image.formats.bioformats2raw import restated

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (2, 3, 40, 50), dtype=np.uint16)
PIXELS = (
    '<Pixels ID="Pixels:{k}" DimensionOrder="XYCZT" Type="uint16" SizeX="50" SizeY="40" SizeZ="3" '
    'SizeC="2" SizeT="1" PhysicalSizeZ="500.0" PhysicalSizeZUnit="nm">'
)
XML = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">' + "".join(
    f'<Image ID="Image:{k}" Name="field {k}"><AcquisitionDate>2024-05-0{k + 1}</AcquisitionDate>'
    + PIXELS.format(k=k)
    + f'<Channel ID="Channel:{k}:0" Name="DNA" EmissionWavelength="461"/>'
    + f'<Channel ID="Channel:{k}:1" Name="actin" EmissionWavelength="52{k}"/><MetadataOnly/>'
    + "".join(
        f'<Plane TheC="{c}" TheZ="{z}" TheT="0" ExposureTime="{10 * c + z}"/>'
        for z in range(3)
        for c in range(2)
    )
    + "</Pixels></Image>"
    for k in range(2)
) + "</OME>"  # fmt: skip


def store(path: Path, ngff: str, *names: str) -> Path:
    """Write a store of some images as bioformats2raw lays them out."""
    kind = {"0.4": 2, "0.5": 3}[ngff]
    root = zarr.open_group(path, mode="w", zarr_format=kind)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.put({"ome": {"version": "0.5", **layout}} if kind == 3 else layout)
    series = {"series": list(names)}
    ome = root.create_group("OME")
    ome.attrs.put({"ome": {"version": "0.5", **series}} if kind == 3 else series)
    (path / "OME/METADATA.ome.xml").write_text(XML, encoding="utf-8")
    for name in names:
        image = Image(STACK, "CZYX", {"Z": 0.5, "Y": 0.1, "X": 0.1})
        with create(path.parent / "one.zarr", image.header, ngff=ngff) as target:
            target.array[...] = STACK
        (path.parent / "one.zarr").rename(path / name)
    return path


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_what_the_xml_says_of_an_image(tmp_path, ngff):
    path = store(tmp_path / "a.zarr", ngff, "0", "1")
    assert list_images([path]) == [Path(f"{path}#0"), Path(f"{path}#1")]
    image = open_image(f"{path}#1")
    assert image.channels == ("DNA", "actin")
    assert [one["emission"] for one in image.details["channels"]] == [461, 521]
    assert (image.details["name"], image.details["acquired"]) == ("field 1", "2024-05-02")
    assert image.details["planes"]["ExposureTime"] == [0, 1, 2, 10, 11, 12]  # C, then Z
    assert image.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.1, "X": 0.1})


def test_the_one_image_of_a_store(tmp_path):
    path = store(tmp_path / "a.zarr", "0.5", "0")
    image = read(path)
    assert image.details["name"] == "field 0"
    again = read(write(tmp_path / "b.ome.tif", image))
    assert (again.channels, again.details["acquired"]) == (("DNA", "actin"), "2024-05-01")
    assert again.details["planes"]["ExposureTime"] == [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_the_copy_states_what_is_in_the_output(tmp_path, ngff):
    path = store(tmp_path / "a.zarr", ngff, "0", "1")
    for name in ("0", "1"):
        image = open_image(f"{path}#{name}")
        deep = np.repeat(STACK, 5 if name == "1" else 1, axis=1).astype(np.float32)
        size = image.pixel_size | ({"Z": 0.1} if name == "1" else {})
        write(tmp_path / "b.zarr" / name, replace(image, array=deep, pixel_size=size))
    copy = (tmp_path / "b.zarr/OME/METADATA.ome.xml").read_text(encoding="utf-8")
    first = PIXELS.format(k=0).replace("uint16", "float")
    second = PIXELS.format(k=1).replace("uint16", "float").replace('SizeZ="3"', 'SizeZ="15"')
    second = second.replace('Z="500.0"', 'Z="0.1"').replace('"nm"', '"µm"')
    assert copy == XML.replace(PIXELS.format(k=0), first).replace(PIXELS.format(k=1), second)
    attributes = zarr.open_group(tmp_path / "b.zarr/OME", mode="r").attrs
    assert attributes["ome"] == {"version": "0.5", "series": ["0", "1"]}
    again = open_image(f"{tmp_path / 'b.zarr'}#1")
    assert (again.details["name"], again.array.shape) == ("field 1", (2, 15, 40, 50))
    assert list_images([tmp_path / "b.zarr"]) == [Path(f"{tmp_path / 'b.zarr'}#{k}") for k in "01"]


def test_the_copy_of_another_store_is_replaced(tmp_path):
    for number in range(2):
        path = store(tmp_path / f"{number}.zarr", "0.5", "0", "1")
        xml = path / "OME/METADATA.ome.xml"
        xml.write_text(XML.replace("actin", f"dye {number}"), encoding="utf-8")
        write(tmp_path / "b.zarr/0", open_image(f"{path}#0"), overwrite=True)
    assert (tmp_path / "b.zarr/OME/METADATA.ome.xml").read_text(encoding="utf-8").count(
        "dye 1"
    ) == 2


def test_a_store_without_xml(tmp_path):
    path = store(tmp_path / "a.zarr", "0.5", "0", "1")
    (path / "OME/METADATA.ome.xml").unlink()
    image = open_image(f"{path}#0")
    assert "beside" not in image.details
    write(tmp_path / "b.zarr/0", image)
    assert not (tmp_path / "b.zarr/OME").exists()


def test_an_image_that_the_xml_does_not_know():
    assert restated(XML, 2, Header((9, 9), "uint8", "YX")) == XML


def test_damaged_xml_is_one_line(tmp_path):
    path = store(tmp_path / "a.zarr", "0.5", "0", "1")
    (path / "OME/METADATA.ome.xml").write_text("<OME")
    with pytest.raises(ValueError, match=r"a\.zarr.*: expected .*damaged") as caught:
        open_image(f"{path}#0")
    assert "\n" not in str(caught.value)
