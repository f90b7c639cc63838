import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import yaozarrs
import zarr
from fsspec.registry import _registry

from microscopygan.image.formats import (
    Header,
    Image,
    create,
    list_images,
    missing_chunks,
    open_image,
    output_name,
    read,
    write,
)

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (3, 600, 700), dtype=np.uint16)
SIZES = {"Z": 0.3, "Y": 0.1, "X": 0.1}
IMAGE = Image(STACK, "ZYX", SIZES)
VERSIONS = ("0.4", "0.5")


def save(path: Path, image: Image = IMAGE, **blocks: object) -> Path:
    with create(path, image.header, **blocks) as target:
        target.array[...] = image.array
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_every_block_is_on_the_disk(tmp_path, version):
    path = save(tmp_path / "a.zarr", replace(IMAGE, array=STACK * 0), ngff=version)
    assert missing_chunks(open_image(path)) == 0
    image = open_image(path)
    assert image.chunks == (3, 512, 512)
    chunk = path / ("0/c/0/0/1" if version == "0.5" else "0/0/0/1")
    chunk.unlink()
    assert missing_chunks(open_image(path)) == 1
    assert read(path).array.sum() == 0
    assert missing_chunks(replace(image, array=STACK)) == 0


def test_shards_that_are_missing(tmp_path):
    header = Header((600, 700), "uint8", "YX")
    target = create(tmp_path / "a.zarr", header, chunks=(64, 64), shards=(128, 128))
    assert target.blocks == (128, 128)
    with target:
        target.array[:256] = 1
        assert missing_chunks(open_image(tmp_path / "a.zarr.part")) == 3 * 6


@pytest.mark.parametrize("version", VERSIONS)
def test_a_corrupt_chunk_is_one_line_when_it_is_read(tmp_path, version):
    path = save(tmp_path / "a.zarr", ngff=version)
    chunk = path / ("0/c/0/0/1" if version == "0.5" else "0/0/0/1")
    chunk.write_bytes(chunk.read_bytes()[:1000])
    image = open_image(path)
    assert np.array_equal(image.array[:, :, :500], STACK[:, :, :500])
    for reading in (lambda: image.array[0], lambda: read(path)):
        with pytest.raises(ValueError, match=r"a\.zarr: expected whole pixels, got damaged") as e:
            reading()
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("lost", ["0/zarr.json", "zarr.json"])
def test_metadata_that_are_missing(tmp_path, lost):
    path = save(tmp_path / "a.zarr")
    (path / lost).unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=r"a\.zarr: .* no (array )?metadata"):
        open_image(path)


def test_a_level_inside_of_an_image(tmp_path):
    path = save(tmp_path / "a.zarr", replace(IMAGE, channels=("DNA",), provenance={"a": 1}))
    full, half = open_image(path / "0"), open_image(f"{path}/1/")
    assert np.array_equal(full.array[1], STACK[1])
    assert (full.axes, full.pixel_size, full.channels) == ("ZYX", SIZES, ("DNA",))
    assert half.pixel_size == {"Z": 0.3, "Y": 0.2, "X": 0.2}
    assert half.array.shape == (3, 300, 350)
    assert half.provenance == {"a": 1}


def multiscale(path: Path, shape: tuple[int, ...], **entry: object) -> Path:
    """Write an image of Zarr 2 whose metadata are given."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("s0", shape=shape, dtype="u1")
    group.attrs["multiscales"] = [{"datasets": [{"path": "s0"}], **entry}]
    return path


@pytest.mark.parametrize(
    ("entry", "axes"),
    [
        ({"version": "0.1"}, "TCZYX"),
        ({"version": "0.3", "axes": ["t", "c", "z", "y", "x"]}, "TCZYX"),
        ({"axes": [{"name": n, "type": "space"} for n in "zyx"]}, "ZYX"),
        (
            {"axes": [{"name": "frame", "type": "time"}, {"name": "Y"}, {"name": "X"}]},
            "TYX",
        ),
    ],
)
def test_older_versions(tmp_path, entry, axes):
    path = multiscale(tmp_path / "a.zarr", (1,) * (len(axes) - 2) + (8, 9), **entry)
    assert open_image(path).axes == axes


SPACE = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
TIME = [{"name": "t", "type": "time", "unit": "minute"}, *SPACE[1:]]


def scaled(*scales: float) -> dict[str, object]:
    return {"coordinateTransformations": [{"type": "scale", "scale": list(scales)}]}


@pytest.mark.parametrize(
    ("entry", "sizes", "interval"),
    [
        ({"axes": SPACE, **scaled(300, 100, 50)}, {"Z": 0.3, "Y": 0.1, "X": 0.05}, None),
        ({"axes": SPACE, **scaled(0, -1, 50)}, {"Y": 0.001, "X": 0.05}, None),
        ({"axes": SPACE, **scaled(1, 2)}, {a: 0.001 for a in "ZYX"}, None),
        ({"axes": [{"name": n} for n in "zyx"], **scaled(3, 2, 2)}, {}, None),
        ({"axes": TIME, **scaled(2, 100, 100)}, {"Y": 0.1, "X": 0.1}, 120.0),
    ],
)
def test_scales_and_units(tmp_path, entry, sizes, interval):
    image = open_image(multiscale(tmp_path / "a.zarr", (3, 8, 9), **entry))
    assert image.pixel_size == pytest.approx(sizes)
    assert image.interval == interval


@pytest.mark.parametrize(
    ("shape", "entry", "message"),
    [
        ((8, 9), {"axes": SPACE}, r"one axis for each dimension of \(8, 9\), got 'ZYX'"),
        ((3, 8, 9), {"axes": [{"name": n} for n in "qyx"]}, "expected axes of t, c, z, y, x"),
        ((3, 8, 9), {"axes": [{"name": n} for n in "yyx"]}, "expected axes of t, c, z, y, x"),
        ((3, 8, 9), {"datasets": []}, "damaged"),
        ((3, 8, 9), {"datasets": [{"path": 7}]}, "no array metadata"),
        ((3, 8, 9), {"axes": 5}, "damaged"),
    ],
)
def test_axes_that_do_not_fit(tmp_path, shape, entry, message):
    path = multiscale(tmp_path / "a.zarr", shape, **entry)
    with pytest.raises(ValueError, match=message) as caught:
        open_image(path)
    assert str(path) in str(caught.value)


def test_plain_arrays(tmp_path):
    plain = {"shape": (3, 8, 9), "dtype": "u2", "chunks": (1, 8, 9)}
    zarr.create_array(tmp_path / "a.zarr", zarr_format=2, **plain)[:] = 5
    with pytest.raises(ValueError, match=r"\(3, 8, 9\) without names; give --axes ZYX"):
        open_image(tmp_path / "a.zarr")
    assert read(tmp_path / "a.zarr", axes="CYX").axes == "CYX"
    zarr.create_array(tmp_path / "b.zarr", dimension_names=["t", "y", "x"], **plain)
    assert open_image(tmp_path / "b.zarr").axes == "TYX"
    zarr.create_array(tmp_path / "c", zarr_format=2, shape=(8, 9), dtype="f4")
    assert open_image(tmp_path / "c").axes == "YX"
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    group.create_array("only", shape=(8, 9), dtype="u1")
    assert open_image(tmp_path / "g.zarr").axes == "YX"


@pytest.mark.parametrize("plate", [False, True])
def test_a_group_of_images_is_a_question(tmp_path, plate):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    names = ["A/1/0", "A/2/0"] if plate else ["0", "1"]
    if plate:
        group.attrs["ome"] = {"plate": {"wells": [{"path": "A/1"}, {"path": "A/2"}]}}
    for name in names:
        save(tmp_path / "b.zarr", Image(STACK[0, :9, :9], "YX"))
        target = tmp_path / "a.zarr" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b.zarr").rename(target)
    for well in ("A/1", "A/2") if plate else ():
        wells = {"well": {"images": [{"path": "0"}]}}
        zarr.open_group(tmp_path / "a.zarr" / well, mode="a").attrs["ome"] = wells
    with pytest.raises(ValueError, match=rf"a\.zarr: .*2 \({names[0]}, .* such as .*#0$"):
        open_image(tmp_path / "a.zarr")
    assert np.array_equal(read(tmp_path / "a.zarr" / names[1]).array, STACK[0, :9, :9])
    for part in ("1", names[1]):
        assert np.array_equal(read(f"{tmp_path}/a.zarr#{part}").array, STACK[0, :9, :9])


def test_urls(tmp_path):
    save(tmp_path / "a.zarr", replace(IMAGE, channels=("DNA",)))
    fsspec.filesystem("memory").put(str(tmp_path / "a.zarr"), "/bucket/a.zarr", recursive=True)
    for url in ("memory://bucket/a.zarr", (tmp_path / "a.zarr").as_uri()):
        image = open_image(url)
        assert (image.axes, image.pixel_size, image.channels) == ("ZYX", SIZES, ("DNA",))
        assert np.array_equal(image.array[1, 100:600, 30:], STACK[1, 100:600, 30:])
    assert open_image("memory://bucket/a.zarr/1").pixel_size["X"] == 0.2
    assert str(image.source).endswith("a.zarr")


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("memory://bucket/none.zarr", FileNotFoundError, "found no metadata"),
        ("thing://bucket/a.zarr", ValueError, "a URL such as https"),
        ("s3://bucket/a.zarr", ValueError, r"pip install 'microscopygan\[remote\]' s3fs"),
    ],
)
def test_urls_that_cannot_be_read(monkeypatch, url, kind, message):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # where it was used before
    with pytest.raises(kind, match=message) as caught:
        open_image(url)
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)


def plate(path: Path, version: str) -> dict[str, np.ndarray]:
    """Write a plate of two wells, of two fields and of one, as others do."""
    fields = {name: STACK[k, :40, : 50 + k] for k, name in enumerate(("A/1/0", "A/1/1", "B/2/0"))}
    wells = [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]
    wells += [{"path": "B/2", "rowIndex": 1, "columnIndex": 1}]
    about: dict[str, object] = {"name": "p", "rows": [{"name": "A"}, {"name": "B"}]}
    about |= {"columns": [{"name": "1"}, {"name": "2"}], "wells": wells, "field_count": 2}
    group = zarr.open_group(path, mode="w", zarr_format={"0.4": 2, "0.5": 3}[version])

    def put(node: zarr.Group, name: str, value: dict[str, object]) -> None:
        if version == "0.4":
            node.attrs[name] = {"version": "0.4", **value}
        else:
            node.attrs["ome"] = {"version": "0.5", name: value}

    put(group, "plate", about)
    for name, images in {"A/1": "01", "B/2": "0"}.items():
        put(group.require_group(name), "well", {"images": [{"path": k} for k in images]})
    for name, array in fields.items():
        save(path / name / "x.zarr", Image(array, "YX", {"Y": 0.5, "X": 0.5}), ngff=version)
        for inner in (path / name / "x.zarr").iterdir():
            inner.rename(path / name / inner.name)
        (path / name / "x.zarr").rmdir()
    return fields


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_in_is_a_plate_out(tmp_path, version):
    fields = plate(tmp_path / "in/plate.zarr", version)
    listed = list_images([tmp_path / "in"])
    assert [str(p).partition("#")[2] for p in listed] == list(fields)
    assert listed == list_images([tmp_path / "in/plate.zarr"])
    for one, array in zip(listed, fields.values(), strict=True):
        image = read(one)
        assert np.array_equal(image.array, array)
        write(tmp_path / "out" / output_name(one), image)
    out = tmp_path / "out/plate.zarr"
    yaozarrs.validate_zarr_store(str(out))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["plate.zarr"]
    attributes = zarr.open_group(out, mode="r").attrs["ome"]
    assert (attributes["version"], attributes["plate"]["field_count"]) == ("0.5", 2)
    for name, array in fields.items():
        assert np.array_equal(read(f"{out}#{name}").array, array)
        assert read(out / name).pixel_size == {"Y": 0.5, "X": 0.5}


def test_fields_that_are_named_by_themselves_have_names_of_their_own(tmp_path):
    plate(tmp_path / "plate.zarr", "0.5")
    named = list_images([str(tmp_path / "plate.zarr/*/*/*")])
    assert [output_name(one) for one in named] == [
        "plate_A_1_0.ome.zarr",
        "plate_A_1_1.ome.zarr",
        "plate_B_2_0.ome.zarr",
    ]
    assert list_images([f"{tmp_path}/**/*"]) == list_images([tmp_path / "plate.zarr"])


def test_globs_match_groups_of_any_name(tmp_path):
    for name in ("a.zarr", "b"):
        save(tmp_path / "x.zarr", Image(STACK[0], "YX"))
        (tmp_path / "x.zarr").rename(tmp_path / name)
    assert [p.name for p in list_images([f"{tmp_path}/*"])] == ["a.zarr", "b"]


def test_labels_that_are_left_behind_are_told(tmp_path):
    write(tmp_path / "a.zarr", IMAGE)
    assert read(tmp_path / "a.zarr").notes == ()
    zarr.open_group(tmp_path / "a.zarr", mode="a").create_group("labels")
    assert "labels" in read(tmp_path / "a.zarr").notes[0]


@pytest.mark.parametrize("path", ["../secret.zarr/0", "0/../../secret.zarr/0", "..\\secret.zarr"])
def test_metadata_do_not_lead_out_of_the_image(tmp_path, path):
    small = Image(STACK[:, :40, :40], "ZYX")
    write(tmp_path / "secret.zarr", small)
    write(tmp_path / "a.zarr", small)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    ome = group.attrs["ome"]
    ome["multiscales"][0]["datasets"][0]["path"] = path
    group.attrs["ome"] = ome
    with pytest.raises(ValueError, match="inside of its Zarr"):
        open_image(tmp_path / "a.zarr")


def test_a_plate_does_not_lead_out_of_itself(tmp_path):
    """Its results would be written elsewhere, too."""
    small = Image(STACK[:, :40, :40], "ZYX")
    write(tmp_path / "secret.zarr", small)
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=3)
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}]}}
    well = plate.create_group("A/1")
    well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "../../../secret.zarr"}]}}
    assert list_images([tmp_path / "plate.zarr"]) == [tmp_path / "plate.zarr"]
    for name in ("plate.zarr", "plate.zarr#A/1/../../../secret.zarr"):
        with pytest.raises(ValueError, match="inside of its Zarr"):
            open_image(tmp_path / name)
