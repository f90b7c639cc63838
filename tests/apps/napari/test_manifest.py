"""The plug-in's manifest, checked by npe2 where it is installed and by hand where it is not."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import microscopygan

PACKAGE = Path(microscopygan.__file__).parent
MANIFEST = PACKAGE / "napari.yaml"
PROJECT = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]


def test_npe2_finds_the_manifest_valid() -> None:
    if importlib.util.find_spec("npe2") is None:
        pytest.skip("npe2 is not installed: pip install 'microscopygan[napari]'")
    command = [sys.executable, "-m", "npe2", "validate", "--imports", str(MANIFEST)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "valid" in done.stdout


def test_the_manifest_is_that_of_the_project() -> None:
    text = MANIFEST.read_text("utf-8")
    assert f"name: {PROJECT['name']}\n" in text
    entry = PROJECT["entry-points"]["napari.manifest"][PROJECT["name"]]
    assert entry == f"{PROJECT['name']}:{MANIFEST.name}"
    assert "Framework :: napari" in PROJECT["classifiers"]


def test_every_command_names_what_is_there() -> None:
    for module, name in re.findall(r"python_name: ([\w.]+):(\w+)", MANIFEST.read_text("utf-8")):
        path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
        assert re.search(rf"^(class|def) {name}\b", path.read_text("utf-8"), re.MULTILINE)


def test_no_window_library_comes_by_itself() -> None:
    extras = PROJECT["optional-dependencies"]
    for requirement in [*PROJECT["dependencies"], *extras["napari"]]:
        assert not re.match(r"(pyqt|pyside|napari\[)", requirement.lower())
