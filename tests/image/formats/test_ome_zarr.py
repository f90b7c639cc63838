import json
import os
import signal
import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import fsspec
import numcodecs
import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from microscopygan.image.formats import (
    Header,
    Image,
    create,
    list_images,
    missing_chunks,
    ome_zarr_writer,
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
@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "YXZ", "CYX", "TYX", "YX"])
def test_two_validators_accept_what_is_written(tmp_path, version, axes):
    lengths = {"T": 2, "C": 3, "Z": 2, "Y": 530, "X": 520}
    image = Image(
        np.ones([lengths[a] for a in axes], np.uint8),
        axes,
        {a: 0.2 for a in "ZYX" if a in axes},
        None,
        ("a", "b", "c") if "C" in axes else (),
        2.0 if "T" in axes else None,
        {"program": "x"},
    )
    path = save(tmp_path / "a.ome.zarr", image, ngff=version)
    yaozarrs.validate_zarr_store(str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        group = zarr.open_group(path, mode="r")
        assert group.metadata.zarr_format == {"0.4": 2, "0.5": 3}[version]
        found = ome_zarr_models.open_ome_zarr(group)
    assert found.ome_zarr_version == version
    assert "".join(array for array in open_image(path).axes) == "".join(
        a for a in "TCZYX" if a in axes
    )


def halved(plane: np.ndarray) -> np.ndarray:
    """Mean over 2×2 pixels by another way: borders that are odd are repeated, which is the same."""
    odd = [(0, n % 2) if n > 1 else (0, 1) for n in plane.shape]
    padded = np.pad(plane.astype(float), odd, mode="edge")
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean((1, 3))


@given(
    shape=st.tuples(st.integers(1, 1100), st.integers(513, 1100)),
    dtype=st.sampled_from(["uint8", "int16", "float32"]),
    side=st.sampled_from([100, 256, 333]),
    sharded=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_levels_are_means_of_two_by_two(tmp_path_factory, shape, dtype, side, sharded):
    plane = RNG.integers(0, 100, shape).astype(dtype)
    path = tmp_path_factory.mktemp("levels") / "a.zarr"
    blocks = {"chunks": (side, side)} | ({"shards": (2 * side, 2 * side)} if sharded else {})
    save(path, Image(plane, "YX", {"Y": 0.1, "X": 0.1}), **blocks)
    group = zarr.open_group(path, mode="r")
    levels = [group[str(k)] for k in range(len(list(group.array_keys())))]
    assert max(levels[-1].shape) <= 512 < max(levels[-2].shape)
    for level, above in zip(levels[1:], levels, strict=False):
        assert level.dtype == plane.dtype
        mean = halved(above[...])
        error = np.abs(level[...] - mean).max()
        assert error <= (1e-4 if dtype == "float32" else 0.5)
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    for level, dataset in zip(levels, datasets, strict=True):
        scale, *shift = dataset["coordinateTransformations"]
        width = shape[1] * 0.1  # the field, whose end an odd level passes by less than a pixel
        assert width <= level.shape[1] * scale["scale"][1] < width + scale["scale"][1]
        first = shift[0]["translation"][1] if shift else 0.0
        assert first == pytest.approx((scale["scale"][1] - 0.1) / 2)


def test_memory_does_not_grow_with_the_image(tmp_path):
    """Peaks in MB while the pyramid of a nearly empty image is made."""
    peaks = []
    for side in (1024, 4096):
        target = create(tmp_path / f"{side}.zarr", Header((side, side), "uint8", "YX"))
        target.array[:9, :9] = 1
        tracemalloc.start()
        target.finish()
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5


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
    with pytest.raises(kind, match=message) as caught:
        open_image(url)
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_interrupted_output_is_resumed(tmp_path, version):
    expected = contents(save(tmp_path / "whole.zarr", ngff=version))
    path = tmp_path / "a.zarr"

    def interrupted() -> None:
        with create(path, IMAGE.header, ngff=version) as target:
            target.array[:2] = STACK[:2]
            target.group.create_group("microscopygan_progress").attrs["done"] = [0, 1]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir() if p.name[:2] != "wh"] == ["a.zarr.part"]
    with pytest.raises(FileExistsError, match="an interrupted run left this; resume it"):
        create(path, IMAGE.header, ngff=version)
    with pytest.raises(ValueError, match=r"unfinished output of (shape|dtype)"):
        create(path, Header((3, 600, 700), "u1", "ZYX"), resume=True, ngff=version)
    with create(path, IMAGE.header, resume=True, ngff=version) as target:
        assert target.group["microscopygan_progress"].attrs["done"] == [0, 1]
        assert np.array_equal(target.array[:2], STACK[:2])
        target.array[2] = STACK[2]
    assert contents(path) == expected


def test_blocks_of_zeros_are_written_after_resuming_too(tmp_path):
    zeros = replace(IMAGE, array=STACK * 0)
    target = create(tmp_path / "a.zarr", zeros.header)
    target.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with create(tmp_path / "a.zarr", zeros.header, resume=True) as target:
        target.array[:] = 0
    assert missing_chunks(open_image(tmp_path / "a.zarr")) == 0


@pytest.mark.parametrize("step", ["_halved", "_attributes", "_display"])
def test_a_finish_that_was_killed_can_be_done_again(tmp_path, monkeypatch, step):
    image = replace(IMAGE, channels=("DNA",))
    expected = contents(save(tmp_path / "whole.zarr", image))
    path = tmp_path / "a.zarr"

    def kill(*args: object) -> None:
        (path.with_name("a.zarr.part") / "0/c/0/0/x.partial").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ome_zarr_writer, step, kill)
        with pytest.raises(KeyboardInterrupt):
            save(path, image)
    assert not path.exists()
    create(path, image.header, resume=True).finish()
    assert contents(path) == expected


KILLED = """
import os, signal, sys
from microscopygan.image.formats import Header, create
target = create(sys.argv[1], Header((3, 600, 700), "uint16", "ZYX", {"Z": 0.3, "Y": 0.1, "X": 0.1}))
target.array[0] = 7
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_what_can_be_resumed(tmp_path):
    path = tmp_path / "a.zarr"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, env=environment())
    assert done.returncode == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.zarr.lock", "a.zarr.part"]
    with create(path, IMAGE.header, resume=True) as target:
        assert (target.array[0] == 7).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_an_old_image_is_replaced_as_a_whole(tmp_path):
    path = save(tmp_path / "a.zarr", replace(IMAGE, array=STACK + 1))
    with pytest.raises(FileExistsError, match="allow overwriting"):
        write(path, IMAGE)
    with create(path, Header((9, 9), "u1", "YX"), overwrite=True) as target:
        target.array[:] = 3
        assert np.array_equal(read(path).array, STACK + 1)
    assert read(path).array.shape == (9, 9)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_the_display_range_is_that_of_the_pixels(tmp_path):
    array = np.stack([STACK[0], STACK[1] // 2])
    path = save(tmp_path / "a.zarr", Image(array, "CYX", {}, None, ("a", "b")))
    about = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in about] == ["a", "b"]
    ends = [channel["window"]["end"] for channel in about]
    assert ends[0] == pytest.approx(2 * ends[1], rel=0.2)
    assert about[0]["color"] != about[1]["color"]


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


def placed(path: Path, unit: str | None, *transformations: dict[str, object]) -> Path:
    axes = [{"name": n, "type": "space"} | ({"unit": unit} if unit else {}) for n in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": list(transformations)}]
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=STACK[:, :8, :9])
    window = {"start": 100, "end": 300, "min": 0, "max": 65535}
    group.attrs["multiscales"] = [
        {"version": "0.4", "name": "im", "axes": axes, "datasets": datasets}
    ]
    group.attrs["omero"] = {
        "channels": [{"label": "GFP", "color": "00FF00", "window": window, "active": False}],
        "rdefs": {"defaultZ": 2},
    }
    return path


@pytest.mark.parametrize("unit", ["micrometer", "nanometer", None])
def test_translation_and_display_stay(tmp_path, unit):
    scale = {"type": "scale", "scale": [1.0, 0.25, 0.25]}
    shift = {"type": "translation", "translation": [12.0, 310.5, 87.25]}
    image = read(placed(tmp_path / "a.zarr", unit, scale, shift))
    factor = {"micrometer": 1, "nanometer": 1e-3, None: 0}[unit]
    assert image.origin == pytest.approx(
        {a: factor * v for a, v in zip("ZYX", shift["translation"], strict=True) if factor}
    )
    write(tmp_path / "b.zarr", image)
    ome = zarr.open_group(tmp_path / "b.zarr", mode="r").attrs["ome"]
    (level,) = ome["multiscales"][0]["datasets"]
    for entry, wanted in zip(level["coordinateTransformations"], (scale, shift), strict=True):
        values = np.array(wanted[wanted["type"]]) * (factor or 1)
        assert np.allclose(entry[entry["type"]], values)
    assert ["unit" in axis for axis in ome["multiscales"][0]["axes"]] == [unit is not None] * 3
    assert ome["multiscales"][0]["name"] == "im"
    (channel,) = ome["omero"]["channels"]
    assert channel["window"] == {"start": 100, "end": 300, "min": 0, "max": 65535}
    assert (channel["color"], channel["active"], channel["label"]) == ("00FF00", False, "GFP")
    assert ome["omero"]["rdefs"] == {"defaultZ": 2}


def test_negative_scales_stay(tmp_path):
    scale = {"type": "scale", "scale": [-1.0, 0.25, 0.25]}
    image = read(placed(tmp_path / "a.zarr", "micrometer", scale))
    assert image.pixel_size == {"Z": 1.0, "Y": 0.25, "X": 0.25}
    write(tmp_path / "b.zarr", image)
    ome = zarr.open_group(tmp_path / "b.zarr", mode="r").attrs["ome"]
    entries = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert entries[0]["scale"] == [-1.0, 0.25, 0.25]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("codec", ["zstd", "gzip", "blosc"])
def test_compression_is_carried_over(tmp_path, version, codec):
    old = {
        **{"zstd": numcodecs.Zstd(level=5), "gzip": numcodecs.GZip(level=5)},
        **{"blosc": numcodecs.Blosc(cname="lz4", clevel=3, shuffle=2)},
    }
    new = {
        **{"zstd": ZstdCodec(level=5), "gzip": GzipCodec(level=5)},
        **{"blosc": BloscCodec(cname="lz4", clevel=3, shuffle="bitshuffle")},
    }
    kept = {"compressors": (old if version == 2 else new)[codec], "zarr_format": version}
    zarr.create_array(tmp_path / "a.zarr", data=STACK, **kept)
    write(tmp_path / "b.zarr", read(tmp_path / "a.zarr", axes="ZYX"))
    levels = [zarr.open_array(tmp_path / f"b.zarr/{k}", mode="r") for k in range(2)]
    for level in levels:
        (found,) = level.compressors
        wanted = new[codec].to_dict()["configuration"]
        assert found.to_dict()["name"] == codec
        for key in ("level", "cname", "clevel", "shuffle"):
            assert found.to_dict()["configuration"].get(key) == wanted.get(key)
    assert np.array_equal(levels[0][...], STACK)


def test_labels_that_are_left_behind_are_told(tmp_path):
    write(tmp_path / "a.zarr", IMAGE)
    assert read(tmp_path / "a.zarr").notes == ()
    zarr.open_group(tmp_path / "a.zarr", mode="a").create_group("labels")
    assert "labels" in read(tmp_path / "a.zarr").notes[0]
