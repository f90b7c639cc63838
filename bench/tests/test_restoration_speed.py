"""Speed: contenders take turns, a failure becomes a reason, bars are stated."""

import math
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microscopygan_bench import restoration_speed
from microscopygan_bench.restoration_speed import Case, Worker, take_turns, window_shape

PEERS = restoration_speed.PEERS


@given(st.tuples(st.integers(1, 70), st.integers(16, 300), st.integers(16, 300)))
def test_window_has_the_area_of_the_image(shape: tuple[int, int, int]) -> None:
    rows, columns = window_shape(shape)
    assert rows % 4 == columns % 4 == 0
    assert 0 <= rows * columns - math.prod(shape) < 16
    assert window_shape(shape[1:]) == tuple(-(-n // 4) * 4 for n in shape[1:])


def test_window_of_the_stack_is_nearly_square() -> None:
    assert window_shape((60, 256, 256)) == (1920, 2048)


def test_turns_alternate_and_the_first_does_not_count() -> None:
    calls: list[str] = []
    times = {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([0.0, 4.0, 4.0, 7.0])}

    def contender(name: str) -> restoration_speed.Run:
        def run(job: dict[str, str]) -> float:
            calls.append(name)
            return next(times[name])

        return run

    found = take_turns({"a": contender("a"), "b": contender("b"), "c": "not there"}, {}, 3)
    assert found == {"a": 2.0, "b": 4.0, "c": "not there"}
    assert calls == ["a", "b"] * 4


def test_a_contender_that_fails_becomes_a_reason() -> None:
    def run(job: dict[str, str]) -> float:
        raise RuntimeError("out of luck")

    assert take_turns({"a": run, "b": lambda job: 1.0}, {}, 2) == {"a": "out of luck", "b": 1.0}


@pytest.mark.parametrize(
    ("name", "seconds", "end"),
    [
        (restoration_speed.OURS, 2.0, "2.000     2.000     1.00×"),
        (restoration_speed.BARE, 1.7, "1.700     2.353     0.85×  holds"),
        (restoration_speed.BARE, 1.6, "1.600     2.500     0.80×  MISSED"),
        ("CARE of CSBDeep", 6.5, "6.500     0.615     3.25×  holds"),
        ("CARE of CSBDeep", "left out", "left out"),
    ],
)
def test_speed_row(name: str, seconds: float | str, end: str) -> None:
    row = restoration_speed.speed_row(Case("x", {}, 4_000_000), name, seconds, 2.0)
    assert row.endswith(end)
    assert name in row


def test_neighbours_have_a_bar() -> None:
    case = Case("x", {}, 4_000_000, 4)
    assert restoration_speed.beside_row(case, 2.2, 2.0).endswith("1.10 times as long  holds")
    assert restoration_speed.beside_row(case, 2.4, 2.0).endswith("1.20 times as long  MISSED")
    assert restoration_speed.beside_row(case, "no", 2.0).endswith("not measured")


def test_start_up_row() -> None:
    assert restoration_speed.start_up_row("import", 0.1).endswith("0.100     0.15  holds")
    assert restoration_speed.start_up_row("--help", 0.5).endswith("0.500     0.40  MISSED")


def worker(tmp_path: Path, body: str) -> Worker:
    script = tmp_path / "script.py"
    script.write_text(f"from serve import serve\n{body}\nserve(prepare)\n")
    env = {"PYTHONPATH": str(PEERS), "PATH": os.environ["PATH"]}
    return Worker([sys.executable, str(script)], tmp_path, env)


def test_worker_times_what_it_prepared(tmp_path: Path) -> None:
    body = "import time\ndef prepare(job):\n    print('noise')\n    time.sleep(0.2)\n"
    started = worker(tmp_path, f"{body}    return lambda: time.sleep(float(job['s']))")
    seconds = [started({"s": s}) for s in ("0.01", "0.05")]
    started.close()
    assert 0.01 <= seconds[0] < 0.2
    assert seconds[1] >= 0.05


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def prepare(job): raise KeyError('x')", "KeyError: 'x'"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_worker_tells_why_it_failed(tmp_path: Path, body: str, reason: str) -> None:
    started = worker(tmp_path, body)
    with pytest.raises(RuntimeError, match=reason):
        started({})
    started.close()


@pytest.mark.slow
def test_speed_prints_all_that_is_there(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Starts every contender in a process of its own."""
    command = f"--model {model} --sizes 32x40 3x32x40 --repeats 1"
    restoration_speed.main(command.split())
    rows = capsys.readouterr().out.splitlines()
    timed = [row for row in rows if re.match(r"32x40 .*\d\.\d{3} +\d+\.\d{3} +\d+\.\d\d×", row)]
    assert len(timed) == 5
    deep = [row for row in rows if re.match(r"3x32x40 +ours, 3 planes, .*\d\.\d\d×$", row)]
    assert len(deep) == 2
    assert sum("times as long" in row for row in rows) == 1
    assert sum("left out; give --peers" in row for row in rows) == 4
    assert sum(bool(re.search(r"  (holds|MISSED)$", row)) for row in rows[-3:]) == 3


@pytest.mark.parametrize("script", sorted(PEERS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_of_peers_compile(script: Path) -> None:
    compile(script.read_text(), script.name, "exec")


@pytest.mark.parametrize("name", restoration_speed.CARE.values())
def test_peers_are_pinned(name: str) -> None:
    lists = "".join(path.read_text() for path in sorted(PEERS.glob(f"{name}*.txt")))
    assert re.search(r"^(csbdeep|careamics)==\d", lists, re.MULTILINE)
    assert (PEERS / f"run_{name}.py").exists()


def test_a_peer_that_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    (tmp_path / "care").mkdir()
    (tmp_path / "care" / "installed").write_text((PEERS / "care.txt").read_text())
    python = tmp_path / "care" / "bin" / "python"
    assert restoration_speed.install_peer("care", tmp_path) == python
