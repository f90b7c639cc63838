"""A base installation: every command works, or says in one line what to install."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
import typer

from microscopygan.apps.cli import app
from microscopygan.apps.extras import EXTRAS

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

HIDE = """
import sys
from importlib.machinery import PathFinder

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in {hidden!r}:
            return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from microscopygan.apps.cli import main
main({arguments!r})
"""
# what a command is called with (IMAGE, FOLDER: a small image, an empty folder), and its extra
COMMANDS = {
    "models": ((), None),
    "demo": (["-o", "FOLDER/demo"], "train"),
    "train": (["FOLDER", "-o", "FOLDER/run"], "train"),
    "synthesize": (["FOLDER", "IMAGE", "--defect", "noise", "-o", "FOLDER/made"], "train"),
    "diagnose": (["IMAGE"], "evaluate"),
    "restore": (["IMAGE", "-o", "FOLDER/restored.npy"], None),
    "export": (["generalist", "-o", "FOLDER/model.zip"], "export"),
    "evaluate": (["IMAGE", "IMAGE"], "evaluate"),
    "report": (["FOLDER"], "evaluate"),
    "web": (["--no-browser"], "web"),
}

owners_of_packages = functools.cache(packages_distributions)


def distributions(requirements: list[str]) -> set[str]:
    """Names of the packages that requirements bring, our own extras followed."""
    names = set()
    for requirement in requirements:
        if own := re.match(r"microscopygan\[(\w+)\]", requirement):
            names |= distributions(PROJECT["optional-dependencies"][own[1]])
        else:
            names.add(re.match(r"[\w-]+", requirement)[0].lower())
    return names


def run_without(hidden: set[str], arguments: list[str]) -> subprocess.CompletedProcess:
    code = HIDE.format(hidden=sorted(hidden), arguments=arguments)
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def call(tmp_path: Path):
    """Run a command of the table above with packages hidden."""
    np.save(tmp_path / "image.npy", np.random.default_rng(0).random((48, 48)))
    (tmp_path / "run").mkdir()

    def run(name: str, hidden: set[str]) -> subprocess.CompletedProcess:
        words = {"IMAGE": str(tmp_path / "image.npy"), "FOLDER": str(tmp_path / "run")}
        arguments = [name]
        for argument in COMMANDS[name][0]:
            for word, path in words.items():
                argument = argument.replace(word, path)
            arguments.append(argument)
        return run_without(hidden, arguments)

    return run


def test_every_command_is_tried() -> None:
    assert typer.main.get_command(app).commands.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_base_installation_works_or_says_what_to_install(call, name: str) -> None:
    extra = COMMANDS[name][1]
    done = call(name, {package for packages in EXTRAS.values() for package in packages})
    if extra is None:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("microscopygan: ")
    assert f"pip install 'microscopygan[{extra}]'" in line
    assert "No module" not in line


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["IMAGE", "-o", "FOLDER/out.zarr", "--scheduler", "tcp://localhost:1"], "cluster"),
        (["https://localhost:1/image.zarr", "-o", "FOLDER/out"], "remote"),
        (["FOLDER/image.czi", "-o", "FOLDER/out"], "vendor"),
        (["FOLDER/image.ims", "-o", "FOLDER/out"], "hdf5"),
        (["IMAGE", "-o", "FOLDER/out.npy", "--defect", "auto"], "evaluate"),
    ],
)
def test_what_an_option_or_a_format_needs_is_said(tmp_path: Path, arguments, extra: str) -> None:
    np.save(tmp_path / "image.npy", np.random.default_rng(0).random((48, 48)))
    (tmp_path / "image.czi").write_bytes(b"ZISRAWFILE")
    (tmp_path / "image.ims").write_bytes(b"HDF")
    words = [w.replace("IMAGE", "FOLDER/image.npy") for w in arguments]
    words = [w.replace("FOLDER", str(tmp_path)) for w in words]
    hidden = {"dask", "distributed", "fsspec", "aiohttp", "s3fs", "bioio", "bioio_czi", "scipy"}
    hidden |= {"h5py"}
    done = run_without(hidden, ["restore", *words, "--quiet"])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"microscopygan[{extra}]" in line
    assert "No module" not in line


@pytest.mark.parametrize("package", EXTRAS["train"])
def test_a_single_missing_package_is_named(call, package: str) -> None:
    done = call("train", {package})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert EXTRAS["train"][package] in line
    assert "microscopygan[train]" in line


@pytest.mark.parametrize("extra", EXTRAS)
def test_extras_are_those_of_the_project(extra: str) -> None:
    brought = distributions([f"microscopygan[{extra}]"])
    owners = owners_of_packages()
    assert {owners[package][0].lower() for package in EXTRAS[extra]} == brought


def test_no_package_is_imported_that_nothing_brings() -> None:
    groups = PROJECT["optional-dependencies"]
    brought = distributions(PROJECT["dependencies"]) | {"microscopygan"}
    for extra, requirements in groups.items():
        if extra != "dev":
            brought |= distributions(requirements)
    named = set()
    for path in (REPOSITORY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                named.add(node.module.partition(".")[0])
    owners = owners_of_packages()
    third = named - set(sys.stdlib_module_names)
    unknown = {name for name in third if owners.get(name, [name])[0].lower() not in brought}
    assert not unknown
