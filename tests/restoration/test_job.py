"""A job's blocks: order, few blocks at a time, prompt and clean ends, tiles that halve."""

import threading
import time

import numpy as np
import pytest

from microscopygan.image.image import Image
from microscopygan.image.lazy import Blocks
from microscopygan.restoration.job import BlockRestorer, run
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.tasks import Options, choose_task

BLOCKS = Blocks((40, 8), (1, 8))


class Doubling:
    """Stands for the network; notes how many blocks are between reading and written."""

    def __init__(self, fail: str = "", at: int = 5) -> None:
        self.fail, self.at = fail, at
        self.live = self.most = 0
        self.lock = threading.Lock()
        self.result = np.zeros(BLOCKS.shape)

    def change(self, by: int) -> None:
        with self.lock:
            self.live += by
            self.most = max(self.most, self.live)

    def step(self, name: str, row: int) -> None:
        if self.fail == name and row == self.at:
            raise OSError(f"{name} failed")

    def read(self, region):
        self.change(1)
        self.step("read", region[0].start)
        return np.full((1, 8), float(region[0].start))

    def compute(self, pixels, region, report=None):
        self.step("compute", region[0].start)
        return pixels * 2

    def write(self, index, pixels):
        self.step("write", index)
        self.result[BLOCKS[index]] = pixels
        self.change(-1)


def everything(work: Doubling) -> list[int]:
    return list(run(range(len(BLOCKS)), BLOCKS, work, work.write))


@pytest.fixture(autouse=True)
def no_threads_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_all_blocks_in_order_and_few_at_a_time() -> None:
    work = Doubling()
    assert everything(work) == list(range(40))
    assert np.array_equal(work.result[:, 3], 2.0 * np.arange(40))
    assert work.most <= 4


def test_nothing_to_do() -> None:
    assert list(run([], BLOCKS, Doubling(), Doubling().write)) == []


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_errors_of_every_stage_come_out_soon(stage) -> None:
    work = Doubling(fail=stage)
    with pytest.raises(OSError, match=f"{stage} failed"):
        everything(work)
    assert np.count_nonzero(work.result[:, 3]) <= 8


def test_leaving_the_loop_ends_the_threads() -> None:
    work = Doubling()
    for index in run(range(40), BLOCKS, work, work.write):
        if index == 7:
            break
    assert not work.result[12:].any()


def test_reading_computing_and_writing_overlap() -> None:
    class Slow(Doubling):
        def read(self, region):
            time.sleep(0.02)
            return super().read(region)

        def compute(self, pixels, region, report=None):
            time.sleep(0.02)
            return super().compute(pixels, region)

        def write(self, index, pixels):
            time.sleep(0.02)
            super().write(index, pixels)

    work, begun = Slow(), time.perf_counter()
    everything(work)
    assert time.perf_counter() - begun < 0.75 * 40 * 0.06


class Crowded:
    """A network for which windows above an area find no memory."""

    def __init__(self, restorer: Restorer, most: int) -> None:
        self.card, self.most, self.failed = restorer.card, most, 0
        self.inner = restorer

    def run_windows(self, windows, report=None):
        if windows[0].size > self.most:
            self.failed += 1
            raise MemoryError
        return self.inner.run_windows(windows, report)


def test_tiles_halve_until_they_fit(restorer) -> None:
    array = np.random.default_rng(0).random((2, 400, 300), dtype=np.float32)
    image = Image(array, "ZYX")
    task = choose_task(image, restorer, Options())
    region = (slice(0, 2), slice(0, 400), slice(0, 300))
    whole = BlockRestorer(restorer, task, array, {"Y": 512, "X": 512})(region)
    crowded = Crowded(restorer, 180 * 180)
    work = BlockRestorer(crowded, task, array, {"Y": 512, "X": 512})
    assert np.array_equal(work(region), whole)
    assert work.tile == {"Y": 100, "X": 150}
    failed = crowded.failed
    assert np.array_equal(work(region), whole)
    assert crowded.failed == failed, "small tiles are kept"


def test_too_little_memory_is_one_line(restorer, whole_model) -> None:
    array = np.random.default_rng(0).random((300, 300), dtype=np.float32)
    whole = Restorer(whole_model)
    for network, message in ((restorer, "tiles of 75 × 75"), (whole, "tiles of 300 × 300")):
        task = choose_task(Image(array, "YX"), network, Options())
        work = BlockRestorer(Crowded(network, 10), task, array, {"Y": 1024, "X": 1024}, "a.tif")
        with pytest.raises(MemoryError, match=f"a.tif: expected enough memory for {message}"):
            work((slice(0, 300), slice(0, 300)))


def test_pixels_that_are_not_finite_are_put_back(restorer) -> None:
    array = np.ones((50, 50), np.float32)
    task = choose_task(Image(array, "YX"), restorer, Options(intensity="none"))
    array[7, 7] = np.inf
    work = BlockRestorer(restorer, task, array, {"Y": 64, "X": 64}, "a.npy")
    restored = work((slice(0, 20), slice(0, 20)))
    assert restored[7, 7] == np.inf
    assert np.isfinite(restored).sum() == 399
