"""The benchmark of restoration: fair draws, and cells that are computed once."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.evaluate.metrics import affine_fit
from microscopygan.image.intensity import percentile_map
from microscopygan_bench.inputs import environment
from microscopygan_bench.peers import job as jobs
from microscopygan_bench.peers.job import read_arrays
from microscopygan_bench.restoration import cells, command, protocol, scores
from microscopygan_bench.restoration.cells import ALL, Bench, Cell
from microscopygan_bench.restoration.methods import METHODS, Method
from microscopygan_bench.restoration.protocol import BenchmarkData

SIDE, TRAIN, TEST = 40, 7, 3
DEFECTS = {"noise": Noise(photons=30), "lowres": LowResolution(sigma=1.5, binning=2)}
STUB = """
import os, signal
import numpy as np
from microscopygan_bench.peers.job import Trained, perform, write_arrays

def train(job, given, work):
    if os.environ.get("STUB") == "killed":
        write_arrays(work.parent / "restored.npz", {"noise": np.zeros((3, 40, 40))})
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("STUB") == "broken":
        raise ValueError("out of luck")
    if os.environ.get("STUB") == "blank":
        return Trained(lambda planes: planes * np.nan, 0, 0)
    return Trained(lambda planes: planes + 0.001 * np.arange(40) ** 2, 12, 34)

perform(train, ["numpy"])
"""


def write_data(folder: Path) -> Path:
    """Write a benchmark of two tasks on small planes."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name, defect in DEFECTS.items():
        for part, count in (("train", TRAIN), ("test", TEST)):
            clean = np.stack([nuclei((SIDE, SIDE), rng) for _ in range(count)])
            bad = np.stack([defect.apply(plane, rng) for plane in clean])
            np.save(folder / f"{name}_{part}_X.npy", 500 * bad)
            np.save(folder / f"{name}_{part}_Y.npy", (300 * clean + 20).astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("benchmark") / "data")


@pytest.fixture(scope="module")
def benchmark_data(data: Path) -> BenchmarkData:
    return protocol.read_data(data)


@pytest.fixture
def bench(benchmark_data: BenchmarkData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A benchmark with two stubs as further methods: one for each task, and one for all."""
    script = tmp_path / "stub"
    script.with_suffix(".py").write_text(STUB)
    stubs = {"each": True, "every": False}
    for name, single in stubs.items():
        stub = Method(f"stub for {name}", "peers", {}, single=single, script=str(script))
        monkeypatch.setitem(METHODS, name, stub)
    monkeypatch.setattr(Noise, "calibrate", lambda *_: [Noise(photons=40)])
    composed = protocol.two_defects(benchmark_data, tmp_path / "two.npz")
    return Bench(benchmark_data, composed, tmp_path / "out", 0.5, 1, {})


def run(data: Path, bench: Bench, *more: str) -> int:
    arguments = [str(data), "-o", str(bench.out), "--minutes", "0.01", "--threads", "1", *more]
    return command.main(arguments)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, TRAIN), st.integers(1, TRAIN), st.integers(0, 5))
def test_fewer_pairs_are_the_first_of_more(
    benchmark_data: BenchmarkData, a: int, b: int, draw: int
) -> None:
    few, many = sorted((a, b))
    less, more = (
        protocol.training_images(benchmark_data, "noise", "A", n, draw) for n in (few, many)
    )
    everything = protocol.training_images(benchmark_data, "noise", "A", None, draw)
    for side, planes in less.items():
        assert np.array_equal(planes, more[side][:few])
        assert np.array_equal(more[side], everything[side][:many])
    assert len(everything["noise/input"]) == TRAIN


def test_draws_differ_and_pairs_stay_pairs(benchmark_data: BenchmarkData) -> None:
    draws = [
        protocol.training_images(benchmark_data, "noise", "A", None, draw) for draw in range(4)
    ]
    assert len({planes["noise/input"].tobytes() for planes in draws}) == 4
    known = {p.input.tobytes(): p.target for p in benchmark_data.pairs["noise"]}
    for planes in draws:
        for image, target in zip(planes["noise/input"], planes["noise/target"], strict=True):
            assert np.array_equal(known[image.tobytes()], target)


@pytest.mark.parametrize("draw", range(4))
def test_without_pairs_no_image_is_seen_in_both_states(
    benchmark_data: BenchmarkData, draw: int
) -> None:
    planes = protocol.training_images(benchmark_data, "noise", "B", 0, draw)
    pairs = benchmark_data.pairs["noise"]
    inputs = {p.input.tobytes(): p.image for p in pairs}
    targets = {percentile_map(p.target).apply(p.target).tobytes(): p.image for p in pairs}
    bad = {inputs[plane.tobytes()] for plane in planes["noise/input"]}
    clean = {targets[plane.tobytes()] for plane in planes["noise/target"]}
    assert not bad & clean
    assert (len(bad), len(clean)) == (TRAIN // 2, TRAIN - TRAIN // 2)


def test_more_pairs_than_there_are_is_one_line(benchmark_data: BenchmarkData) -> None:
    with pytest.raises(ValueError, match=r"^pairs: expected at most 7 \(noise\), got 8; try all$"):
        protocol.training_images(benchmark_data, "noise", "A", 8, 0)


def test_two_defects_are_kept_and_normalised(bench: Bench, tmp_path: Path) -> None:
    made = bench.composed["noise+lowres"]
    again = protocol.two_defects(bench.data, tmp_path / "two.npz")["noise+lowres"]
    assert np.array_equal(made, again)
    assert np.allclose([np.percentile(p, [1, 99.8]) for p in made], [[0, 1]] * TEST, atol=1e-4)
    assert bench.data.targets("noise+lowres") is bench.data.test["lowres"]


def every_kind_of_cell() -> list[Cell]:
    each = [Cell("each", s, n, 0, t) for s, n in (("A", 2), ("B", 0)) for t in DEFECTS]
    every = [Cell("every", "A", None, 1, ALL), Cell("every", "B", 0, 1, ALL)]
    return [Cell("input", "A", 0, 0, "noise"), *each, *every]


def test_no_process_gets_a_test_target(bench: Bench) -> None:
    targets = [p.target for name in DEFECTS for p in bench.data.test[name]]
    for cell in every_kind_of_cell():
        finish(bench, cell._replace(task="noise"))
        cells.write_job(bench, cell)
        folder = bench.folder(cell)
        assert {path.name for path in folder.iterdir()} == {"job.json", "training.npz", "test.npz"}
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
    for task in DEFECTS:
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


def test_a_run_is_whole_and_counts_once(
    data: Path, bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["--methods", "input,each,every", "--pairs", "2", "--draws", "1", "--settings", "A"]
    monkeypatch.setenv("STUB", "killed")
    assert run(data, bench, *chosen) == 1
    printed = capsys.readouterr()
    assert printed.out.count("FAILED") == 3
    assert "needs each, 2 pairs, draw 0, noise, which failed" in printed.out
    counted = sorted((bench.out / "cells").glob("*/*/about.json"))
    assert [path.parents[1].name for path in counted] == ["input", "input"]
    before = [path.stat().st_mtime_ns for path in counted]

    monkeypatch.delenv("STUB")
    assert run(data, bench, *chosen) == 0
    printed = capsys.readouterr()
    assert "3 of 5 cells to compute" in printed.out
    assert [path.stat().st_mtime_ns for path in counted] == before
    left = {p.name for p in (bench.out / "cells/each").glob("*-noise-0.6s/*")}
    assert left == {"job.json", "machine.json", "log.txt", "restored.npz", "about.json"}
    check_reports(bench, printed.out)

    monkeypatch.setenv("STUB", "broken")  # nothing is left to compute, so nothing can fail
    assert run(data, bench, *chosen) == 0
    assert "0 of 5 cells" in capsys.readouterr().out
    assert run(data, bench, *chosen, "--threads", "2") == 2
    assert re.match(r"^\S+: computed with other threads; .*\n$", capsys.readouterr().err)


def check_reports(bench: Bench, printed: str) -> None:
    text = (bench.out / "table.md").read_text(encoding="utf-8")
    assert text in printed
    for name in ("untouched input", "stub for each", "stub for every"):
        assert re.search(rf"^\| {name} \| [\d.*]+ / [\d.*]+", text, re.MULTILINE)
    assert "| untouched input | " in text.split("noise+lowres")[2]
    page = (bench.out / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert page.count("<img") == 3 * 3 * 4
    assert not re.search(r"(href|src)=\"(?!data:)", page)
    with (bench.out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == TEST * 3 * 3
    assert {"psnr_affine", "micro_ssim", "ring_resolution"} <= rows[0].keys()
    assert all(np.isfinite(float(row["psnr_affine"])) for row in rows)
    with (bench.out / "cells.csv").open(newline="") as file:
        costs = list(csv.DictReader(file))
    assert {float(row["parameters"]) for row in costs} == {0.0, 12.0}
    assert all(float(row["pace"]) > 0 for row in costs)


def test_published_results_are_shown_and_not_computed(
    data: Path, bench: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chosen = ["--methods", "input,each", "--pairs", "2", "--draws", "1", "--settings", "A"]
    assert run(data, bench, *chosen) == 0
    published, more = tmp_path / "published", ["--published", str(tmp_path / "published")]
    shutil.copytree(bench.out, published, ignore=shutil.ignore_patterns("cells"))
    shutil.rmtree(bench.out / "cells")
    capsys.readouterr()
    assert run(data, bench, *chosen, *more) == 0
    assert "0 of 4 cells to compute" in capsys.readouterr().out
    for name in ("table.md", "scores.csv", "cells.csv"):
        assert (bench.out / name).read_text() == (published / name).read_text()
    assert "<img" not in (bench.out / "report.html").read_text()

    whole = (published / "cells.csv").read_text().splitlines(keepends=True)
    kept = [line for line in whole if not line.startswith("each,A,2,0,lowres")]
    (published / "cells.csv").write_text("".join(kept))
    assert run(data, bench, *chosen, *more) == 0  # the second network needs the first's images
    assert "2 of 4 cells to compute" in capsys.readouterr().out
    assert len((bench.out / "scores.csv").read_text().splitlines()) == 1 + TEST * 3 * 2

    assert run(data, bench, *chosen, *more, "--threads", "2", "-o", str(tmp_path / "new")) == 2
    assert "got others for each, 2 pairs, draw 0, noise; take" in capsys.readouterr().err
    (published / "scores.csv").write_text("image,psnr\n")
    assert run(data, bench, *more) == 2
    assert "got none named cell, draw, method, pairs, setting; name" in capsys.readouterr().err
    (published / "scores.csv").unlink()
    assert run(data, bench, *more) == 2
    assert "scores.csv" in capsys.readouterr().err


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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot be told")
def test_a_process_gets_as_many_processors_as_threads(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    code = "import os; print(len(os.sched_getaffinity(0)), flush=True)"
    with (tmp_path / "log").open("w") as log:
        assert cells._run([sys.executable, "-c", code], dict(os.environ), log, 60, 1) == 0
    assert (tmp_path / "log").read_text() == "1\n"
    assert os.sched_getaffinity(0) == before


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    begun = time.monotonic()
    with (tmp_path / "log").open("w") as log:
        assert cells._run(command, dict(os.environ), log, 0.6, 1) == -1
    assert time.monotonic() - begun < 50
    assert (tmp_path / "log").read_text().strip() == "stopped after 1 seconds"


def test_a_missing_peer_is_a_reason(bench: Bench) -> None:
    bench.pythons["care"] = "cannot be installed: no network"
    with pytest.raises(RuntimeError, match="no network"):
        cells.compute(bench, Cell("care", "A", 1, 0, "noise"))


def test_results_of_other_data_are_not_mixed(
    data: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.out.mkdir()
    (bench.out / "data.txt").write_text("another digest")
    assert run(data, bench) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs a parent that is replaced")
def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    child = "from microscopygan_bench.peers.job import leave_with_parent as f; import time; f(); "
    child += f"open({str(tmp_path / 'up')!r}, 'w'); time.sleep(60)"
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); "
    parent += "print(p.pid, flush=True); p.wait()"
    env = environment()
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=env)
    assert started.stdout
    with started.stdout:
        pid = int(started.stdout.readline())
    wait_until((tmp_path / "up").exists)
    started.kill()
    started.wait()
    wait_until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@settings(deadline=None)
@given(st.integers(2, 400), st.integers(0, 9))
def test_a_tenth_is_held_back(count: int, seed: int) -> None:
    kept, held = jobs.split(count, seed)
    assert sorted([*kept, *held]) == list(range(count))
    assert len(held) == max(1, round(count / 10))


def test_one_pair_serves_as_both() -> None:
    assert [list(part) for part in jobs.split(1, 0)] == [[0], [0]]
