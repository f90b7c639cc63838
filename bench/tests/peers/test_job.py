"""What a process of a job does: it ends with its parent, and holds images back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan_bench.inputs import environment
from microscopygan_bench.peers import job as jobs


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
