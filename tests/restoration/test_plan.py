"""Plans: blocks of whole units, spanning stored chunks; memory sets the size of the tiles."""

import os
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.image import Image
from microscopygan.image.tiles import region_size
from microscopygan.model_card import ModelCard
from microscopygan.restoration.intensity_maps import Scales
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.neighbours import NeighbourAxis
from microscopygan.restoration.plan import free_memory, plan, plan_blocks, processors
from microscopygan.restoration.tasks import Options, PlaneTask, choose_task

CARD = ModelCard(program="0", halo=(33, 33), multiple=4, defects=("noise",))
UINT16 = np.dtype(np.uint16)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def task_of(*shape: int) -> PlaneTask:
    image = Image(np.broadcast_to(np.uint16(0), shape), "TZYX"[-len(shape) :])
    scales = Scales(image, "none", 1, 99)
    return PlaneTask(image.axes, shape, UINT16, scales, CARD.halo, CARD.multiple)


@given(budget=st.integers(200, 100_000))
@settings(deadline=None)
def test_what_is_planned_fits(budget) -> None:
    blocks, tile = plan(task_of(50, 40_000, 40_000), CARD, budget * 10**6, source=UINT16)
    assert all(64 <= side <= 2048 for side in tile.values())
    network = (tile["Y"] + 72) * (tile["X"] + 72) * 280
    waiting = np.prod(blocks.block) * 28
    assert 150e6 + network + waiting <= budget * 1e6
    assert network + waiting < 1.2e9, "more memory is not used without gain"


def test_larger_budgets_give_larger_tiles() -> None:
    budgets = [2e8, 3e8, 5e8, 1e9, 2e9, 1e11]
    tiles = [plan(task_of(9, 3000, 3000), CARD, int(b), source=UINT16)[1] for b in budgets]
    areas = [tile["Y"] * tile["X"] for tile in tiles]
    assert areas == sorted(areas)
    assert areas[0] < areas[2] < areas[-1]


def test_rows_stay_whole_where_that_saves_halos() -> None:
    assert plan(task_of(2048, 2048), CARD, 10**10, source=UINT16)[0].block == (1024, 2048)
    assert plan(task_of(9000, 2000), CARD, 10**10, source=UINT16)[1]["X"] == 2000
    narrow = plan(task_of(9000, 300), CARD, 10**10, source=UINT16)[1]
    assert narrow["X"] == 300
    square = plan(task_of(9000, 9000), CARD, 3 * 10**8, source=UINT16)[1]
    assert square["X"] == square["Y"]


def test_refusals_say_how_much_it_takes() -> None:
    with pytest.raises(MemoryError, match=r"expected at least 159 MB of memory, got 155 MB"):
        plan(task_of(3000, 3000), CARD, 155 * 10**6, source=UINT16)
    whole = CARD.model_copy(update={"tileable": False, "halo": (0, 0), "bytes_per_pixel": 1800})
    with pytest.raises(MemoryError, match=r"at least 16.4 GB .* \(3000 × 3000 pixels\)"):
        plan(task_of(3000, 3000), whole, 10**9, source=UINT16)
    with pytest.raises(MemoryError, match=r"written in blocks of \(64, 4096, 4096\)"):
        plan(task_of(64, 9000, 9000), CARD, 10**9, source=UINT16, unit=(64, 4096, 4096))


def test_a_model_for_whole_planes_gets_them(whole_model) -> None:
    image = Image(np.zeros((3, 700, 1500), np.uint16), "ZYX")
    restorer = Restorer(whole_model)
    task = choose_task(image, restorer, Options(intensity="none"))
    blocks, tile = plan(task, restorer.card, 4 * 10**9, source=UINT16, unit=(1, 512, 512))
    assert blocks.block[1:] == (700, 1500)
    assert tile["X"] >= 1500


def test_free_memory_is_plausible() -> None:
    assert 10**7 < free_memory() < 10**14


def test_a_network_that_takes_more_memory_gets_smaller_tiles() -> None:
    heavy = CARD.model_copy(update={"bytes_per_pixel": 2800})
    task = task_of(3000, 3000)
    tiles = [plan(task, card, 10**9, source=UINT16)[1] for card in (CARD, heavy)]
    light, small = ((tile["Y"] + 72) * (tile["X"] + 72) for tile in tiles)
    assert 2800 * small <= 0.6 * 850e6 < 2800 * light
    with pytest.raises(MemoryError, match="at least 237 MB"):
        plan(task, heavy, 200 * 10**6, source=UINT16)


@given(
    shape=st.tuples(st.integers(1, 100), st.integers(1, 5000), st.integers(1, 5000)),
    unit=st.tuples(st.integers(1, 20), st.integers(1, 700), st.integers(1, 700)) | st.none(),
    chunks=st.tuples(st.integers(1, 70), st.integers(1, 5000), st.integers(1, 5000)) | st.none(),
    tile=st.integers(64, 1024),
    limit=st.integers(2**16, 2**24),
)
@settings(max_examples=200, deadline=None)
def test_planned_blocks_are_whole_units_and_limited(shape, unit, chunks, tile, limit) -> None:
    block = plan_blocks(shape, "ZYX", {"Y": tile, "X": tile}, limit, unit, chunks).block
    least = unit or (1, 1, 1)
    for size, one, length in zip(block, least, shape, strict=True):
        assert size == length or size % one == 0
        assert 1 <= size <= length
    alone = np.prod([min(a, b) for a, b in zip(least, shape, strict=True)])
    assert np.prod(block) <= max(limit, alone)


def test_a_block_spans_the_planes_of_stored_chunks() -> None:
    tile = {"Y": 1024, "X": 1024}
    block = plan_blocks((200, 4000, 4000), "ZYX", tile, 2**24, chunks=(64, 256, 256)).block
    assert block == (64, 512, 512)
    block = plan_blocks((4000, 4000, 200), "YXZ", tile, 2**24, chunks=(256, 256, 16)).block
    assert block == (1000, 1000, 16)


def test_small_planes_go_together() -> None:
    blocks = plan_blocks((4, 60, 256, 256), "TZYX", {"Y": 1024, "X": 1024}, 2**24)
    assert blocks.block == (1, 16, 256, 256)
    assert region_size(blocks[0]) == 2**20


def test_planes_with_neighbours_go_together() -> None:
    tile = {"Y": 1024, "X": 2048}
    assert plan_blocks((60, 2048, 2048), "ZYX", tile, 2**24, beside="Z").block == (8, 1024, 2048)
    assert plan_blocks((60, 2048, 2048), "ZYX", tile, 2**22, beside="Z").block == (2, 1024, 2048)
    movie = plan_blocks((50, 3, 900, 900), "TCYX", tile, 2**24, beside="T").block
    assert movie == (8, 1, 900, 900)


def test_planes_with_neighbours_fit_into_memory() -> None:
    image = Image(np.broadcast_to(np.uint16(0), (50, 9000, 9000)), "ZYX")
    scales, card = Scales(image, "none", 1, 99), CARD.model_copy(update={"planes": 3})
    axis = NeighbourAxis(image, "z")
    shape = image.array.shape
    task = PlaneTask("ZYX", shape, UINT16, scales, card.halo, card.multiple, 3, axis)
    for memory in (2 * 10**8, 10**9, 10**10):
        blocks, tile = plan(task, card, memory, source=UINT16)
        network = (tile["Y"] + 72) * (tile["X"] + 72) * (280 + 8)
        assert 150e6 + network + np.prod(blocks.block) * (16 + 3 * (3 * 2 + 2)) <= memory
        assert tile["Z"] == 1 or np.prod(list(tile.values())) <= 2**20


def control_group(root: Path, lines: str, files: dict[str, str]) -> Path:
    """Write files as a system's control groups have them."""
    for name, text in {"proc/self/cgroup": lines, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def _no_slurm(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


V2 = {
    "sys/fs/cgroup/a/memory.max": "max\n",
    "sys/fs/cgroup/a/memory.current": "1000\n",
    "sys/fs/cgroup/a/b/memory.max": "10000000\n",
    "sys/fs/cgroup/a/b/memory.current": "7000000\n",
    "sys/fs/cgroup/a/b/memory.stat": "anon 5\ninactive_file 2000000\nactive_file 4\n",
    "sys/fs/cgroup/a/cpu.max": "100000 100000\n",
    "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
}
V1 = {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "5000000\n",
    "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 1000000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.usefixtures("_no_slurm")
@pytest.mark.parametrize(
    ("lines", "files", "memory", "cores"),
    [
        ("0::/a/b\n", V2, 5_000_000, 1),
        ("5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n", V1, 5_000_000, 1),
        ("0::/a/b\n", V2 | {"sys/fs/cgroup/a/b/memory.current": "99000000"}, 0, 1),
    ],
    ids=["version 2", "version 1, seen from within", "used up"],
)
def test_limits_of_a_container_hold(tmp_path, lines, files, memory, cores) -> None:
    root = control_group(tmp_path, lines, files)
    assert free_memory(root) == memory
    assert processors(root) == cores


@pytest.mark.usefixtures("_no_slurm")
@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000"}),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "5"}),
        (
            "5:memory:/\n2:cpu:/\n",
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "5000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
        ),
        ("", {"sys/fs/cgroup/memory.max": "strange"}),
    ],
)
def test_without_limits_the_machine_counts(tmp_path, lines, files) -> None:
    root = control_group(tmp_path, lines, files)
    assert free_memory(root) > 10**7
    assert processors(root) == CORES
    assert processors(tmp_path / "no such folder") == processors(root)


@pytest.mark.usefixtures("_no_slurm")
def test_limits_of_a_slurm_job_hold(tmp_path, monkeypatch) -> None:
    free = free_memory(tmp_path)
    taken = psutil.Process().memory_info().rss
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", str(taken // 2**20 + 50))
    assert 20e6 < free_memory(tmp_path) < 80e6 < free
    assert processors(tmp_path) == 1
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(taken // 2**20 + 100))
    assert 80e6 < free_memory(tmp_path) < 130e6
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.setenv(name, "0")  # all of the node
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "many")
    assert free_memory(tmp_path) > 80e6
    assert processors(tmp_path) == CORES
