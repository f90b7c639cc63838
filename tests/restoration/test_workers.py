"""Several processes: the bytes of one, also when workers are killed."""

import multiprocessing
import os
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from microscopygan.image.image import Image
from microscopygan.image.lazy import Blocks
from microscopygan.restoration import workers
from microscopygan.restoration.api import restore_file
from microscopygan.restoration.job import BlockRestorer, Job, marked_blocks
from microscopygan.restoration.tasks import Options, choose_task
from microscopygan.restoration.workers import run_cluster, run_processes


@pytest.fixture
def job(restorer, tmp_path: Path) -> Job:
    """A job of 20 blocks, on disk."""
    array = np.random.default_rng(0).integers(0, 999, (10, 100, 150), np.uint16)
    source = zarr.create_array(tmp_path / "in.zarr", data=array, chunks=(2, 60, 70))
    group = zarr.open_group(tmp_path / "out.zarr", mode="w")
    target = group.create_array("0", shape=array.shape, chunks=(1, 64, 150), dtype=np.uint16)
    task = choose_task(Image(array, "ZYX"), restorer, Options())
    blocks = Blocks(array.shape, (1, 64, 150))
    work = BlockRestorer(restorer, task, source, dict.fromkeys(task.tiled, 64))
    return Job(work, target, *marked_blocks(group, blocks, {}))


def expected(job: Job) -> np.ndarray:
    whole = job.work(tuple(slice(0, length) for length in job.blocks.shape))
    assert whole.any()
    return whole


def test_a_killed_worker_changes_nothing(job) -> None:
    killed, seen = [], []

    def kill(pixels: int) -> None:
        seen.append(pixels)
        if not killed:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)

    run_processes(job, 2, kill)
    assert killed
    assert sum(seen) == job.target.size
    assert np.array_equal(job.target[:], expected(job))
    assert job.pending() == []


def test_workers_that_keep_dying_end_the_run(job, monkeypatch) -> None:
    pools = []

    def broken(job, count, pending, report):
        pools.append(len(pending))
        if len(pools) == 2:
            del pending[0]
        raise workers.BrokenProcessPool

    monkeypatch.setattr(workers, "_run_pool", broken)
    with pytest.raises(ChildProcessError, match="3 times one ended before any block"):
        run_processes(job, 2, print)
    assert pools == [20, 20, 19, 19]


def test_errors_of_workers_come_out(job) -> None:
    bad = Job(job.work, job.target[:, :, :40], job.blocks, job.marks)  # too narrow
    with pytest.raises(ValueError, match="could not broadcast"):
        run_processes(bad, 1, lambda pixels: None)
    assert multiprocessing.active_children() == []


def test_a_cluster_gives_the_bytes_of_one_process(job) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distributed = pytest.importorskip("distributed")
        options = {"dashboard_address": None, "threads_per_worker": 1}
        with distributed.LocalCluster(n_workers=2, processes=False, **options) as cluster:
            seen = []
            job.restore(0)
            run_cluster(job, cluster.scheduler_address, seen.append)
    assert len(seen) == 19
    assert np.array_equal(job.target[:], expected(job))


def test_no_cluster_is_one_line(job, monkeypatch) -> None:
    distributed = pytest.importorskip("distributed")

    def unreachable(*args, **options):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", unreachable)
    with pytest.raises(OSError, match="tcp://nowhere:1: expected a Dask scheduler"):
        run_cluster(job, "tcp://nowhere:1", print)


def test_files_with_several_workers(model, tmp_path) -> None:
    from microscopygan.image.formats import read, write

    array = np.random.default_rng(0).integers(0, 999, (33, 100, 100), np.uint16)
    source = write(tmp_path / "in.ome.tif", Image(array, "ZYX", {"X": 0.1}))
    restore_file(source, tmp_path / "one.zarr", model)
    restore_file(source, tmp_path / "two.zarr", model, workers=2)
    one, two = read(tmp_path / "one.zarr"), read(tmp_path / "two.zarr")
    assert np.array_equal(one.array, two.array)
    assert one.provenance == two.provenance
