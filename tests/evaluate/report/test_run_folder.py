"""A run folder is read as it was written; parts may be absent, broken ones are named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from microscopygan.evaluate.report.page import write_report
from microscopygan.evaluate.report.run_folder import LOGS, PARTS, column, read_run

PLANE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    for part in ("defects", "restorer", "evaluation"):
        (folder / part).mkdir(parents=True)
    (folder / "settings.json").write_text('{"seed": 3}')
    return folder


def test_what_was_written_is_read(run: Path) -> None:
    realism = {"noise": {"cin-gan": {"spectrum": 0.1, "noise_curve": None}}}
    (run / "run.json").write_text('{"device": "µ"}', encoding="utf-8")
    (run / "evaluation" / "realism.json").write_text(json.dumps(realism))
    (run / "evaluation" / "scores.csv").write_text("defect,image,method\nnoise,0,input\n")
    for k, path in enumerate(LOGS.values()):
        (run / path).write_text(f"step,loss\n1,{k}\n2,\n")
    planes = {f"noise/{n}/{kind}": PLANE + n for n in range(2) for kind in ("input", "clean")}
    np.savez(run / "evaluation" / "examples.npz", **planes)
    found = read_run(run)
    assert (found.name, found.settings, found.record) == ("run", {"seed": 3}, {"device": "µ"})
    assert found.realism == realism
    assert found.scores == [{"defect": "noise", "image": "0", "method": "input"}]
    for k, table in enumerate(found.logs.values()):
        np.testing.assert_array_equal(column(table, "loss"), [k, np.nan])
        assert np.isnan(column(table, "no such column")).all()
    assert found.examples.keys() == {"noise"}
    for n, kinds in found.examples["noise"].items():
        assert kinds.keys() == {"input", "clean"}
        assert all(np.array_equal(plane, PLANE + int(n)) for plane in kinds.values())


def test_absent_parts_are_empty(run: Path) -> None:
    found = read_run(run)
    assert found.settings == {"seed": 3}
    assert not any((found.record, found.scores, found.realism, found.examples, found.synthetic))
    assert found.logs == {name: [] for name in LOGS}


def test_what_is_no_run_folder_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is none; give a training's output"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=re.escape(f"with any of {', '.join(PARTS)}")):
        read_run(run / "defects")


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("settings.json", "{"),
        ("settings.json", "[]"),
        ("run.json", b"\xff"),
        ("restorer/log.csv", b"step\n\xff"),
        ("evaluation/realism.json", '{"noise": 3}'),
        ("evaluation/scores.csv", "a,b\n1,2"),
        ("evaluation/examples.npz", "no archive"),
        ("evaluation/synthetic.npz", ""),
    ],
)
def test_broken_parts_are_named(run: Path, part: str, content: str | bytes) -> None:
    (run / part).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=re.escape(part.split("/")[-1])) as caught:
        read_run(run)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "plane"), [("noise/0", PLANE), ("noise/0/clean", PLANE[0]), ("a/0/b", PLANE[:0])]
)
def test_planes_that_are_none_are_refused(run: Path, name: str, plane: np.ndarray) -> None:
    np.savez(run / "evaluation" / "examples.npz", **{name: plane})
    with pytest.raises(ValueError, match="expected planes named defect/number/kind"):
        read_run(run)


def reported(run: Path) -> str:
    """Write a report; return what is wrong with the run, if anything."""
    try:
        write_report(run, run / "report.html", overwrite=True)
    except ValueError as error:
        return str(error)
    return ""


ODD = [3, "text", [], [1], {"a": 1}, {"a": [1]}, True]


@pytest.mark.parametrize(
    "part", ["dataset", "seconds", "parameters", "program", "adaptation", "seed", "machine"]
)
def test_a_record_of_any_form_is_a_page_or_one_line(run: Path, part: str) -> None:
    inner = {"dataset": "defects", "adaptation": "said"}.get(part)
    for odd in ODD:
        for content in [{part: odd}, {part: {inner: odd}}] if inner else [{part: odd}]:
            (run / "run.json").write_text(json.dumps(content))
            line = reported(run)
            assert re.fullmatch(r"(expected what a training wrote in .*)?", line)
    (run / "run.json").write_text('{"machine": "\\ud800"}')
    write_report(run, run / "report.html", overwrite=True)
    (run / "run.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="expected JSON in"):
        read_run(run)
