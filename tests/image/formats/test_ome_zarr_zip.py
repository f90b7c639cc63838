"""OME-Zarr in one ZIP file: as the folder that it is made of, in the order that RFC 9 asks for."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from microscopygan.image.formats import (
    Image,
    create,
    list_images,
    missing_chunks,
    open_image,
    output_name,
    read,
    unfinished,
    write,
)

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (3, 40, 50), dtype=np.uint16)
IMAGE = Image(STACK, "ZYX", {"Z": 0.3, "Y": 0.1, "X": 0.1}, None, ("DNA",), None, {"by": "me"})


@pytest.mark.parametrize("name", ["a.ozx", "a.ome.zarr.zip"])
@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_all_that_is_known_survives(tmp_path, name, ngff):
    path = tmp_path / name
    with create(path, IMAGE.header, ngff=ngff, chunks=(1, 16, 50)) as target:
        target.array[...] = STACK
    assert [one.name for one in tmp_path.iterdir()] == [name]
    for again in (read(path), open_image(path)):
        assert (again.axes, again.source, again.channels) == ("ZYX", path, ("DNA",))
        assert np.array_equal(again.array[...], STACK)
        assert again.pixel_size == IMAGE.pixel_size
        assert again.provenance == IMAGE.provenance
        assert missing_chunks(again) == 0
    assert (list_images([tmp_path]), output_name(path)) == ([path], name)


def test_metadata_come_first_and_nothing_is_compressed_twice(tmp_path):
    paths = [write(tmp_path / f"{k}/a.ozx", IMAGE) for k in range(2)]
    with zipfile.ZipFile(paths[0]) as file:
        names = file.namelist()
        assert names[:2] == ["zarr.json", "0/zarr.json"]
        assert not any(name.endswith("zarr.json") for name in names[2:])
        assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_STORED}
        about = json.loads(file.comment)["ome"]
    assert about == {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("folder", [True, False], ids=["with its folder", "without"])
def test_files_that_other_programs_packed(tmp_path, folder):
    write(tmp_path / "x/a.zarr", IMAGE)
    inner = {"root_dir": tmp_path / "x", "base_dir": "a.zarr"} if folder else {}
    shutil.make_archive(tmp_path / "a.zarr", "zip", **inner or {"root_dir": tmp_path / "x/a.zarr"})
    image = open_image(tmp_path / "a.zarr.zip")
    assert np.array_equal(image.array[1], STACK[1])
    assert (image.pixel_size, missing_chunks(image)) == (IMAGE.pixel_size, 0)


def packed(tmp_path: Path, **images: Image) -> Path:
    for name, image in images.items():
        write(tmp_path / "x" / name, image)
        (tmp_path / "x" / name).rename(tmp_path / "x" / name.removesuffix(".zarr"))
    (tmp_path / "x/zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    return Path(shutil.make_archive(tmp_path / "a.zarr", "zip", tmp_path / "x"))


def test_one_of_several(tmp_path):
    path = packed(tmp_path, **{"p.zarr": IMAGE, "q.zarr": Image(STACK * 2, "ZYX")})
    assert list_images([path]) == [Path(f"{path}#0"), Path(f"{path}#1")]
    for part in ("1", "q"):
        image = open_image(f"{path}#{part}")
        assert np.array_equal(image.array[...], STACK * 2)
        assert image.source == Path(f"{path}#{part}")
        assert missing_chunks(image) == 0
    assert output_name(Path(f"{path}#q")) == "a_q.ome.tif"
    with pytest.raises(ValueError, match="expected one image, got 2"):
        open_image(path)


def test_what_is_missing_is_counted(tmp_path):
    write(tmp_path / "a.zarr", IMAGE)
    shutil.rmtree(tmp_path / "a.zarr/0/c")
    shutil.make_archive(tmp_path / "a.zarr", "zip", tmp_path / "a.zarr")
    assert missing_chunks(open_image(tmp_path / "a.zarr.zip")) == 1


def test_what_would_fill_the_memory_is_refused(tmp_path):
    path = write(tmp_path / "a.ozx", IMAGE)
    for name, said in (("0/c/0/0/0", "damaged ones"), ("0/zarr.json", "an attack or damage")):
        with zipfile.ZipFile(path) as file:
            content = {one: file.read(one) for one in file.namelist()}
        with zipfile.ZipFile(tmp_path / "b.ozx", "w", zipfile.ZIP_DEFLATED) as file:
            for one, whole in content.items():
                file.writestr(one, bytes(10**8) if one == name else whole)
        with pytest.raises(ValueError, match=rf"b\.ozx.*{said}.*") as caught:
            read(tmp_path / "b.ozx")
        assert f"{name} would take 100000000 bytes" in str(caught.value)


def test_what_is_no_zip_is_one_line(tmp_path):
    (tmp_path / "a.ozx").write_bytes(b"no ZIP file")
    with pytest.raises(ValueError, match=r"a\.ozx: expected .*got .*damaged"):
        open_image(tmp_path / "a.ozx")
    path = write(tmp_path / "b.ozx", IMAGE)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"b\.ozx: expected .*got .*damaged"):
        open_image(path)


def write_two_planes(path: Path) -> None:
    with create(path, IMAGE.header) as target:
        target.array[:2] = STACK[:2]
        raise KeyboardInterrupt


def test_an_interrupted_output_is_gone_on_with(tmp_path):
    path = tmp_path / "a.ozx"
    with pytest.raises(KeyboardInterrupt):
        write_two_planes(path)
    assert not path.exists()
    assert unfinished(path) is not None
    with create(path, IMAGE.header, resume=True) as target:
        target.array[2:] = STACK[2:]
    assert np.array_equal(read(path).array, STACK)
    assert [one.name for one in tmp_path.iterdir()] == ["a.ozx"]
    with pytest.raises(FileExistsError):
        write(path, IMAGE)
    write(path, Image(STACK * 2, "ZYX"), overwrite=True)
    assert np.array_equal(read(path).array, STACK * 2)
