"""Rooms import downwards only, torch stays out, modules have tests, ARCHITECTURE.md is true."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tifffile

from microscopygan.defects import all_defects

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "microscopygan"
MAY_IMPORT = {
    "image": set(),
    "datasets": {"image"},
    "defects": {"image"},
    "diagnosis": {"image", "defects"},
    "gan": {"image", "defects"},
    "training": {"image", "datasets", "defects", "diagnosis", "gan"},
    "restoration": {"image", "defects", "diagnosis"},
    "evaluate": {"image", "datasets", "defects", "diagnosis"},
    "apps": {
        *("image", "datasets", "defects", "diagnosis"),
        *("gan", "training", "restoration", "evaluate"),
    },
    "__main__": {"apps"},
}
SHARED = {"settings", "model_card"}
TORCH_FREE = {"__init__", "image", "datasets", "defects", "diagnosis"} | {
    *("restoration", "evaluate", *SHARED)
}
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
TESTED_ELSEWHERE = {
    "__main__.py": "test_packaging.py",
    "apps/cli.py": "journeys/test_command_line.py",
    "apps/demo.py": "journeys/test_demo.py",
    "apps/training.py": "journeys/test_command_line.py",
    "apps/napari/background.py": "apps/napari/test_restore.py",
    "apps/napari/options_form.py": "apps/napari/test_restore.py",
    "apps/napari/samples.py": "apps/napari/test_restore.py",
    "apps/web/form.py": "apps/web/test_routes.py",
    "apps/web/images.py": "apps/web/test_session.py",
    "apps/napari/saving.py": "apps/napari/test_restore.py",
}
SAMPLES = sorted((PACKAGE / "samples").rglob("*.tif"))


def owner(module: str) -> str:
    """Name the room, or the module right below the package, that a file belongs to."""
    return module.split("/")[0].removesuffix(".py")


def imported(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Yield the absolute dotted name of everything that a module of `package` imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def room(dotted: str) -> str | None:
    """Name the room or shared module that a dotted name leads to, None outside the package."""
    first, _, rest = dotted.partition(".")
    name = rest.split(".")[0]
    return name if first == "microscopygan" and name in MAY_IMPORT.keys() | SHARED else None


def names_imported_by(module: str) -> list[str]:
    package = ("microscopygan", *Path(module).parent.parts)
    return list(imported((PACKAGE / module).read_text(encoding="utf-8"), package))


def test_imported_resolves_relative_names() -> None:
    source = "import torch.nn\nfrom ..training.loop import train\nfrom .. import gan\n"
    source += "from .x import y"
    assert list(imported(source, ("microscopygan", "apps"))) == [
        "torch.nn",
        "microscopygan.training.loop.train",
        "microscopygan.gan",
        "microscopygan.apps.x.y",
    ]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__.py"])
def test_rooms_import_downwards_only(module: str) -> None:
    own = owner(module)
    assert own in MAY_IMPORT.keys() | SHARED, f"{module} lies in no room"
    allowed = set() if own in SHARED else MAY_IMPORT[own] | SHARED
    reached = {room(name) for name in names_imported_by(module)} - {own, None}
    assert reached <= allowed, f"{module} imports {sorted(reached - allowed)}"


@pytest.mark.parametrize("module", [name for name in MODULES if owner(name) in TORCH_FREE])
def test_only_gan_training_and_apps_name_torch(module: str) -> None:
    names = {name.split(".")[0] for name in names_imported_by(module)}
    assert not names & {"torch", "accelerate"}


@pytest.mark.parametrize("module", [name for name in MODULES if owner(name) == "image"])
def test_images_are_read_and_written_without_scipy(module: str) -> None:
    assert "scipy" not in {name.split(".")[0] for name in names_imported_by(module)}


@pytest.mark.parametrize(
    "statement",
    [
        "import microscopygan",
        "from microscopygan.apps.cli import main; sys.argv = ['microscopygan', '--help']; main()",
        "from microscopygan.apps.cli import main; "
        "sys.argv = ['microscopygan', 'restore', '--help']; main()",
    ],
    ids=["import", "help", "restore help"],
)
def test_loads_no_torch(statement: str) -> None:
    code = (
        "import sys\n"
        f"try:\n    {statement}\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_has_tests_of_its_name() -> None:
    """In the folder of its room, or where `TESTED_ELSEWHERE` says."""
    tests = REPOSITORY / "tests"
    modules = [Path(name) for name in MODULES if not name.endswith("__init__.py")]
    named = {path.as_posix(): path.with_name(f"test_{path.name}") for path in modules}
    lacking = {name for name, path in named.items() if not (tests / path).exists()}
    assert lacking == TESTED_ELSEWHERE.keys()
    assert all((tests / path).exists() for path in TESTED_ELSEWHERE.values())


def named_paths(text: str) -> list[str]:
    """Return the code spans of a Markdown text that look like paths of this repository."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    return [span for span in spans if re.fullmatch(r"[\w.-]+/[\w./-]*|[\w.-]+\.(py|md|toml)", span)]


def test_architecture_names_existing_paths() -> None:
    paths = named_paths((REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(paths) > 20
    missing = [p for p in paths if not ((REPOSITORY / p).exists() or (PACKAGE / p).exists())]
    assert not missing


def test_architecture_names_every_module() -> None:
    paths = set(named_paths((REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")))
    found = {f"defects/{name}.py" for name in all_defects()}  # a defect is one file
    assert {name for name in MODULES if not name.endswith("__init__.py")} - found <= paths


def test_samples_are_small_and_listed() -> None:
    folder = PACKAGE / "samples"
    listed = set(re.findall(r"^\| `([^`]+)`", (folder / "README.md").read_text("utf-8"), re.M))
    assert {path.relative_to(folder).as_posix() for path in SAMPLES} == listed
    assert sum(path.stat().st_size for path in SAMPLES) < 6_000_000


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_well_exposed(path: Path) -> None:
    pixels = tifffile.imread(path)
    assert pixels.ndim == 2
    assert max(pixels.shape) <= 256
    assert (pixels == pixels.max()).mean() < 0.001, "saturated"
    assert pixels.std() > 0
