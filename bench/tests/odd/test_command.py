"""The command: what is missing is computed, the tables follow, a wrong word is one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from microscopygan_bench.odd import cells, command, diagnosis
from microscopygan_bench.odd.cells import Bench
from microscopygan_bench.odd.families import FAMILIES
from microscopygan_bench.odd.rows import ROWS
from microscopygan_bench.odd.tables import Results, gains

REPOSITORY = Path(__file__).resolve().parents[3]


def test_a_run_computes_what_is_missing_and_reports(
    bench: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [str(bench.data), "-o", str(bench.out), "--family", "rows,hum", "--row", "input"]
    assert command.main([*words, "--plan"]) == 0
    assert "2 of 2 cells to compute" in capsys.readouterr().out
    assert not bench.out.exists()
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nformer\n<!-- /figures -->\nafter\n")
    assert command.main([*words, "--page", str(page)]) == 0
    assert re.search(r"\[2/2\] hum, input: [\d.]+ dB, input \(", capsys.readouterr().out)
    table = (bench.out / "table.md").read_text()
    assert re.search(r"^\| rows \| [\d.]+ \|$", table, re.MULTILINE)
    shown = page.read_text()
    assert "former" not in shown
    assert shown.startswith("before\n<!-- figures -->\n### Gain over the input\n")
    assert shown.endswith("<!-- /figures -->\nafter\n")
    assert command.main(words) == 0
    assert "0 of 2 cells to compute" in capsys.readouterr().out


def test_a_failure_is_counted_and_the_others_go_on(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("out of luck")

    monkeypatch.setitem(cells.KINDS, "shipped", broken)
    words = [str(bench.data), "-o", str(bench.out), "--family", "rows", "--row", "shipped,input"]
    assert command.main(words) == 1
    printed = capsys.readouterr().out
    assert "rows, shipped: FAILED, out of luck" in printed
    assert "rows, input: " in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--row", "dinner"], "expected some of input, .*, got dinner"),
        (["--family", "rows,tea"], "expected some of scmos, .*, got tea"),
    ],
)
def test_a_wrong_name_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(words)
    assert end.value.code == 2
    assert re.search(said, capsys.readouterr().err)


def test_missing_data_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MICROSCOPYGAN_DATA", raising=False)
    assert command.main([]) == 2
    assert capsys.readouterr().err.startswith("expected the folder of images; name it, or set ")
    assert command.main(["--report", "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path}: no finished cell to report\n"


def test_a_diagnosis_is_printed(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "load", lambda: None)
    monkeypatch.setattr(diagnosis, "lines", lambda *_: iter(["one", "two"]))
    assert command.main([str(data), "--row", "diagnosis"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"


def test_the_page_shows_what_the_cells_say() -> None:
    text = (REPOSITORY / "docs" / "odd-defects.md").read_text("utf-8")
    results = Results(cells.read_cells(REPOSITORY / "docs" / "odd-defects"))
    if results.families:
        assert gains(results).markdown() in text
    parser_options = set(re.findall(r'"(--[a-z-]+)"', Path(command.__file__).read_text()))
    shown = re.sub(r"<!-- figures -->.*<!-- /figures -->", "", text, flags=re.DOTALL)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*(?!\S*>)", shown))
    assert named - {"--alpha", "--minutes"} <= parser_options
    table = re.findall(r"^\| `([\w+-]+)` \|", text, re.MULTILINE)
    assert set(table) == set(FAMILIES) | set(ROWS)
    pictures = re.findall(r"\(images/odd/([\w+]+)\.png\)", text)
    assert set(pictures) == set(FAMILIES)
