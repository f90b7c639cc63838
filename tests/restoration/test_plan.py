"""Memory: larger budgets give larger tiles, up to a bound; too small ones are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.image import Image
from microscopygan.model_card import ModelCard
from microscopygan.restoration.intensity_maps import Scales
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.plan import free_memory, plan
from microscopygan.restoration.tasks import Options, PlaneTask, choose_task

CARD = ModelCard(program="0", halo=33, multiple=4, defects=("noise",))
UINT16 = np.dtype(np.uint16)


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
    whole = CARD.model_copy(update={"tileable": False, "halo": 0})
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
