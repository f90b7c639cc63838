"""Cells: what a process gets to see, the plan, and how processes end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from microscopygan.evaluate.metrics import affine_fit
from microscopygan_bench.peers import job as jobs
from microscopygan_bench.peers.job import read_arrays
from microscopygan_bench.restoration import cells, protocol, scores
from microscopygan_bench.restoration.cells import ALL, Bench, Cell

TASKS = ("noise", "lowres")


def every_kind_of_cell() -> list[Cell]:
    each = [Cell("each", s, n, 0, t) for s, n in (("A", 2), ("B", 0)) for t in TASKS]
    every = [Cell("every", "A", None, 1, ALL), Cell("every", "B", 0, 1, ALL)]
    return [Cell("input", "A", 0, 0, "noise"), *each, *every]


def test_no_process_gets_a_test_target(bench: Bench) -> None:
    targets = [p.target for name in TASKS for p in bench.data.test[name]]
    for cell in every_kind_of_cell():
        finish(bench, cell._replace(task="noise"))
        cells.write_job(bench, cell)
        folder = bench.folder(cell)
        given = {"job.json", "training.npz", "test.npz", "samples.npz"}
        assert {path.name for path in folder.iterdir()} == given
        seen = [read_arrays(folder / name) for name in ("training.npz", "test.npz")]
        for plane in (p for arrays in seen for planes in arrays.values() for p in planes):
            for target in targets:
                misfit = np.abs(affine_fit(target, plane) - target).max() / np.ptp(target)
                assert misfit > 0.02


def finish(bench: Bench, cell: Cell) -> None:
    """Write what a finished cell leaves of two defects."""
    folder = bench.folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    jobs.write_arrays(folder / "restored.npz", {k: v**2 for k, v in bench.composed.items()})
    (folder / "about.json").write_text("{}")


def test_given_images_do_not_depend_on_the_method(bench: Bench) -> None:
    for task in TASKS:
        wanted = protocol.training_images(bench.data, task, "A", 3, 2)
        finish(bench, Cell("each", "A", 3, 2, "noise"))
        for cell in (Cell("each", "A", 3, 2, task), Cell("every", "A", 3, 2, ALL)):
            cells.write_job(bench, cell)
            found = read_arrays(bench.folder(cell) / "training.npz")
            assert all(np.array_equal(found[name], planes) for name, planes in wanted.items())


def test_a_job_says_what_its_process_needs(bench: Bench) -> None:
    cells.write_job(bench, Cell("every", "B", 0, 2, ALL))
    told = json.loads((bench.folder(Cell("every", "B", 0, 2, ALL)) / "job.json").read_text())
    assert told["tasks"] == ["noise", "lowres"]
    wanted = {"method": "every", "task": ALL, "setting": "B", "seconds": 0.5, "seed": 2}
    assert told | wanted == told
    assert told["threads"] == 1


def test_the_second_network_gets_what_the_first_made(bench: Bench) -> None:
    finish(bench, Cell("each", "A", 2, 0, "noise"))
    second = Cell("each", "A", 2, 0, "lowres")
    cells.write_job(bench, second)
    found = read_arrays(bench.folder(second) / "test.npz")
    assert set(found) == {"lowres", "noise+lowres"}
    first = bench.composed["noise+lowres"] ** 2
    assert np.allclose(found["noise+lowres"], protocol.normalised(first), atol=1e-6)
    names = ["noise", "noise+lowres"]
    assert list(scores.scored(second, names)) == names
    assert list(scores.scored(second._replace(task="noise"), names)) == ["noise"]
    assert list(scores.scored(Cell("every", "A", 2, 0, ALL), names)) == names


def test_plan_has_every_cell_once() -> None:
    there = ("noise", "axial", "lowres")
    names = ["input", "cubic", "care", "n2v", "default", "oracle"]
    planned = cells.plan(names, ["A", "B"], [1, None], 2, there)
    assert len(planned) == len(set(planned)) == 3 + 1 + 2 * 2 * 3 + 2 * 3 + 2 * 3 + 1
    assert planned.index(Cell("care", "A", 1, 0, "noise")) < planned.index(
        Cell("care", "A", 1, 0, "lowres")
    )
    assert {c.setting for c in planned if c.method == "care"} == {"A"}
    assert [c for c in planned if c.method == "oracle"] == [Cell("oracle", "A", None, 0, ALL)]


@pytest.mark.parametrize(
    ("how", "reason"),
    [("broken", "ValueError: out of luck"), ("blank", "expected finite pixels, got NaN")],
)
def test_a_cell_that_fails_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str, reason: str
) -> None:
    monkeypatch.setenv("STUB", how)
    cell = Cell("each", "A", 1, 0, "noise")
    with pytest.raises(RuntimeError, match=reason):
        cells.compute(bench, cell)
    assert not bench.finished(cell)


def test_a_missing_peer_is_a_reason(bench: Bench) -> None:
    bench.pythons["care"] = "cannot be installed: no network"
    with pytest.raises(RuntimeError, match="no network"):
        cells.compute(bench, Cell("care", "A", 1, 0, "noise"))
