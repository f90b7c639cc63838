import errno
import json
import os
import pickle
import re
import socket
import subprocess
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image import atomic
from microscopygan.image.atomic import whole, write_text
from microscopygan.image.formats import Image, create, open_image, read, write
from microscopygan.image.lazy import Blocks

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (40, 50), dtype=np.uint16)
SIZES = {"T": 2, "C": 3, "Z": 4, "Y": 33, "X": 35}


def test_nothing_is_replaced_without_leave(tmp_path):
    path = tmp_path / "a.tif"
    write(path, Image(PLANE, "YX"))
    with pytest.raises(FileExistsError, match="allow overwriting"):
        write(path, Image(PLANE + 1, "YX"))
    assert np.array_equal(read(path).array, PLANE)
    write(path, Image(PLANE + 1, "YX"), overwrite=True)
    assert np.array_equal(read(path).array, PLANE + 1)


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("suffix", "step"),
    [
        *product(["tif", "npy", "png", "zarr"], ["Lock._taken", "flush", "replace"]),
        *product(["tif", "npy"], ["reserve"]),
    ],
)
def test_a_full_disk_leaves_the_old_output_and_no_other(tmp_path, monkeypatch, suffix, step):
    path = tmp_path / f"a.{suffix}"
    write(path, Image(PLANE, "YX"))
    users = ["formats.plain", "formats.tiff"] if step == "reserve" else []
    for module in ["atomic", *users]:
        monkeypatch.setattr(f"microscopygan.image.{module}.{step}", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        write(path, Image(PLANE + 1, "YX"), overwrite=True)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert np.array_equal(read(path).array, PLANE)


def test_a_disk_that_fills_up_while_pixels_are_written(tmp_path):
    def fill(path: Path) -> None:
        with create(path, Image(PLANE, "YX").header) as target:
            target.array[:10] = PLANE[:10]
            full_disk()

    for suffix in ("tif", "npy", "zarr"):
        with pytest.raises(OSError, match="No space left"):
            fill(tmp_path / f"a.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    def refuse(path: Path, *args: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("microscopygan.image.atomic.os.open", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        write(tmp_path / "a.npy", Image(PLANE, "YX"))
    assert list(tmp_path.iterdir()) == []


@given(
    axes=st.sampled_from(["YX", "ZYX", "YXC", "CZYX", "ZCYX", "XY"]),
    suffix=st.sampled_from([".npy", ".tif", ".zarr"]),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_regions_in_any_order_make_the_image(tmp_path_factory, axes, suffix, data):
    array = RNG.integers(0, 99, [SIZES[a] for a in axes], dtype=np.uint16)
    path = tmp_path_factory.mktemp("regions") / f"a{suffix}"
    block = tuple(data.draw(st.integers(7, 40)) if a in "YX" else 2 for a in axes)
    regions = data.draw(st.permutations(list(Blocks(array.shape, block))))
    chunks = {"chunks": block} if suffix == ".zarr" else {}
    with create(path, Image(array, axes).header, **chunks) as target:
        assert target.array.shape == array.shape
        for region in regions:
            target.array[region] = array[region]
        assert np.array_equal(target.array[regions[0]], array[regions[0]])
    again = open_image(path, axes=axes if suffix == ".npy" else None)
    assert np.array_equal(again.array[...], array.transpose([axes.index(a) for a in again.axes]))
    key = tuple(slice(1, n - 1, 2) for n in again.array.shape)
    assert np.array_equal(again.array[key], np.asarray(again.array)[key])
    assert np.array_equal(again.array[-1], np.asarray(again.array)[-1])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr"])
def test_what_a_killed_run_left_can_be_removed(tmp_path, python, name):
    code = (
        "import os, sys, numpy as np; from microscopygan.image.formats import Image, create; "
        "create(sys.argv[1], Image(np.zeros((40, 50), np.uint16), 'YX').header); os._exit(9)"
    )
    path = tmp_path / name
    assert subprocess.run([python, "-c", code, str(path)], check=False).returncode == 9
    assert list(tmp_path.iterdir())
    atomic.discard_interrupted(path)
    assert list(tmp_path.iterdir()) == []
    with create(path, Image(PLANE, "YX").header), pytest.raises(FileExistsError, match="only run"):
        atomic.discard_interrupted(path)
    assert path.exists()
    atomic.discard_interrupted(tmp_path / "nowhere" / name)


def test_other_processes_may_write_blocks(tmp_path, monkeypatch):
    array = RNG.integers(0, 99, (4, 3, 33, 35), dtype=np.uint16)
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "a.zarr"):
        with create(name, Image(array, "ZCYX").header) as target:
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            sent = pickle.dumps(target.array)
            monkeypatch.chdir(tmp_path / "elsewhere")
            pickle.loads(sent)[...] = array
            monkeypatch.chdir(tmp_path)
        again = open_image(name)
        monkeypatch.chdir(tmp_path / "elsewhere")
        order = ["ZCYX".index(a) for a in again.axes]
        assert np.array_equal(again.array[...], array.transpose(order))
        monkeypatch.chdir(tmp_path)


def test_provenance_may_hold_numpy_values(tmp_path):
    about = {"low": np.float32(0.5), "all": np.arange(3), "path": Path("a")}
    write(tmp_path / "a.ome.tif", Image(PLANE, "YX", provenance=about))
    assert read(tmp_path / "a.ome.tif").provenance == {"low": 0.5, "all": [0, 1, 2], "path": "a"}


def test_one_run_writes_an_output(tmp_path):
    header = Image(PLANE, "YX").header
    with create(tmp_path / "a.npy", header) as target:
        with pytest.raises(FileExistsError, match=r"a\.npy: expected to be the only run"):
            create(tmp_path / "a.npy", header, overwrite=True)
        target.array[...] = PLANE
    assert np.array_equal(read(tmp_path / "a.npy").array, PLANE)


@pytest.mark.parametrize(
    ("owner", "runs"),
    [
        ({"pid": os.getppid(), "host": socket.gethostname()}, True),
        ({"pid": 1, "host": "elsewhere"}, True),
        ({}, True),
        ({"pid": 2**22 + 1, "host": socket.gethostname()}, False),
        ({"pid": os.getpid(), "host": socket.gethostname()}, False),  # of an earlier process
    ],
)
def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path, owner, runs):
    lock = tmp_path / ".a.npy.lock"
    lock.write_text(json.dumps(owner))
    if runs:
        with pytest.raises(FileExistsError, match=r"wait for it, or remove .*\.a\.npy\.lock"):
            write(tmp_path / "a.npy", Image(PLANE, "YX"))
        assert json.loads(lock.read_text()) == owner
    else:
        write(tmp_path / "a.npy", Image(PLANE, "YX"))
        assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_an_empty_lock_is_taken_over(tmp_path):
    """One that stays so: its process ended between making and writing it."""
    lock = tmp_path / ".a.npy.lock"
    for content in (b"", b"\0" * 40):
        lock.write_bytes(content)
        with pytest.raises(FileExistsError, match="the only run that writes it"):
            write(tmp_path / "a.npy", Image(PLANE, "YX"), overwrite=True)
        os.utime(lock, (time.time() - 60,) * 2)
        write(tmp_path / "a.npy", Image(PLANE, "YX"), overwrite=True)
        assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_the_lock_of_another_process_with_the_same_number_is_stale(tmp_path):
    lock = tmp_path / ".a.npy.lock"
    lock.write_text(json.dumps({"pid": os.getppid(), "host": socket.gethostname()}))
    os.utime(lock, (0, 0))  # long before this parent was started
    write(tmp_path / "a.npy", Image(PLANE, "YX"))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("a.czi", {}, "which is only read"),
        ("a.tif", {"chunks": (9, 9)}, r"chunks for \.zarr, \.ozx, \.zarr\.zip only, got \(9, 9\)"),
        ("a.png", {"compression": "zlib"}, r"compression for \.tif, .* only, got zlib for \.png"),
        ("a.tif", {"compression": "jpeg"}, "compression of auto, none, zlib, zstd, got 'jpeg'"),
        ("a.zarr", {"pyramid": True}, r"pyramid for \.tif, .* only, got True for \.zarr"),
        ("a.tif", {"ngff": "0.4"}, r"ngff for \.zarr, .* only, got 0\.4 for \.tif"),
        ("s3://bucket/a.tif", {}, "a Zarr output at a URL"),
        ("https://host/a.zarr", {}, "a URL that is only read"),
        ("a.zarr", {"chunks": (9,)}, "2 positive lengths"),
        ("a.zarr", {"chunks": (8, 8), "shards": (9, 16)}, "shards of whole chunks"),
        ("a.zarr", {"shards": (512, 512), "ngff": "0.4"}, "NGFF 0.5 for shards"),
        ("a.zarr", {"ngff": "0.3"}, "NGFF 0.4 or 0.5"),
    ],
)
def test_outputs_that_cannot_be(tmp_path, name, settings, message):
    path = name if "://" in name else tmp_path / name
    with pytest.raises(ValueError, match=message):
        create(path, Image(PLANE, "YX").header, **settings)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_zarr_is_not_replaced_by_one(tmp_path):
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "b.zarr").write_text("file")
    for name in ("a.tif", "b.zarr"):
        with pytest.raises(FileExistsError, match="got the"):
            write(tmp_path / name, Image(PLANE, "YX"), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "b.zarr"]


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    def interrupted(path: Path) -> None:
        with whole(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
    with whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["new"]


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr("microscopygan.image.atomic.flush", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a.txt", "new", overwrite=True)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_texts_replace_nothing_without_leave(tmp_path):
    path = write_text(tmp_path / "new/a.txt", "µ\n")
    assert path.read_bytes() == "µ\n".encode()
    with pytest.raises(FileExistsError, match="allow overwriting"):
        write_text(path, "other")
    with pytest.raises(FileExistsError, match="got the folder"):
        write_text(tmp_path / "new", "other", overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        assert write_text(tmp_path / "a.txt", "x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_links_in_the_place_of_a_part_are_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / f".a.txt.{os.getpid()}.part").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "precious").read_text() == "kept"
    assert not (tmp_path / "a.txt").is_symlink()


def test_no_other_place_writes_files_by_parts():
    package = Path(atomic.__file__).parents[1]
    by_hand = re.compile(r"os\.(replace|fsync)\(|\.replace\((self\.)?path\)|\.partial\.")
    places = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if by_hand.search(path.read_text(encoding="utf-8"))
    ]
    assert places == ["image/atomic.py"]
