"""Files in, files out: the pixels, the description, resuming, interruptions, refusals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
import zarr

from microscopygan.image.formats import Image, create, ome_zarr_writer, open_image, read, write
from microscopygan.restoration import api
from microscopygan.restoration.api import restore, restore_file
from microscopygan.restoration.job import PROGRESS

SIZES = {"Z": 0.4, "Y": 0.2, "X": 0.1}


@pytest.fixture
def image(stack, tmp_path) -> Path:
    """A hyperstack of two times, four planes and three channels."""
    array = stack.transpose(0, 2, 1, 3, 4)
    header = Image(array, "TCZYX", SIZES, channels=("a", "b", "c"), interval=2.5)
    return write(tmp_path / "in.ome.tif", header)


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    """Zarr outputs of 24 blocks."""

    def of_small_chunks(path, header, **options):
        if Path(path).suffix == ".zarr":
            options["chunks"] = (1, 1, 2, 24, 70)
        return create(path, header, **options)

    monkeypatch.setattr(api, "create", of_small_chunks)
    monkeypatch.setattr(api, "plan", unit_blocks)


def unit_blocks(task, card, memory, *, source, unit=None, chunks=None):
    from microscopygan.image.lazy import Blocks

    return Blocks(task.shape, unit or (1, 1, 2, 24, 70)), dict.fromkeys(task.tiled, 64)


@pytest.mark.parametrize("name", ["out.ome.tif", "out.tif", "out.zarr", "out.npy"])
def test_a_file_is_restored_as_its_pixels_are(restorer, image, tmp_path, name) -> None:
    done = restore_file(image, tmp_path / name, restorer, channels=(0, 2))
    given, found = read(image), read(tmp_path / name, axes="TCZYX")
    expected = restore(given, model=restorer, channels=(0, 2))
    assert np.array_equal(found.array, expected.array)
    assert np.array_equal(found.array[:, 1], given.array[:, 1])
    assert (done.path, done.pixels, done.notes) == (tmp_path / name, given.array.size, ())
    assert done.seconds > 0
    if name != "out.npy":
        assert (found.axes, found.pixel_size) == (given.axes, given.pixel_size)
    if name in ("out.ome.tif", "out.zarr"):
        assert (found.channels, found.interval) == (given.channels, given.interval)


def test_the_output_says_how_it_came_about(restorer, image, tmp_path) -> None:
    restore_file(image, tmp_path / "out.zarr", restorer, intensity="image", dtype="float32")
    found = open_image(tmp_path / "out.zarr")
    about = found.provenance["restoration"]
    assert about["model"]["file"] == "restorer.onnx"
    assert about["model"]["sha256"] == restorer.sha256
    assert about["input"] == "in.ome.tif"
    assert about["settings"]["dtype"] == "float32"
    assert about["intensity"]["covers"] == "image"
    low, high = about["intensity"]["maps"]["C1"]
    channel = read(image).array[:, 1]
    assert np.allclose([low, high], np.percentile(channel, [1, 99.8]))
    assert found.array.dtype == np.float32


def test_a_restored_file_can_be_restored(restorer, image, tmp_path) -> None:
    restore_file(image, tmp_path / "once.zarr", restorer)
    restore_file(tmp_path / "once.zarr", tmp_path / "twice.zarr", restorer)
    once = read(tmp_path / "once.zarr")
    twice = restore(once, model=restorer)
    assert np.array_equal(read(tmp_path / "twice.zarr").array, twice.array)


def test_an_axial_file_states_its_new_pixel_size(restorer, stack, tmp_path) -> None:
    sizes = {"Z": 0.3, "Y": 0.1, "X": 0.1}
    source = write(tmp_path / "in.ome.tif", Image(stack[0, :, 0], "ZYX", sizes))
    restore_file(source, tmp_path / "out.zarr", restorer, task="axial")
    found = read(tmp_path / "out.zarr")
    assert found.array.shape == (10, 48, 70)
    assert found.pixel_size == pytest.approx({"Z": 0.1, "Y": 0.1, "X": 0.1})
    expected = restore(read(source), model=restorer, task="axial")
    assert np.array_equal(found.array, expected.array)


def test_notes_tell_what_is_special(whole_model, stack, tmp_path) -> None:
    array = stack[0, :, 0].copy()
    array[1] = 7
    source = write(tmp_path / "in.tif", Image(array, "ZYX"))
    done = restore_file(source, tmp_path / "out.tif", whole_model, intensity="frame")
    assert len(done.notes) == 2
    assert "whole planes" in done.notes[0]
    assert done.notes[1].startswith("1 of 4 parts")
    assert np.array_equal(read(tmp_path / "out.tif").array[1], array[1])


class Stop:
    """Raises once so many of 24 blocks were restored; the last three may not be written yet."""

    def __init__(self, blocks: int, error: type[BaseException]) -> None:
        self.blocks, self.error, self.done = blocks, error, []

    def __call__(self, done: int, total: int) -> None:
        self.done.append(done)
        if 24 * (done - self.done[0]) >= self.blocks * total:
            raise self.error("stop")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("name", ["out.ome.tif", "out.npy"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_file_leaves_nothing(restorer, image, tmp_path, name, error) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error):
        restore_file(image, tmp_path / name, restorer, progress=Stop(3, error))
    assert sorted(tmp_path.iterdir()) == before
    restore_file(image, tmp_path / name, restorer)


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_zarr_goes_on(restorer, image, tmp_path, monkeypatch) -> None:
    restore_file(image, tmp_path / "whole.zarr", restorer)
    output = tmp_path / "out.zarr"
    with pytest.raises(KeyboardInterrupt):
        restore_file(image, output, restorer, progress=Stop(5, KeyboardInterrupt))
    assert not output.exists()
    with pytest.raises(FileExistsError, match="interrupted run"):
        restore_file(image, output, restorer)
    for option, message in (
        ({"intensity": "frame"}, 'got intensity "frame" instead of "volume"'),
        ({"channels": (1,)}, r"got channels \[1\] instead of null"),
    ):
        with pytest.raises(ValueError, match=f"resume: .*{message}"):
            restore_file(image, output, restorer, resume=True, **option)
    seen = Stop(1000, KeyboardInterrupt)
    restore_file(image, output, restorer, resume=True, progress=seen)
    pixels = read(image).array.size
    assert 2 * pixels // 24 <= seen.done[0] <= 5 * pixels // 24
    assert seen.done[-1] == pixels
    assert np.array_equal(read(output).array, read(tmp_path / "whole.zarr").array)
    assert PROGRESS not in zarr.open_group(output, mode="r")


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_replacement_goes_on(restorer, image, tmp_path) -> None:
    output = tmp_path / "out.zarr"
    restore_file(image, output, restorer.with_hint(strength=0.0))
    before, whole = read(output).array, restore(read(image), model=restorer).array
    with pytest.raises(KeyboardInterrupt):
        restore_file(image, output, restorer, overwrite=True, progress=Stop(5, KeyboardInterrupt))
    assert np.array_equal(read(output).array, before)
    seen = Stop(1000, KeyboardInterrupt)
    restore_file(image, output, restorer, resume=True, progress=seen)
    assert seen.done[0] > 0
    assert np.array_equal(read(output).array, whole)
    assert sorted(tmp_path.iterdir()) == [image, output]
    with pytest.raises(FileExistsError):
        restore_file(image, output, restorer, resume=True)


@pytest.mark.usefixtures("small_chunks")
def test_a_zarr_is_kept_on_errors_that_may_be_gone_later(restorer, image, tmp_path) -> None:
    output = tmp_path / "out.zarr"
    for error, kept in ((ValueError, False), (ChildProcessError, True), (OSError, True)):
        with pytest.raises(error, match="stop"):
            restore_file(image, output, restorer, resume=True, progress=Stop(5, error))
        assert (tmp_path / "out.zarr.part").exists() == kept
    seen = Stop(1000, KeyboardInterrupt)
    restore_file(image, output, restorer, resume=True, progress=seen)
    assert seen.done[0] >= 4 * seen.done[-1] // 24
    assert sorted(tmp_path.iterdir()) == [image, output]


@pytest.mark.usefixtures("small_chunks")
def test_a_disk_that_is_full_at_the_end_costs_no_blocks(
    restorer, image, tmp_path, monkeypatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left")

    output = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(ome_zarr_writer, "_attributes", full)
        with pytest.raises(OSError, match="No space left"):
            restore_file(image, output, restorer)
    assert not output.exists()
    seen = Stop(1000, KeyboardInterrupt)
    restore_file(image, output, restorer, resume=True, progress=seen)
    assert seen.done == [seen.done[-1]], "all blocks were done before"
    assert sorted(tmp_path.iterdir()) == [image, output]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on(model, tmp_path, workers) -> None:
    array = np.random.default_rng(0).integers(0, 999, (60 * workers, 200, 200), np.uint16)
    source = write(tmp_path / "in.tif", Image(array, "ZYX"))
    output = tmp_path / "out.zarr"
    code = (
        "from microscopygan.restoration.api import restore_file\n"
        f"restore_file({str(source)!r}, {str(output)!r}, {str(model)!r}, workers={workers})"
    )
    run = subprocess.Popen([sys.executable, "-c", code])
    marks = tmp_path / "out.zarr.part" / PROGRESS
    deadline = time.monotonic() + 60
    while not (marks / "c" / "0").exists():
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.01)
    children = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    assert psutil.wait_procs(children, timeout=20)[1] == [], "workers end with their parent"
    seen = Stop(1000, KeyboardInterrupt)
    restore_file(source, output, model, resume=True, progress=seen)
    assert 0 < seen.done[0] < array.size
    expected = restore(array, model=model, axes="ZYX")
    assert np.array_equal(read(output).array, expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "out.zarr"]


def test_refusals(restorer, image, tmp_path, monkeypatch) -> None:
    other = tmp_path / "other.ome.tif"
    for given, output, options, error, message in (
        (image, image, {"overwrite": True}, ValueError, "the output is the input"),
        (image, other, {"workers": 2}, ValueError, r"expected an output of .zarr"),
        (image, other, {"workers": 0}, ValueError, "workers: expected at least 1"),
        (image, other, {"scheduler": "tcp://x:1"}, ValueError, "expected an output of .zarr"),
        (image, other, {"axes": "ZYX"}, ValueError, "axis letter"),
        (image, tmp_path / "a.bmp", {}, ValueError, "a.bmp"),
        (tmp_path / "no.tif", other, {}, FileNotFoundError, "no.tif"),
        (image, other, {"memory": 10}, MemoryError, "expected at least"),
        (image, tmp_path / "a.zarr", {"memory": 10}, MemoryError, "expected at least"),
    ):
        with pytest.raises(error, match=message):
            restore_file(given, output, restorer, **options)
        assert sorted(tmp_path.iterdir()) == [image]
    write(other, read(image))
    with pytest.raises(FileExistsError, match="exists"):
        restore_file(image, other, restorer)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="the output is the input"):
        restore_file("in.ome.tif", os.path.join("..", tmp_path.name, "in.ome.tif"), restorer)


def test_the_output_may_not_lie_in_the_input(restorer, image, tmp_path) -> None:
    restore_file(image, tmp_path / "a.zarr", restorer)
    for output in (tmp_path / "a.zarr" / "0", tmp_path / "a.zarr" / "b.zarr"):
        with pytest.raises(ValueError, match="the output is the input"):
            restore_file(tmp_path / "a.zarr", output, restorer, overwrite=True)


def test_pixels_that_the_axial_task_cannot_leave_out_are_one_line(restorer, tmp_path) -> None:
    array = np.random.default_rng(0).random((4, 50, 50)).astype(np.float32)
    array[1, 3, 3] = np.nan
    np.save(tmp_path / "a.npy", array)
    sizes = {"Z": 2.0, "Y": 1.0, "X": 1.0}
    with pytest.raises(ValueError, match=r"a\.npy: expected finite pixels"):
        restore_file(
            tmp_path / "a.npy",
            tmp_path / "b.npy",
            restorer,
            **{"axes": "ZYX", "task": "axial", "pixel_size": sizes},
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy"]


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.ome.tif", "a.zarr"])
def test_nan_and_infinite_pixels_are_left_out_and_put_back(restorer, tmp_path, name) -> None:
    """A stack that was registered: NaN at the borders; and a ratio with infinite pixels."""
    rng = np.random.default_rng(0)
    stack = rng.normal(100, 5, (3, 90, 100)).astype(np.float32)
    stack[:, 40:50, 30:60] += 80
    whole = restore(stack, model=restorer, axes="TYX")
    stack[1, :6], stack[1, :, 90:], stack[2, 60, 70] = np.nan, np.nan, np.inf
    if name == "a.npy":
        np.save(tmp_path / name, stack)
    elif name == "a.zarr":
        zarr.create_array(tmp_path / name, data=stack, dimension_names=["t", "y", "x"])
    else:
        axes = {"metadata": {"axes": "TYX"}, "photometric": "minisblack"}
        tifffile.imwrite(tmp_path / name, stack, imagej=name == "a.tif", **axes)
    output = tmp_path / f"restored_{name}"
    done = restore_file(tmp_path / name, output, restorer, axes="TYX")
    assert "NaN or infinite pixels were left out" in " ".join(done.notes)
    with pytest.raises(ValueError, match="expected finite pixels"):
        read(output, axes="TYX")  # as for training
    restored = restore(stack, model=restorer, axes="TYX")
    assert np.array_equal(np.isnan(restored), np.isnan(stack))
    assert np.array_equal(np.isinf(restored), np.isinf(stack))
    assert np.array_equal(restored[0], whole[0])
    finite = np.isfinite(stack[1])
    assert np.abs(restored[1] - whole[1])[finite].mean() < 5
    tiled = restore(stack, model=restorer, axes="TYX", memory=190 * 10**6)
    assert np.array_equal(tiled, restored, equal_nan=True)
