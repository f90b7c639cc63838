"""Processes: as many processors as they may have, an end in time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from microscopygan_bench.processes import last_words, run_process, threaded


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot be told")
def test_a_process_gets_as_many_processors_as_threads(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    code = "import os; print(len(os.sched_getaffinity(0)), flush=True)"
    with (tmp_path / "log").open("w") as log:
        assert run_process([sys.executable, "-c", code], dict(os.environ), log, 60, 1) == 0
    assert (tmp_path / "log").read_text() == "1\n"
    assert os.sched_getaffinity(0) == before


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    begun = time.monotonic()
    with (tmp_path / "log").open("w") as log:
        assert run_process(command, dict(os.environ), log, 0.6, 1) == -1
    assert time.monotonic() - begun < 50
    assert (tmp_path / "log").read_text().strip() == "stopped after 1 seconds"


def test_a_peer_does_not_see_the_packages_of_this_program(tmp_path: Path) -> None:
    ours, theirs = threaded(3, None), threaded(3, tmp_path / "python")
    assert ours["OMP_NUM_THREADS"] == theirs["OMP_NUM_THREADS"] == "3"
    assert "PYTHONPATH" in ours
    assert "PYTHONPATH" not in theirs


def test_the_last_words_of_a_log_say_something(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\n two \n\n")
    assert last_words(tmp_path / "log") == "two"
    (tmp_path / "log").write_text("\n")
    assert last_words(tmp_path / "log") == "ended without a word"
