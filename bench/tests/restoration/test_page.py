"""The page of the benchmark: its options exist, its figures are the published ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from microscopygan_bench.restoration import command
from microscopygan_bench.restoration.methods import METHODS

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_page_names_options_and_methods_that_exist() -> None:
    text = (REPOSITORY / "docs" / "benchmark.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        command.main(["--help"])
    parser_options = set(re.findall(r'"(--[a-z-]+)"', Path(command.__file__).read_text()))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= parser_options
    table = re.findall(r"^\| `([\w.…-]+)` \|", text, re.MULTILINE)[1:]  # less its head
    assert set(table) == {name for name in METHODS if not name.startswith("alpha-")} | {"alpha-…"}
    assert "<!-- figures -->" in text


def test_the_page_shows_the_figures_of_the_published_tables() -> None:
    docs = REPOSITORY / "docs"
    text = (docs / "benchmark.md").read_text(encoding="utf-8")
    figures = text[text.index("<!-- figures -->") : text.index("<!-- /figures -->")]
    sheets = (docs / "benchmark").rglob("table.md")
    published = {line for path in sheets for line in path.read_text("utf-8").splitlines()}
    shown = [line for line in figures.splitlines() if re.match(r"\| [^|]+ \| [\d.+–-]", line)]
    assert shown
    assert set(shown) <= published


def test_the_first_lines_say_what_the_tables_do() -> None:
    text = (REPOSITORY / "docs" / "benchmark.md").read_text(encoding="utf-8")
    said = re.search(r"CARE by ([\d.]+) dB on noise, ([\d.]+) on lowres, ([\d.]+) on axial", text)
    row = re.search(r"^\| CARE \(CSBDeep\) \| \+.*$", text, re.MULTILINE)
    assert said
    assert row
    axial, lowres, noise = (float(cell.split()[0]) for cell in row[0].split("|")[2:5])
    for claim, gain in zip(said.groups(), (noise, lowres, axial), strict=True):
        assert abs(float(claim) - gain) <= 0.051
    assert text.index("images/pairs.svg") < text.index("<!-- figures -->")


def test_the_figure_shows_the_published_scores(tmp_path: Path) -> None:
    """Where it does not, run its script."""
    script, made = REPOSITORY / "scripts" / "pairs_figure.py", tmp_path / "pairs.svg"
    subprocess.run([sys.executable, script, "-o", made], check=True)
    assert made.read_text("utf-8") == (REPOSITORY / "docs/images/pairs.svg").read_text("utf-8")


def test_the_page_shows_every_picture_of_the_methods() -> None:
    """There may be none: `--pictures docs/images/methods` draws them."""
    text = (REPOSITORY / "docs" / "benchmark.md").read_text(encoding="utf-8")
    drawn = list((REPOSITORY / "docs" / "images" / "methods").glob("*.png"))
    assert set(re.findall(r"\(images/methods/(\w+)\.png\)", text)) == {p.stem for p in drawn}
    assert all(path.stat().st_size < 300_000 for path in drawn)


def test_the_short_page_repeats_published_figures() -> None:
    docs = REPOSITORY / "docs"
    text = (docs / "figures.md").read_text(encoding="utf-8")
    figures = text[text.index("<!-- figures -->") : text.index("<!-- /figures -->")]
    rows = [line.strip("| ").split(" | ") for line in figures.splitlines() if "±" in line]
    pages = [docs / "benchmark.md", docs / "generalist.md"]
    published = "".join(path.read_text("utf-8").replace("*", "") for path in pages)
    assert len(rows) == 3
    for cell in (cell.strip("*") for row in rows for cell in row[1:]):
        pattern = rf"\| {re.escape(cell)}(?= [/±])"
        assert re.search(pattern, published), cell
