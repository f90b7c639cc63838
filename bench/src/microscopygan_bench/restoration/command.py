"""Train every method on the same few images for the same time, and compare them on test images.

``microscopygan-bench restoration DATA -o OUT`` works through its cells one after the other and
can be stopped at any time: run again, it goes on with the first cell that is not finished. Then
it writes ``OUT/table.md``, ``OUT/report.html``, ``OUT/scores.csv`` and ``OUT/cells.csv``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

from microscopygan_bench.restoration.cells import (
    Bench,
    Cell,
    compute,
    count_of,
    job,
    plan,
    waits_for,
)
from microscopygan_bench.restoration.fingerprint import conditions
from microscopygan_bench.restoration.methods import GROUPS, METHODS, choose
from microscopygan_bench.restoration.pictures import write_pictures
from microscopygan_bench.restoration.protocol import SETTINGS, read_data, two_defects
from microscopygan_bench.restoration.published import Published, read_published
from microscopygan_bench.restoration.report import write_reports
from microscopygan_bench.restoration.scores import score_cell, score_cells
from microscopygan_bench.restoration.tables import Results
from microscopygan_bench.restoration_speed import install_peer

_PLACE = re.compile(r"([AB])-(all|\d+)-(\d+)-(.+)-[\d.]+s")


def main(arguments: list[str] | None = None) -> int:
    """Compute what is missing, score all, print the tables; 1 where a cell failed, 2 on errors."""
    try:
        return run(_options(arguments))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Do what the options ask for; return the exit code."""
    names = choose(options.methods)
    bench = open_bench(options)
    for cell in finished_cells(bench):
        check_same(bench, cell)
    published = read_published(options.published, bench) if options.published else Published()
    cells = plan(names, options.settings, options.pairs, options.draws, bench.data.tasks)
    failed = 0
    if not options.report_only:
        bench = with_peers(bench, names, options.peers or bench.out / "peers")
        failed = compute_all(bench, cells, published.cells)
    scores, costs = published.joined(*score_cells(bench, finished_cells(bench)))
    if not scores:
        print("no finished cell to report", file=sys.stderr)
        return 1
    print(write_reports(bench, scores, costs))
    if options.pictures:
        print("\n".join(map(str, write_pictures(bench, Results(scores, costs), options.pictures))))
    return 1 if failed else 0


def open_bench(options: argparse.Namespace) -> Bench:
    """Read the data, and open the folder of results.

    Raises
    ------
    ValueError
        OUT holds results for other data.
    """
    data, out = read_data(options.data), options.output
    about = out / "data.txt"
    if about.exists() and about.read_text().strip() != data.digest:
        raise ValueError(
            f"{out}: expected results for {options.data}, got some for other data; "
            "choose another -o"
        )
    out.mkdir(parents=True, exist_ok=True)
    about.write_text(f"{data.digest}\n")
    composed = two_defects(data, out / "two_defects.npz")
    return Bench(data, composed, out, 60 * options.minutes, options.threads, {})


def with_peers(bench: Bench, names: list[str], folder: Path) -> Bench:
    """Make the virtual environments of the methods `names`, once, in `folder`."""
    peers = sorted({peer for name in names if (peer := METHODS[name].peer)})
    return replace(bench, pythons={name: install_peer(name, folder) for name in peers})


def compute_all(bench: Bench, cells: list[Cell], published: set[Cell]) -> int:
    """Compute the cells that are neither finished nor published; return how many failed.

    A cell that goes on with what another one left needs that one's images: it is computed though
    its scores be published.
    """
    failed = 0
    left: list[Cell] = []
    for cell in cells:
        if not bench.finished(cell) and cell not in published:
            first = waits_for(bench, cell)
            left += [cell] if first is None or first in left else [first, cell]
    seconds = sum(bench.budget(cell) for cell in left)
    print(f"{len(left)} of {len(cells)} cells to compute, {seconds / 3600:.1f} h of training")
    for number, cell in enumerate(left, 1):
        print(f"[{number}/{len(left)}] {cell.label}: ", end="", flush=True)
        begun = time.perf_counter()
        try:
            first = waits_for(bench, cell)
            if first:
                raise RuntimeError(f"needs {first.label}, which failed")
            compute(bench, cell)
        except RuntimeError as error:
            failed += 1
            print(f"FAILED, {error}", flush=True)
            continue
        print(f"{brief(bench, cell)} ({time.perf_counter() - begun:.0f} s)", flush=True)
    return failed


def brief(bench: Bench, cell: Cell) -> str:
    """Return the mean PSNR of a cell's tasks."""
    by_task: dict[str, list[float]] = {}
    for row in score_cell(bench, cell):
        by_task.setdefault(str(row["task"]), []).append(float(row["psnr_affine"]))
    return ", ".join(f"{name} {sum(v) / len(v):.2f} dB" for name, v in by_task.items())


def finished_cells(bench: Bench) -> list[Cell]:
    """Return all finished cells of OUT with this budget, those of earlier runs too."""
    cells = []
    for path in (bench.out / "cells").glob("*/*/about.json"):
        match = _PLACE.fullmatch(path.parent.name)
        if match and path.parents[1].name in METHODS:
            setting, pairs, draw, task = match.groups()
            cell = Cell(path.parents[1].name, setting, count_of(pairs), int(draw), task)
            if bench.folder(cell) == path.parent:
                cells.append(cell)
    return cells


def check_same(bench: Bench, cell: Cell) -> None:
    """Check that a finished cell did the job that it would be given now.

    Raises
    ------
    ValueError
        It did another one.
    """
    path = bench.folder(cell) / "job.json"
    before, wanted = conditions(json.loads(path.read_text())), conditions(job(bench, cell))
    other = [name for name, value in wanted.items() if before.get(name) != value]
    if other:
        raise ValueError(
            f"{path.parent}: computed with other {', '.join(other)}; remove this folder to compute "
            "it again, or choose another -o"
        )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="microscopygan-bench restoration", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path, help="TASK_train_X.npy, _train_Y, _test_X, _test_Y")
    usual = ",".join(group for group in GROUPS if group not in ("ablations", "oracle"))
    parser.add_argument(
        "--methods", default=usual, help=f"names, or groups: {', '.join(GROUPS)} (default: {usual})"
    )
    parser.add_argument("--settings", type=_settings, default=list(SETTINGS), metavar="A,B")
    parser.add_argument(
        "--pairs", type=_pairs, default=[10], metavar="N,N", help="of setting A; all for all"
    )
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training")
    parser.add_argument("--threads", type=int, default=2, help="of each training")
    parser.add_argument("--peers", type=Path, help="folder for virtual environments (OUT/peers)")
    parser.add_argument(
        "--published", type=Path, metavar="FOLDER", help="take in another run's scores, cells.csv"
    )
    parser.add_argument("--report-only", action="store_true", help="score what is finished")
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="draw what became of shipped images, too"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/benchmark"))
    return parser.parse_args(arguments)


def _settings(text: str) -> list[str]:
    names = text.split(",")
    if set(names) - set(SETTINGS):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(SETTINGS)}, got {text!r}")
    return names


def _pairs(text: str) -> list[int | None]:
    parts = text.split(",")
    if not all(part == "all" or (part.isdigit() and int(part) > 0) for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers above 0 or all, got {text!r}; try 10")
    return [count_of(part) for part in parts]
