"""Progress and cancelling: for each window, in pixels of the output; nothing half-written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microscopygan import Cancelled
from microscopygan.image.formats import Image, read, write
from microscopygan.restoration.api import restore, restore_file
from microscopygan.restoration.job import BlockRestorer
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.tasks import Options, choose_task

SIZES = {"Z": 0.3, "Y": 0.1, "X": 0.1}


@pytest.fixture
def image() -> Image:
    """A stack whose planes go through the network in several windows."""
    return Image(np.random.default_rng(0).integers(0, 999, (20, 256, 260), np.uint16), "ZYX", SIZES)


@pytest.fixture
def small(image: Image) -> Image:
    """A quarter of it."""
    return replace(image, array=image.array[:, :128, :130])


class Counts:
    """Notes progress, and stops the work at a share of it."""

    def __init__(self, stop_at: float = 2.0, error: type[BaseException] = Cancelled) -> None:
        self.stop_at, self.error, self.seen = stop_at, error, []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))
        if done >= self.stop_at * total:
            raise self.error("stop")

    def check(self, pixels: int) -> None:
        done = [count for count, _ in self.seen]
        assert {total for _, total in self.seen} == {pixels}
        assert done == sorted(set(done))
        assert (done[0], done[-1]) == (0, pixels)


@pytest.mark.parametrize("task", ["plane", "axial"])
def test_progress_comes_for_each_window(restorer, image, monkeypatch, task) -> None:
    windows = []
    run = restorer._session.run

    class Session:
        def run(self, names, feed, options):
            windows.append(feed["image"].size)
            return run(names, feed, options)

    monkeypatch.setattr(restorer, "_session", Session())
    counts = Counts()
    restored = restore(image, model=restorer, task=task, progress=counts)
    counts.check(restored.array.size)
    assert len(windows) >= 5
    assert len(counts.seen) == len(windows) + 1
    steps = np.diff([done for done, _ in counts.seen]) / restored.array.size
    assert np.allclose(steps, np.array(windows) / sum(windows), atol=0.05)


@pytest.mark.parametrize("task", ["plane", "axial"])
def test_windows_are_counted_before_they_are_run(restorer, image, task) -> None:
    job_task = choose_task(image, restorer, Options(task=task, intensity="none"))
    region = tuple(slice(n // 5, n - n // 4) for n in job_task.shape)
    passed = []
    work = BlockRestorer(restorer, job_task, image.array, dict.fromkeys("ZYX", 10_000))
    restorer_run = restorer.run_windows
    job_task.compute(
        work.read(region), region, lambda windows: restorer_run(windows, passed.append)
    )
    assert job_task.network_pixels(region) == sum(passed)


def test_copied_channels_count_as_well(restorer) -> None:
    array = np.random.default_rng(0).integers(0, 99, (3, 50, 60), np.uint8)
    counts = Counts()
    restore(array, axes="CYX", model=restorer, channels=[1], progress=counts)
    counts.check(array.size)
    counts = Counts()
    restore(np.full((50, 60), 7, np.uint8), model=restorer, progress=counts)
    counts.check(3000)


def test_progress_is_right_where_tiles_halve(restorer: Restorer, image) -> None:
    class Crowded:
        card = restorer.card

        def run_windows(self, windows, report=None):
            if windows[0].size > 200 * 200:
                raise MemoryError
            return restorer.run_windows(windows, report)

    task = choose_task(image, restorer, Options())
    work = BlockRestorer(Crowded(), task, image.array, {"Y": 256, "X": 260})
    region = tuple(slice(0, length) for length in image.array.shape)
    reports = []
    work.compute(work.read(region), region, reports.append)
    assert sum(reports) == image.array.size
    assert min(reports) > 0


@pytest.mark.parametrize("task", ["plane", "axial"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_arrays_and_files_can_be_stopped(restorer, small, tmp_path, task, share) -> None:
    source = write(tmp_path / "in.ome.tif", small)
    with pytest.raises(Cancelled, match="stop"):
        restore(small, model=restorer, task=task, progress=Counts(share))
    for name in ("out.ome.tif", "out.npy", "out.ome.zarr"):
        options = {"task": task, "memory": 400_000_000}
        with pytest.raises(Cancelled, match="stop"):
            restore_file(source, tmp_path / name, restorer, progress=Counts(share), **options)
        assert list(tmp_path.iterdir()) == [source]


def test_a_stopped_run_that_replaces_keeps_the_old_output(restorer, image, tmp_path) -> None:
    source, output = write(tmp_path / "in.tif", image), write(tmp_path / "out.tif", image)
    before = output.read_bytes()
    with pytest.raises(Cancelled):
        restore_file(source, output, restorer, overwrite=True, progress=Counts(0.5))
    assert output.read_bytes() == before
    restore_file(source, output, restorer, overwrite=True)
    assert output.read_bytes() != before


@pytest.mark.slow
def test_workers_report_by_block_and_can_be_stopped(model: Path, image, tmp_path) -> None:
    """Slow (about 5 s): processes start."""
    source = write(tmp_path / "in.ome.tif", image)
    counts = Counts()
    restore_file(source, tmp_path / "out.ome.zarr", model, workers=2, progress=counts)
    counts.check(image.array.size)
    assert len(counts.seen) > 2
    with pytest.raises(Cancelled):
        restore_file(source, tmp_path / "b.ome.zarr", model, workers=2, progress=Counts(0.05))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ome.tif", "out.ome.zarr"]
    assert read(tmp_path / "out.ome.zarr").array.shape == image.array.shape
