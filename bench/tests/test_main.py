"""The command of the benchmarks: its names, its help, and what it says to a wrong one."""

from importlib import import_module
from pathlib import Path

import pytest

import microscopygan_bench
from microscopygan_bench.__main__ import COMMANDS, FOLDERS, main

SOURCES = Path(microscopygan_bench.__file__).parent


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_every_script_is_a_command() -> None:
    scripts = [path.stem for path in SOURCES.glob("*.py") if "\ndef main(" in path.read_text()]
    named = {script.replace("_", "-") for script in scripts if script != "__main__"}
    assert named | set(FOLDERS) == set(COMMANDS)
    assert all(import_module(f"microscopygan_bench.{name}.command").main for name in FOLDERS)


def test_a_wrong_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dinner"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("expected one of restoration, ")
    assert said.endswith("got 'dinner'; try --help\n")
