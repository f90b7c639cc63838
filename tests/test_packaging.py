"""The package installs anywhere: public versions alone, one version, whole metadata."""

import functools
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import microscopygan
from microscopygan.image.formats import read

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
LINES = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
PINS = [Requirement(line) for line in LINES if line and not line.startswith("#")]
OTHERS = [REPOSITORY / f"constraints-{name}.txt" for name in ("napari", "browser", "docs")]
MORE = [line for path in OTHERS for line in path.read_text("utf-8").splitlines()]
MORE_PINS = [Requirement(line) for line in MORE if line and not line.startswith("#")]
INDEX = "https://pypi.org/simple"
PINNED_BY_TORCH = re.compile(r"nvidia-|cuda-|triton$|setuptools$")  # exactly, or of no matter
BINARIES = "Scripts" if os.name == "nt" else "bin"
ALONE = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PIP_", "PYTHON")) or name in ("PIP_CERT", "PIP_PROXY")
} | {
    "PIP_CONFIG_FILE": os.devnull,  # neither further indexes nor folders of wheels
    "PIP_INDEX_URL": INDEX,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


@functools.cache
def index_reached() -> bool:
    try:
        with urllib.request.urlopen(f"{INDEX}/numpy/", timeout=20) as answer:
            return answer.status == 200
    except OSError:
        return False


def run(*command: object, **options: object) -> str:
    """Run a command; return what it wrote."""
    options = {"env": ALONE, "timeout": 540} | options
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def virtual_environment(folder: Path, *packages: object) -> Path:
    """Make one with some packages; return the folder of its programs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / BINARIES / "python"]
    run(*pip, "install", "--quiet", "--no-compile", *packages)
    return folder / BINARIES


def requirements(extra: str | None = None) -> list[Requirement]:
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return [Requirement(line) for line in listed]


@pytest.mark.parametrize("pin", [*PINS, *MORE_PINS], ids=str)
def test_constraints_are_exact_public_versions(pin: Requirement) -> None:
    (clause,) = pin.specifier
    assert clause.operator == "=="
    assert "*" not in clause.version
    assert Version(clause.version).local is None, "the public index has no local versions"


def test_a_package_is_pinned_once() -> None:
    valid = [pin for pin in [*PINS, *MORE_PINS] if pin.marker is None or pin.marker.evaluate()]
    names = [canonicalize_name(pin.name) for pin in valid]
    assert sorted(names) == sorted(set(names))


def test_constraints_hold_the_lower_bounds() -> None:
    pins = {canonicalize_name(pin.name): pin for pin in [*PINS, *MORE_PINS]}
    listed = [
        *requirements(),
        *requirements("train"),
        *requirements("evaluate"),
        *requirements("dev"),
        *requirements("napari"),
        *requirements("web"),
        *requirements("docs"),
    ]
    for requirement in listed:
        if requirement.name == PROJECT["name"]:
            continue
        (clause,) = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(clause.version), requirement


@pytest.mark.slow
def test_constraints_resolve_from_the_public_index_alone(tmp_path: Path) -> None:
    """Slow (about a minute): asks the index for each of a hundred packages."""
    if not index_reached():
        pytest.skip(f"{INDEX} cannot be reached")
    report = tmp_path / "report.json"
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", report]
    wanted = ["--constraint", REPOSITORY / "constraints.txt", f"{REPOSITORY}[train,dev]"]
    run(sys.executable, "-m", "pip", "install", *options, *wanted)
    resolved = json.loads(report.read_text("utf-8"))["install"]
    names = {canonicalize_name(package["metadata"]["name"]) for package in resolved}
    pinned = {canonicalize_name(p.name) for p in PINS if p.marker is None or p.marker.evaluate()}
    free = {name for name in names - pinned if not PINNED_BY_TORCH.match(name)}
    assert free == {PROJECT["name"]}
    assert pinned <= names, "pinned, but nothing needs it"


def test_installation_names_no_other_source_of_packages() -> None:
    first = [REPOSITORY / name for name in ("Makefile", "constraints.txt", "pyproject.toml")]
    for path in [*first, *OTHERS]:
        text = path.read_text("utf-8")
        assert not re.search(r"find-links|index-url|PIP_|file:", text), path.name


def test_versions_are_one() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    assert re.findall(r"^version: (\S+)$", citation, re.M) == [microscopygan.__version__]
    assert PROJECT["dynamic"] == ["version"]
    written = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{microscopygan.__version__}]" in written


def test_metadata_agree_with_the_repository() -> None:
    minors = {int(c.rsplit(".", 1)[1]) for c in PROJECT["classifiers"] if "Python :: 3." in c}
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert minors == {minor for minor in range(100) if allowed.contains(f"3.{minor}")}
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    assert f"license: {PROJECT['license']}" in citation
    assert not any(c.startswith("License ::") for c in PROJECT["classifiers"]), "SPDX replaces it"
    for address in PROJECT["urls"].values():
        assert address in citation


@pytest.mark.parametrize(
    "command",
    [["-m", "microscopygan"], ["-c", "from microscopygan.apps.cli import main; main()"]],
    ids=["module", "script"],
)
def test_version_is_shown(command: list[str]) -> None:
    shown = run(sys.executable, *command, "--version", env=os.environ)
    assert shown == f"microscopygan {microscopygan.__version__}\n"


def test_the_shell_completes_commands() -> None:
    asked = {"_MICROSCOPYGAN_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    environment = os.environ | asked | {"COMP_WORDS": "microscopygan res"}
    code = (
        "import sys; sys.argv[0] = 'microscopygan'; from microscopygan.apps.cli import main; main()"
    )
    assert run(sys.executable, "-c", code, env=environment).split() == ["restore"]


@pytest.mark.slow
def test_the_wheel_alone_restores_a_sample(tmp_path: Path) -> None:
    """Slow (about a minute): builds both distributions, checks them, installs in a new place."""
    if not index_reached():
        pytest.skip(f"{INDEX} cannot be reached")
    tools, made = virtual_environment(tmp_path / "tools", "build", "twine"), tmp_path / "made"
    run(tools / "python", "-m", "build", "--outdir", made, REPOSITORY)
    run(tools / "twine", "check", "--strict", *made.iterdir())
    (wheel,) = made.glob("*.whl")
    user, empty = virtual_environment(tmp_path / "user", wheel), tmp_path / "empty"
    empty.mkdir()
    where = "import microscopygan; print(microscopygan.__path__[0])"
    package = Path(run(user / "python", "-c", where, cwd=empty).strip())
    assert package.is_relative_to(tmp_path)
    sample = sorted((package / "samples").rglob("*.tif"))[0]
    run(user / "microscopygan", "restore", sample, "-o", "out.tif", cwd=empty)
    assert read(empty / "out.tif").array.shape == read(sample).array.shape
