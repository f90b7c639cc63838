"""The machine that a table names."""

import os
from pathlib import Path

import pytest
import torch

from microscopygan_bench import machine, reference_seconds


def test_machine_names_the_gpu_that_the_driver_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA T4'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert ", NVIDIA T4, commit " in machine()
    driver.write_text("#!/bin/sh\necho 'no driver'; exit 9\n")
    assert "no driver" not in machine()


def test_the_fixed_piece_of_work_takes_time_and_leaves_threads_alone() -> None:
    before = torch.get_num_threads()
    assert reference_seconds(1) > 0
    assert torch.get_num_threads() == before
