"""Files of examples/pipelines do what they say, where the programs they are for are at hand."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

import microscopygan
from microscopygan.apps.cli import app
from microscopygan.image.formats import Image, read, write
from microscopygan.restoration.api import restore
from microscopygan.restoration.diagnosed import hints_of

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "examples" / "pipelines"
TOOLS = REPOSITORY / ".venv-pipelines" / "bin"
LINT = """
import sys
from galaxy.tool_util.lint import LintContext, LintLevel, NETWORK_LINTERS, lint_tool_source_with
from galaxy.tool_util.parser.factory import get_tool_source

context = LintContext(level=LintLevel.SILENT, skip_types=list(NETWORK_LINTERS))
lint_tool_source_with(context, get_tool_source(sys.argv[1]))
for message in context.warn_messages + context.error_messages:
    print(message)
"""


def tool(name: str) -> Path:
    """Return a program of other people's, where `make test-pipelines` has installed it."""
    if not (TOOLS / name).exists():
        pytest.skip(f"{name} is not installed; make test-pipelines does it")
    return TOOLS / name


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of three images, one with a space in its name."""
    folder = tmp_path / "my images"
    folder.mkdir()
    for k, name in enumerate(("a.tif", "b 2.tif", "c.tif")):
        plane = np.random.default_rng(k).poisson(30, (40, 48)).astype(np.uint16)
        write(folder / name, Image(plane, "YX", {}))
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables with which the shell finds the program as a command."""
    command = tmp_path / "bin" / "microscopygan"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m microscopygan "$@"\n')
    command.chmod(0o755)
    return os.environ | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}


def assert_restored(images: Path, restored: Path) -> None:
    assert {path.name for path in restored.iterdir()} == {path.name for path in images.iterdir()}
    for path in images.iterdir():
        expected = restore(read(path)).array
        assert np.array_equal(read(restored / path.name).array, expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs bash")
def test_a_slurm_array_restores_each_image_once(images, environment, tmp_path: Path) -> None:
    """Slow (about 8 s): three processes, as three tasks of an array."""
    counts = []
    for task in (4, 5, 4):
        array = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_MIN": "4"}
        done = subprocess.run(
            ["bash", FOLDER / "slurm_array.sh", images, tmp_path / "out", "--defect", "noise"],
            env=environment | array | {"SLURM_ARRAY_TASK_COUNT": "2"},
            capture_output=True,
            text=True,
            check=True,
        )
        counts.append(done.stdout.count('"output"'))
    assert counts[:2] == [2, 1]
    written = {path.name: read(path).array[:] for path in (tmp_path / "out").iterdir()}
    assert written.keys() == {path.name for path in images.iterdir()}
    for name, found in written.items():
        assert np.array_equal(found, restore(read(images / name), defect="noise").array)


@pytest.mark.slow
def test_the_snakemake_rule_restores_a_folder(images, environment, tmp_path: Path) -> None:
    """Slow (about 10 s): Snakemake, and a process for each image."""
    command = [tool("snakemake"), "--snakefile", FOLDER / "Snakefile", "--cores", "2", "--quiet"]
    config = ["--config", f"images={images}", f"restored={tmp_path / 'out'}"]
    done = subprocess.run(
        [*command, *config], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_restored(images, tmp_path / "out")


@pytest.mark.slow
def test_the_galaxy_wrapper_passes_galaxys_lint() -> None:
    """Slow (about 4 s): Galaxy's own library is imported."""
    tool("galaxy-tool-test")
    command = [TOOLS / "python", "-c", LINT, FOLDER / "galaxy" / "microscopygan_restore.xml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""


RENDER = """
import json, sys
from types import SimpleNamespace
from xml.etree import ElementTree
from Cheetah.Template import Template

values = json.loads(sys.argv[2], object_hook=lambda pairs: SimpleNamespace(**pairs))
command = ElementTree.parse(sys.argv[1]).getroot().findtext("command")
print(Template(command, searchList=[vars(values)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({"task": {"kind": "plane"}}, {"defect": "noise,haze", "strength": 0.5}),
        ({"task": {"kind": "axial", "voxel_size": "0.3,0.1,0.1"}, "axes": "ZYX"}, {}),
    ],
    ids=["plane", "axial"],
)
def test_the_command_of_the_galaxy_wrapper_runs(
    environment, tmp_path: Path, values: dict, options: dict
) -> None:
    """Slow (about 4 s each): the command is made as Galaxy makes it, and run."""
    tool("galaxy-tool-test")
    given = tmp_path / "dataset_1.dat"
    array = np.random.default_rng(0).poisson(30, (4, 40, 48)).astype(np.uint16)
    write(tmp_path / "given.tif", Image(array, "ZYX", {}))
    (tmp_path / "given.tif").rename(given)
    unset = {"model": "", "defect": "", "strength": 1, "axes": ""}
    content = json.dumps(unset | {"image": str(given)} | values | options)
    xml = FOLDER / "galaxy" / "microscopygan_restore.xml"
    made = subprocess.run(
        [TOOLS / "python", "-c", RENDER, xml, content], capture_output=True, text=True, check=True
    )
    line = " ".join(made.stdout.split())
    galaxy = {"GALAXY_SLOTS": "1", "GALAXY_MEMORY_MB": "2000"}
    subprocess.run(["bash", "-c", line], env=environment | galaxy, cwd=tmp_path, check=True)
    size = {"Z": 0.3, "Y": 0.1, "X": 0.1} if values["task"]["kind"] == "axial" else None
    expected = restore(
        read(tmp_path / "image.tif"),
        task=values["task"]["kind"],
        pixel_size=size,
        **{
            name: value.split(",") if name == "defect" else value for name, value in options.items()
        },
    )
    assert np.array_equal(read(tmp_path / "restored.ome.tif").array, expected.array)


def test_the_galaxy_wrapper_offers_what_the_program_takes() -> None:
    wrapper = ET.parse(FOLDER / "galaxy" / "microscopygan_restore.xml").getroot()
    assert wrapper.get("version") == f"{microscopygan.__version__}+galaxy0"
    assert wrapper.findtext("requirements/requirement") == "microscopygan"
    assert wrapper.find("requirements/requirement").get("version") == microscopygan.__version__
    hints = wrapper.findall("inputs/param[@argument='--defect']/option")
    assert tuple(option.get("value") for option in hints) == hints_of("generalist")
    for name in {
        param.get("value") for param in wrapper.findall("tests/test/param[@name='image']")
    }:
        assert read(FOLDER / "galaxy" / "test-data" / name).array.shape == (48, 64)


def test_options_are_those_of_the_program() -> None:
    options = {
        name
        for command in typer.main.get_command(app).commands.values()
        for parameter in command.params
        for name in parameter.opts
    } | {"--help", "--version"}
    others = {
        "slurm_array.sh": {"--job-name", "--array", "--cpus-per-task", "--mem", "--time"},
        "Snakefile": {"--snakefile", "--cores", "--config"},
        "main.nf": {"--images", "--restored", "--options"},
        "Dockerfile": {
            "--wheel-dir",
            "--no-deps",
            "--file",
            "--tag",
            "--rm",
            "--volume",
            "--user",
            "--no-cache-dir",
        },
        "meta.yaml": {"--no-deps", "--no-build-isolation"},
    }
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".tif"]
    assert others.keys() | {"microscopygan_restore.xml"} == {path.name for path in files}
    for path in files:
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", path.read_text("utf-8")))
        assert named <= options | others.get(path.name, set()), path.name


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    recipe = yaml.safe_load((FOLDER / "conda" / "meta.yaml").read_text("utf-8"))
    needed = {f"python {project['requires-python']}", *project["dependencies"]}
    plain = {re.sub(r"\s|\[.*\]", "", line).lower() for line in needed}
    assert {line.replace(" ", "") for line in recipe["requirements"]["run"]} == plain
    assert recipe["package"] == {"name": project["name"], "version": microscopygan.__version__}
    (script,) = recipe["build"]["entry_points"]
    name, place = script.split(" = ")
    assert project["scripts"] == {name: place}


def test_the_container_has_a_python_that_is_supported() -> None:
    text = (FOLDER / "Dockerfile").read_text("utf-8")
    (version,) = re.findall(r"^FROM python:(3\.\d+)-slim$", text, re.MULTILINE)
    classifiers = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    assert f"Programming Language :: Python :: {version}" in classifiers
