"""Odd defects of one laboratory, learned from a few unpaired images, by the command line alone.

``microscopygan-bench odd DATA -o OUT`` works through its cells one after the other, each a file of
its own as soon as it is finished, and can be stopped at any time: run again, it goes on. Then it
writes ``OUT/table.md``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from microscopygan.image.atomic import write_text
from microscopygan_bench.odd import diagnosis
from microscopygan_bench.odd.cells import (
    Bench,
    Cell,
    Figures,
    compute,
    needs_peer,
    plan,
    read_cells,
)
from microscopygan_bench.odd.families import FAMILIES
from microscopygan_bench.odd.fields import read_maps
from microscopygan_bench.odd.pictures import write_pictures
from microscopygan_bench.odd.rows import ROWS
from microscopygan_bench.odd.tables import Results, conditions, gains, shares, sheets
from microscopygan_bench.restoration_speed import install_peer

DIAGNOSIS = "diagnosis"  # a row that is printed, not kept
OVERHEAD = 20.0  # seconds that a cell takes besides its training, about
_FIGURES = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)


def main(arguments: list[str] | None = None) -> int:
    """Compute what is missing and write the tables; 1 where a cell failed, 2 on errors."""
    try:
        return run(_options(arguments))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Do what the options ask for; return the exit code."""
    if options.report:
        return report(options.output, options.page)
    if options.data is None:
        raise ValueError("expected the folder of images; name it, or set MICROSCOPYGAN_DATA to it")
    if options.pictures:
        print("\n".join(map(str, write_pictures(options.pictures, read_maps(options.data)))))
        return 0
    if DIAGNOSIS in options.row:
        for line in diagnosis.lines(options.data, options.family, diagnosis.load()):
            print(line, flush=True)
        return 0
    work = options.work or options.output / "work"
    how = (options.minutes, options.threads, work, options.work is not None)
    bench = Bench(options.data, options.output, *how)
    cells = plan(options.family, options.row or ROWS, options.row)
    left = [cell for cell in cells if not bench.finished(cell)]
    print(what_is_left(bench, cells, left))
    if options.plan:
        return 0
    failed = compute_all(bench, left, options.peers or options.output / "peers")
    report(options.output, options.page)
    return 1 if failed else 0


def what_is_left(bench: Bench, cells: Sequence[Cell], left: Sequence[Cell]) -> str:
    """Say how many cells there are to compute, row by row, and about how long it will take."""
    lines = []
    for row in dict.fromkeys(cell.row for cell in cells):
        mine = [cell for cell in left if cell.row == row]
        count = sum(cell.row == row for cell in cells)
        lines.append(f"  {row:10}{len(mine):3} of {count:2}  {_hours(bench, mine):5.2f} h")
    total = f"{len(left)} of {len(cells)} cells to compute, {_hours(bench, left):.1f} h in all"
    return "\n".join([*lines, total])


def _hours(bench: Bench, cells: Sequence[Cell]) -> float:
    return sum(bench.seconds(cell) + OVERHEAD for cell in cells) / 3600


def compute_all(bench: Bench, cells: Sequence[Cell], peers: Path) -> int:
    """Compute cells one after the other; return how many failed."""
    if (peer := needs_peer(cells)) is not None:
        bench = replace(bench, dedicated=install_peer(peer, peers))
    failed = 0
    for number, cell in enumerate(cells, 1):
        print(f"[{number}/{len(cells)}] {cell.family}, {cell.row}: ", end="", flush=True)
        begun = time.perf_counter()
        try:
            said = brief(compute(bench, cell))
        except RuntimeError as error:
            failed, said = failed + 1, f"FAILED, {error}"
        print(f"{said} ({time.perf_counter() - begun:.0f} s)", flush=True)
    return failed


def brief(figures: Figures) -> str:
    """Return the mean PSNR of a cell, of its best method."""
    means = {name: fmean(s["psnr"].values()) for name, s in figures["scores"].items()}
    best = max(means, key=lambda name: means[name])
    return f"{means[best]:.2f} dB, {best}; {figures['said']}".rstrip("; ")


def report(out: Path, page: Path | None) -> int:
    """Write ``table.md``, and the first tables into a page; return 1 where nothing is finished.

    Raises
    ------
    ValueError
        The page has no place for them.
    """
    cells = read_cells(out)
    results = Results(cells)
    if not results.families:
        print(f"{out}: no finished cell to report", file=sys.stderr)
        return 1
    text = "\n".join(sheet.markdown() for sheet in sheets(results))
    write_text(out / "table.md", f"# All tables\n\n{text}\n{conditions(cells)}\n", overwrite=True)
    print(gains(results).markdown())
    if page is not None:
        first = [sheet for sheet in (gains(results), shares(results)) if sheet.rows]
        shown = "\n".join(sheet.markdown() for sheet in first)
        before = page.read_text("utf-8")
        if not _FIGURES.search(before):
            raise ValueError(f"{page}: expected <!-- figures --> and <!-- /figures -->, got none")
        after = _FIGURES.sub(lambda found: f"{found[1]}{shown}{found[2]}", before)
        write_text(page, after, overwrite=True)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="microscopygan-bench odd", description=(__doc__ or "").splitlines()[0]
    )
    usual = os.environ.get("MICROSCOPYGAN_DATA")
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        default=Path(usual) if usual else None,
        help="folder with sim/, clean/ and camera/ (default: MICROSCOPYGAN_DATA)",
    )
    parser.add_argument(
        "--family", type=_some(FAMILIES), default=list(FAMILIES), metavar="F,F", help="default: all"
    )
    known = [*ROWS, DIAGNOSIS]
    parser.add_argument(
        "--row", type=_some(known), default=[], metavar="R,R", help=f"some of {', '.join(known)}"
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="of a training of ours")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--plan", action="store_true", help="say what is to compute, and how long")
    parser.add_argument("--report", action="store_true", help="write the tables of what is there")
    parser.add_argument("--page", type=Path, help="page that gets the first tables, too")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw a picture a family")
    parser.add_argument("--peers", type=Path, help="folder for virtual environments (OUT/peers)")
    parser.add_argument("--work", type=Path, help="keep what trainings leave, in this folder")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/odd"))
    return parser.parse_args(arguments)


def _some(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what reads names with commas, of those that are known."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"expected some of {', '.join(known)}, got {', '.join(unknown)}"
            )
        return names

    return read
