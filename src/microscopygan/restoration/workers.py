"""Run a job in several processes: of this machine, or of a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from typing import Any

from ..image.formats import TIMEOUT
from .job import Job, Report

_DEATHS = 3  # of pools, one after the other without a block finished in between
_RETRIES = 3  # of a block on a cluster
_CANCELLED = (asyncio.CancelledError, CancelledError)  # blocks that nobody will restore any more

_job: Job | None = None  # in a worker process


def run_processes(job: Job, workers: int, report: Report) -> None:
    """Restore all pending blocks in processes of this machine.

    A process that dies costs the blocks in work; they are done again by others.

    Parameters
    ----------
    job
        Its output must be one that several processes may write.
    workers
        Number of processes.
    report
        Called after each block with the number of its pixels.

    Raises
    ------
    ChildProcessError
        Processes keep dying.
    """
    pending = dict.fromkeys(job.pending())
    deaths = 0
    while pending:
        before = len(pending)
        try:
            _run_pool(job, workers, pending, report)
        except BrokenProcessPool:
            deaths = deaths + 1 if len(pending) == before else 1
            if deaths == _DEATHS:
                raise ChildProcessError(
                    f"expected {workers} worker processes to go on, but {_DEATHS} times one ended "
                    "before any block was done (is memory short?); try fewer workers"
                ) from None


def run_cluster(job: Job, scheduler: str, report: Report, timeout: float = TIMEOUT) -> None:
    """Restore all pending blocks on a running Dask cluster.

    Parameters
    ----------
    job
        Its files must lie where the cluster's machines find them under the same names.
    scheduler
        Address, such as ``tcp://node:8786``.
    report
        Called after each block with the number of its pixels.
    timeout
        Seconds to wait for the scheduler, and for a first worker.

    Raises
    ------
    ModuleNotFoundError
        Dask is not installed.
    OSError
        There is no scheduler at this address or no worker, or they end.
    """
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "expected Dask for --scheduler, which is not installed; "
            "try: pip install 'microscopygan[cluster]'"
        ) from None
    try:
        client = distributed.Client(scheduler, timeout=timeout, set_as_default=False)
    except OSError:
        raise OSError(
            f"{scheduler}: expected a Dask scheduler, got no answer; start one or check the address"
        ) from None
    with _quiet("distributed.client"), client:
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError:
            raise OSError(
                f"{scheduler}: expected workers of the cluster, got none within {timeout:g} s; "
                "start some"
            ) from None
        try:
            _run_on(client, job, report)
        except distributed.KilledWorker:
            raise ChildProcessError(
                f"{scheduler}: expected workers to go on, but a block ended several of them (is "
                "memory short?); give workers more memory or fewer threads"
            ) from None
        except (*_CANCELLED, distributed.comm.CommClosedError):
            raise ChildProcessError(
                f"{scheduler}: expected the cluster to go on, but its scheduler or all workers "
                "ended; start them again"
            ) from None


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger silent: what goes wrong is raised."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run_on(client: Any, job: Job, report: Report) -> None:
    """Restore all pending blocks by the workers of a client."""
    distributed = import_module("distributed")
    there = client.scatter(job, broadcast=True, hash=False)
    futures = client.map(
        _restore, job.pending(), job=there, pure=False, retries=_RETRIES, batch_size=1000
    )
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            index = future.result()
            future.release()
            report(job.pixels(index))
    finally:
        with suppress(OSError, TimeoutError, *_CANCELLED):  # of a cluster that has ended
            client.cancel([future for future in futures if not future.done()])


def _run_pool(job: Job, workers: int, pending: dict[int, None], report: Report) -> None:
    """Restore blocks in one pool, taking those that are finished out of `pending`."""
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(job,)
    )
    waiting = iter(list(pending))
    running: set[Future[int]] = set()
    try:
        while True:
            more = islice(waiting, 2 * workers - len(running))
            running |= {pool.submit(_restore_here, index) for index in more}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                index = future.result()
                del pending[index]
                report(job.pixels(index))
    finally:
        pool.shutdown(cancel_futures=True)


def _start(job: Job) -> None:
    """Prepare a worker process: it ignores Ctrl-C and ends when its parent does."""
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _restore_here(index: int) -> int:
    if _job is None:
        raise RuntimeError("expected a worker process that was given a job")
    return _job.restore(index)


def _restore(index: int, job: Job) -> int:
    return job.restore(index)
