"""Cells: computed once, anew where something else would come of them, honest about failures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microscopygan.evaluate.metrics import psnr_affine
from microscopygan_bench.odd import cells, user
from microscopygan_bench.odd.cells import Bench, Cell, compute, plan, read_cells
from microscopygan_bench.odd.families import FAMILIES
from microscopygan_bench.odd.rows import ROWS
from microscopygan_bench.peers.job import read_arrays, write_arrays

INPUT = Cell("rows", "input")


def test_a_cell_has_its_scores_and_how_they_came_about(bench: Bench) -> None:
    figures = compute(bench, INPUT)
    images = bench.images("rows")
    scores = figures["scores"]["input"]
    assert scores["psnr"].keys() == scores["ssim"].keys() == images.test.keys()
    name, plane = next(iter(images.test.items()))
    wanted = psnr_affine(images.test_targets[name], plane)
    assert scores["psnr"][name] == pytest.approx(wanted, abs=1e-4)
    assert json.loads(bench.path(INPUT).read_text()) == figures
    assert "commit" in figures["machine"]
    assert len(figures["load"]) == 2
    assert not list(bench.work.rglob("*.tif"))


def test_a_cell_counts_as_long_as_it_would_come_about_so(bench: Bench) -> None:
    assert not bench.finished(INPUT)
    compute(bench, INPUT)
    assert bench.finished(INPUT)
    assert replace(bench, minutes=7.0).finished(INPUT)
    trained = Cell("rows", "like-10")
    prints = {b.fingerprint(trained) for b in (bench, replace(bench, minutes=7.0))}
    prints |= {replace(bench, threads=9).fingerprint(trained), bench.fingerprint(INPUT)}
    prints.add(bench.fingerprint(Cell("jitter", "like-10")))
    assert len(prints) == 5
    bench.path(INPUT).write_text(bench.path(INPUT).read_text().replace('"job": "', '"job": "x'))
    assert not bench.finished(INPUT)


def test_what_a_row_is_called_does_not_matter() -> None:
    row = ROWS["cyclegan"]
    assert replace(row, title="another", only=()).conditions() == row.conditions()
    assert len({json.dumps(row.conditions()) for row in ROWS.values()}) == len(ROWS)


@pytest.mark.parametrize("name", ["like-10", "pairs-10", "ceiling"])
def test_a_training_gets_its_images_and_restores_the_test(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen: dict[str, object] = {}

    def train(work: Path, options: tuple[str, ...], minutes: float, threads: int) -> object:
        seen["files"] = len(list((work / "dataset").rglob("*.tif")))
        seen["options"], seen["minutes"] = options, minutes
        return work / "run" / "restorer.onnx", "said something"

    def restore(work: Path, test: dict[str, np.ndarray], model: Path, threads: int) -> object:
        seen["model"] = model.name
        return test

    monkeypatch.setattr(user, "train", train)
    monkeypatch.setattr(user, "restore", restore)
    figures = compute(bench, Cell("rows", name))
    wanted = {"like-10": 10 + 4, "pairs-10": 20, "ceiling": 2 * 8 * 4}[name]
    assert seen["files"] == wanted
    assert seen["minutes"] == bench.minutes
    assert seen["options"] == (("--alpha", "0") if name == "ceiling" else ())
    assert figures["said"] == "said something"
    assert figures["pace"] == 0.25


def test_cyclegan_gets_what_ours_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def process(command: list[str], *_: object) -> int:
        work = Path(command[-1])
        seen.update(read_arrays(work / "training.npz"))
        seen["job"] = json.loads((work / "job.json").read_text())
        test = read_arrays(work / "test.npz")
        write_arrays(work / "restored.npz", test)
        (work / "about.json").write_text('{"steps": 7}')
        return 0

    monkeypatch.setattr(cells, "run_process", process)
    figures = compute(bench, Cell("rows", "cyclegan"))
    assert figures["said"] == "7 steps"
    assert seen["job"]["seconds"] == 2 * 60 * bench.minutes
    images = bench.images("rows")
    assert (len(seen["odd/input"]), len(seen["odd/target"])) == (12, 4)
    assert seen["odd/input"][0].shape == images.test_targets[next(iter(images.test))].shape
    same = compute(bench, INPUT)["scores"]["input"]["psnr"]
    assert figures["scores"]["cyclegan"]["psnr"] == pytest.approx(same, abs=1e-3)


def test_a_failure_leaves_no_cell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(user, "restore", broken)
    with pytest.raises(RuntimeError, match="out of luck"):
        compute(bench, Cell("rows", "shipped"))
    assert not bench.path(Cell("rows", "shipped")).exists()


def test_plan_has_every_cell_once_and_short_rows_first() -> None:
    planned = plan(FAMILIES, ROWS)
    assert len(planned) == len(set(planned)) == 8 * len(FAMILIES) + len(ROWS["cyclegan"].only)
    assert planned.index(Cell("jitter+hum", "input")) < planned.index(Cell("scmos", "like-10"))
    assert len(plan(FAMILIES, ["cyclegan"], ["cyclegan"])) == len(FAMILIES)
    assert plan(["uneven"], ["cyclegan"]) == []


def test_results_of_other_images_are_not_mixed(bench: Bench) -> None:
    compute(bench, INPUT)
    assert list(read_cells(bench.out)) == [INPUT]
    other = bench.path(Cell("rows", "shipped"))
    other.write_text(bench.path(INPUT).read_text().replace('"data": "', '"data": "x'))
    with pytest.raises(ValueError, match="expected results of the images of the other rows"):
        read_cells(bench.out)


def test_the_peer_is_needed_for_classical_methods_alone() -> None:
    assert cells.needs_peer([Cell("rows", "classical"), INPUT]) == "dedicated"
    assert cells.needs_peer([INPUT]) is None
