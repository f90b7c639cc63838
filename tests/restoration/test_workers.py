"""Several processes: the bytes of one, also when workers are killed."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from microscopygan.image.atomic import PROGRESS
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


def start(log: Path, *command: str) -> subprocess.Popen:
    """Start a part of a cluster; wait until it says where it is."""
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=output, stderr=output)
    deadline = time.monotonic() + 60
    while not re.search(r"(Scheduler at|Registered to): +tcp", log.read_text()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, subprocess.Popen]]]:
    """A scheduler and a worker, each a process: the address, and the two by name."""
    pytest.importorskip("distributed")
    log = tmp_path / "scheduler.log"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    parts = {"scheduler": start(log, "distributed.cli.dask_scheduler", *options)}
    address = re.search(r"Scheduler at: +(tcp:\S+)", log.read_text())[1]
    options = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", tmp_path)
    worker = ("distributed.cli.dask_worker", address, *map(str, options))
    parts["worker"] = start(tmp_path / "worker.log", *worker)
    yield address, parts
    for process in parts.values():
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["scheduler", "worker"])
def test_a_cluster_that_ends_is_one_line_and_the_run_goes_on(
    cluster, victim: str, model, tmp_path: Path
) -> None:
    """Slow (several seconds): starts a cluster of two processes and a run on it."""
    from microscopygan.image.formats import read, write

    address, parts = cluster
    array = np.random.default_rng(0).integers(0, 999, (48, 200, 200), np.uint16)
    write(tmp_path / "a.tif", Image(array, "ZYX"))
    output = tmp_path / "out.zarr"
    command = [sys.executable, "-m", "microscopygan", "restore", tmp_path / "a.tif", "-o", output]
    command += ["--model", model, "--scheduler", address]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    marks = tmp_path / "out.zarr.part" / PROGRESS / "c"
    deadline = time.monotonic() + 60
    while not any(marks.glob("*")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parts[victim].kill()
    shown, error = run.communicate(timeout=60)
    assert run.returncode == 2
    assert re.fullmatch(r"microscopygan: tcp://\S+: expected the cluster to go on, .*\n", error)
    assert "--resume goes on" in shown
    restore_file(tmp_path / "a.tif", output, model, resume=True)
    restore_file(tmp_path / "a.tif", tmp_path / "whole.zarr", model)
    assert np.array_equal(read(output).array, read(tmp_path / "whole.zarr").array)


def test_a_cluster_without_workers_is_one_line(job) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distributed = pytest.importorskip("distributed")
        options = {"dashboard_address": None, "processes": False}
        with (
            distributed.LocalCluster(n_workers=0, **options) as cluster,
            pytest.raises(OSError, match=r"expected workers of the cluster, got none within"),
        ):
            run_cluster(job, cluster.scheduler_address, print, timeout=0.5)


def test_files_with_several_workers(model, tmp_path) -> None:
    from microscopygan.image.formats import read, write

    array = np.random.default_rng(0).integers(0, 999, (33, 100, 100), np.uint16)
    source = write(tmp_path / "in.ome.tif", Image(array, "ZYX", {"X": 0.1}))
    restore_file(source, tmp_path / "one.zarr", model)
    restore_file(source, tmp_path / "two.zarr", model, workers=2)
    one, two = read(tmp_path / "one.zarr"), read(tmp_path / "two.zarr")
    assert np.array_equal(one.array, two.array)
    assert one.provenance == two.provenance
