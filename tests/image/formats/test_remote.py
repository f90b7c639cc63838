import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from microscopygan.image.atomic import PROGRESS
from microscopygan.image.formats import (
    Image,
    create,
    missing_chunks,
    open_image,
    output_exists,
    read,
    remote,
    unfinished,
    write,
)
from microscopygan.image.formats.remote import PatientStore, RemoteFolder
from microscopygan.image.lazy import Blocks
from microscopygan.restoration import api
from microscopygan.restoration.api import restore_file

STACK = np.random.default_rng(0).integers(0, 4000, (3, 96, 112), dtype=np.uint16)
IMAGE = Image(STACK, "ZYX", {"Z": 0.3, "Y": 0.1, "X": 0.1})
BLOCK = (1, 48, 56)
BUCKET = "s3://bucket/folder/a.zarr"


def save(path: Path) -> Path:
    """Write the image in twelve chunks."""
    with create(path, IMAGE.header, chunks=BLOCK) as target:
        target.array[...] = STACK
    return path


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    """Zarr outputs of twelve blocks."""

    def of_small_chunks(path, header, **options):
        return create(path, header, **(options | {"chunks": BLOCK}))

    def blocks(task, card, memory, **_):
        return Blocks(task.shape, BLOCK), dict.fromkeys(task.tiled, 64)

    monkeypatch.setattr(api, "create", of_small_chunks)
    monkeypatch.setattr(api, "plan", blocks)


@pytest.mark.parametrize("state", [503, 429, 500])
def test_a_busy_server_is_asked_again(tmp_path, site, faults, state):
    save(tmp_path / "a.zarr")
    faults.states = {"a.zarr/zarr.json": [state, 200], "0/c/1/1/1": [state, state, 200]}
    assert np.array_equal(open_image(f"{site}/a.zarr").array[...], STACK)
    assert faults.requests["/a.zarr/0/c/1/1/1"] == 3
    assert faults.requests["/a.zarr/0/c/1/1/0"] == 1


@pytest.mark.parametrize(
    ("state", "message", "requests"),
    [
        (503, r"503 Service Unavailable\); try again", 2),
        (0, r"no answer within 1 s\); try again", 2),
        (403, r"403 Forbidden", 1),
    ],
)
def test_a_server_that_fails_is_one_line_in_time(tmp_path, site, faults, state, message, requests):
    save(tmp_path / "a.zarr")
    image = open_image(f"{site}/a.zarr", timeout=1)
    faults.states = {"0/c/1/1/1": [state]}
    start = time.monotonic()
    with pytest.raises(OSError, match=rf"^http://127[^ ]*/a\.zarr: .*{message}") as caught:
        image.array[1]
    assert time.monotonic() - start < 5
    assert not isinstance(caught.value, FileNotFoundError)
    assert faults.requests["/a.zarr/0/c/1/1/1"] == requests
    assert np.array_equal(image.array[0], STACK[0])


def test_a_server_that_never_answers_is_given_up(site, faults):
    faults.states = {"": [0]}
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="no answer within 1 s"):
        open_image(f"{site}/a.zarr", timeout=1)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere.invalid"])
def test_no_server_is_said_at_once(address):
    start = time.monotonic()
    with pytest.raises(OSError, match=r"cannot be read \(Cannot connect to host"):
        open_image(f"http://{address}/a.zarr")
    assert time.monotonic() - start < 10


def test_missing_chunks_are_counted(tmp_path, site, faults):
    save(tmp_path / "a.zarr")
    faults.states = {"0/c/1/1/1": [404]}
    image = open_image(f"{site}/a.zarr")
    assert image.array[1, 48:, 56:].max() == 0
    assert missing_chunks(image) == 1
    assert faults.requests["/a.zarr/0/c/1/1/1"] == 1, "what was read is not asked for again"
    assert missing_chunks(open_image(f"{site}/a.zarr")) == 1
    faults.states = {}
    assert missing_chunks(open_image(f"{site}/a.zarr")) == 0


def test_missing_shards_are_counted(bucket):
    with create(BUCKET, IMAGE.header, chunks=(1, 32, 64), shards=(3, 64, 64)) as target:
        target.array[...] = STACK
    del bucket["bucket/folder/a.zarr/0/c/0/1/1"]
    image = open_image(BUCKET)
    assert np.array_equal(image.array[:, :64], STACK[:, :64])
    assert missing_chunks(image) == 1


def test_passwords_are_not_shown(tmp_path, site, faults, run_command):
    save(tmp_path / "a.zarr")
    code, out, err = run_command("restore", f"{site}/a.zarr", "-o", tmp_path / "b.zarr", "--json")
    assert code == 0, err
    shown = out + err + "".join(p.read_text() for p in (tmp_path / "b.zarr").rglob("zarr.json"))
    assert '"a.zarr"' in shown
    assert "secret" not in shown
    for states in ({"": [403]}, {"c/0": [403]}, {"zarr.json": [404]}):
        faults.states = states
        code, out, err = run_command("restore", f"{site}/a.zarr", "-o", tmp_path / "c.zarr")
        assert code == 2
        (line,) = err.splitlines()
        assert "a.zarr" in line
        assert "secret" not in out + err


def test_the_chunks_missing_of_a_restored_image_are_told(tmp_path, site, faults):
    save(tmp_path / "a.zarr")
    faults.states = {"0/c/1/1/1": [404]}
    done = restore_file(f"{site}/a.zarr", tmp_path / "b.tif")
    assert "1 chunks of the input are not stored and were read as its fill." in done.notes


@pytest.mark.usefixtures("small_blocks")
def test_finished_blocks_outlive_a_server(tmp_path, site, faults, run_command, monkeypatch):
    """A fault of the network is no damage: what is done is kept, and the command goes on."""
    monkeypatch.setattr(remote, "_PAUSE", 60)  # longer than there is time
    save(tmp_path / "a.zarr")
    output = tmp_path / "b.zarr"
    command = ["restore", f"{site}/a.zarr", "-o", output]
    whole = restore_file(tmp_path / "a.zarr", tmp_path / "whole.zarr").path
    faults.states = {"0/c/2": [503]}
    faults.when = (tmp_path / "b.zarr.part" / PROGRESS / "c" / "0").exists
    code, out, err = run_command(*command)
    assert code == 2
    assert err.startswith("microscopygan: http://127")
    assert "--resume goes on" in out
    marks = zarr.open_array(tmp_path / "b.zarr.part" / PROGRESS, mode="r")
    assert 0 < marks[:].sum() < marks.size
    faults.states, before = {}, faults.requests["/a.zarr/0/c/0/0/0"]
    code, out, err = run_command(*command, "--resume")
    assert (code, err) == (0, "")
    again = faults.requests["/a.zarr/0/c/0/0/0"] - before
    assert again <= 4, "for hot pixels, statistics, neighbours, and what rounding costs"
    assert np.array_equal(read(output).array, read(whole).array)


def test_an_output_at_a_url(bucket, tmp_path):
    write(BUCKET, IMAGE)
    back = open_image(BUCKET)
    assert np.array_equal(back.array[...], STACK)
    assert (back.axes, back.pixel_size) == ("ZYX", IMAGE.pixel_size)
    assert missing_chunks(back) == 0
    write(tmp_path / "a.zarr", IMAGE)
    files = [p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()]
    local = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in files}
    assert {name.removeprefix("bucket/folder/"): body for name, body in bucket.items()} == local


def test_an_output_at_a_url_appears_whole_or_not_at_all(bucket):
    write(BUCKET, IMAGE)
    with pytest.raises(FileExistsError, match="allow overwriting"):
        create(BUCKET, IMAGE.header)
    before = dict(bucket)
    target = create(BUCKET, IMAGE.header, overwrite=True)
    target.array[0] = 7
    assert not target.group.attrs, "no image yet"
    target.discard()
    assert bucket == before, "the old output is there, the lock and the part are not"
    with create(BUCKET, IMAGE.header, overwrite=True) as target:
        with pytest.raises(FileExistsError, match="the only run that writes it"):
            create(BUCKET, IMAGE.header, overwrite=True)
        target.array[...] = 7
    assert read(BUCKET).array.min() == 7
    assert not [name for name in bucket if ".part" in name or ".lock" in name]


@pytest.mark.usefixtures("small_blocks")
def test_an_interrupted_output_at_a_url_is_gone_on_with(bucket, tmp_path, run_command):
    write(tmp_path / "a.tif", IMAGE)
    restore_file(tmp_path / "a.tif", tmp_path / "whole.zarr")
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if 0 < done < total and calls > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_file(tmp_path / "a.tif", BUCKET, progress=stop)
    assert unfinished(BUCKET) is not None
    assert not output_exists(BUCKET)
    assert not [name for name in bucket if ".lock" in name]
    code, _, err = run_command("restore", tmp_path / "a.tif", "-o", BUCKET)
    assert code == 2
    assert "an interrupted run left this; resume it" in err
    for option in ("--intensity=frame", "--strength=1"):
        code, _, err = run_command("restore", tmp_path / "a.tif", "-o", BUCKET, "--resume", option)
        assert code == (2 if "frame" in option else 0), err
    assert np.array_equal(read(BUCKET).array, read(tmp_path / "whole.zarr").array)


@pytest.mark.slow
def test_workers_write_to_a_url(bucket, tmp_path):
    """Slow (several seconds): starts two processes."""
    write(tmp_path / "a.tif", IMAGE)
    restore_file(tmp_path / "a.tif", BUCKET, workers=2)
    whole = restore_file(tmp_path / "a.tif", tmp_path / "whole.zarr").path
    assert np.array_equal(read(BUCKET).array, read(whole).array)


def test_a_folder_of_outputs_at_a_url(bucket, tmp_path, run_command):
    for name in ("a.tif", "b.ome.tif"):
        write(tmp_path / name, Image(STACK[0], "YX"))
    code, out, err = run_command("restore", tmp_path, "-o", "s3://bucket/out")
    assert code == 0, err
    assert "s3://bucket/out/a.ome.zarr" in out
    assert {name.split("/")[2] for name in bucket} == {"a.ome.zarr", "b.ome.zarr"}
    code, _, err = run_command("restore", tmp_path, "-o", "s3://bucket/out")
    assert code == 2
    assert "exists; give --overwrite" in err


def test_a_plate_at_a_url(bucket, tmp_path, run_command):
    well = zarr.open_group(tmp_path / "plate.zarr" / "A" / "1", mode="w")
    zarr.open_group(tmp_path / "plate.zarr", mode="a").attrs["ome"] = {
        "version": "0.5",
        "plate": {"wells": [{"path": "A/1"}], "rows": [{"name": "A"}]},
    }
    well.attrs["ome"] = {"well": {"images": [{"path": "0"}, {"path": "1"}]}}
    for field in "01":
        write(tmp_path / "f.zarr", Image(STACK[0], "YX"), overwrite=True)
        (tmp_path / "f.zarr").rename(tmp_path / "plate.zarr" / "A" / "1" / field)
    code, _, err = run_command("restore", tmp_path / "plate.zarr", "-o", "s3://bucket/plate.zarr")
    assert code == 0, err
    assert {f"bucket/plate.zarr/{inner}zarr.json" for inner in ("", "A/1/", "A/1/1/")} <= set(
        bucket
    )
    assert open_image("s3://bucket/plate.zarr#A/1/1").array.shape == (96, 112)


def test_an_output_that_cannot_be_written_is_one_line(bucket, faults):
    faults.states = {"bucket": [403]}
    with pytest.raises(OSError, match=r"^s3://bucket/folder/a\.zarr: expected to write there"):
        RemoteFolder(BUCKET, 1).exists()


def test_a_store_goes_to_another_process(bucket):
    store = pickle.loads(pickle.dumps(PatientStore("s3://bucket/a", 7, read_only=False)))
    assert (store.url, store.timeout, store.read_only) == ("s3://bucket/a", 7, False)


def test_nothing_stray_is_printed(tmp_path, site):
    """Connections that are open at the end are no one's business."""
    save(tmp_path / "a.zarr")
    command = [sys.executable, "-m", "microscopygan", "restore", f"{site}/a.zarr"]
    command += ["-o", str(tmp_path / "b.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
