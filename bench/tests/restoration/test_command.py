"""Whole runs of the benchmark on stubs: computed once, reported, published, refused."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microscopygan_bench.restoration import command
from microscopygan_bench.restoration.cells import Bench
from microscopygan_bench.restoration.pictures import FOOT, GAP, HEAD, SHOWN

TEST = 3  # images of a task


def run(data: Path, bench: Bench, *more: str) -> int:
    arguments = [str(data), "-o", str(bench.out), "--minutes", "0.01", "--threads", "1", *more]
    return command.main(arguments)


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
    kept = {"restored.npz", "restored_samples.npz", "about.json"}
    assert left == {"job.json", "machine.json", "log.txt"} | kept
    check_reports(bench, printed.out)
    assert run(data, bench, "--report-only", "--pictures", str(bench.out / "pictures")) == 0
    assert capsys.readouterr().out.endswith("noise.png\n" + f"{bench.out}/pictures/lowres.png\n")
    with Image.open(bench.out / "pictures" / "noise.png") as drawn:
        assert drawn.size == (4 * (SHOWN + GAP) - GAP, HEAD + 3 * (SHOWN + FOOT))

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


def test_results_of_other_data_are_not_mixed(
    data: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.out.mkdir()
    (bench.out / "data.txt").write_text("another digest")
    assert run(data, bench) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
