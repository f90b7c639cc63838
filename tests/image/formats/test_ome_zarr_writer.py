"""OME-Zarr that is written: valid, pyramids of means, resumed after a stop, nothing lost."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

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
    missing_chunks,
    ome_zarr_writer,
    open_image,
    read,
    write,
)

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (3, 600, 700), dtype=np.uint16)
IMAGE = Image(STACK, "ZYX", {"Z": 0.3, "Y": 0.1, "X": 0.1})
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
        found, checksum = level.compressors
        assert checksum.to_dict() == {"name": "crc32c"}
        wanted = new[codec].to_dict()["configuration"]
        assert found.to_dict()["name"] == codec
        for key in ("level", "cname", "clevel", "shuffle"):
            assert found.to_dict()["configuration"].get(key) == wanted.get(key)
    assert np.array_equal(levels[0][...], STACK)


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
@pytest.mark.parametrize("wanted", ["none", "zlib", "zstd"])
def test_compression_that_is_wanted(tmp_path, ngff, wanted):
    path = save(tmp_path / "a.zarr", ngff=ngff, compression=wanted)
    for level in (zarr.open_array(path / str(k), mode="r") for k in range(2)):
        codecs = [type(one).__name__.removesuffix("Codec").lower() for one in level.compressors]
        stated = {"none": [], "zlib": ["gzip" if ngff == "0.5" else "zlib"], "zstd": ["zstd"]}
        assert codecs == stated[wanted] + ["crc32c"] * (ngff == "0.5")
    assert np.array_equal(read(path).array, STACK)


def test_0_4_is_compressed_as_all_readers_of_it_know(tmp_path):
    path = save(tmp_path / "a.zarr", ngff="0.4")
    about = [json.loads((path / str(k) / ".zarray").read_text())["compressor"] for k in range(2)]
    assert {(one["id"], one["cname"]) for one in about} == {("blosc", "lz4")}
    zarr.create_array(tmp_path / "c.zarr", data=STACK, compressors=BloscCodec(cname="zstd"))
    given = read(tmp_path / "c.zarr", axes="ZYX")
    save(tmp_path / "d.zarr", given, ngff="0.4")
    assert zarr.open_array(tmp_path / "d.zarr/0", mode="r").compressors[0].cname == "zstd"


@pytest.mark.parametrize("sharded", [False, True])
def test_no_bit_flips_unseen(tmp_path, sharded):
    blocks = {"chunks": (1, 16, 16)} | ({"shards": (3, 32, 32)} if sharded else {})
    pixels = np.random.default_rng(1).integers(0, 999, (3, 32, 32), np.uint16)
    with create(tmp_path / "a.zarr", Image(pixels, "ZYX").header, **blocks) as target:
        target.array[...] = pixels
    chunks = sorted(p for p in (tmp_path / "a.zarr/0/c").rglob("*") if p.is_file())
    rng = np.random.default_rng(0)
    for _ in range(40):
        chunk = chunks[rng.integers(len(chunks))]
        content = chunk.read_bytes()
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        chunk.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.zarr: expected whole pixels, got damaged") as e:
            read(tmp_path / "a.zarr")
        assert "\n" not in str(e.value)
        chunk.write_bytes(content)
    assert np.array_equal(read(tmp_path / "a.zarr").array, pixels)
    write(tmp_path / "b.zarr", read(tmp_path / "a.zarr"))
    codecs = zarr.open_array(tmp_path / "b.zarr/0", mode="r").compressors
    assert [one.to_dict()["name"] for one in codecs] == ["zstd", "crc32c"]
