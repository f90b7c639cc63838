"""The public names: each is one object, whatever was imported before it, between and after."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import microscopygan

PACKAGE = Path(microscopygan.__file__).parent
NAMES = [name for name in microscopygan.__all__ if name != "__version__"]
TORCH_FREE = [name for name in NAMES if name != "train"]


def in_a_fresh_process(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def modules() -> list[str]:
    """Return the dotted names of all modules of the package."""
    paths = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")]
    if not find_spec("qtpy"):
        windows = ("adapt", "background", "options_form", "restore")
        paths = [path for path in paths if path.parent.name != "napari" or path.stem not in windows]
    dotted = [".".join(path.with_suffix("").parts) for path in paths]
    return sorted(name.removesuffix(".__init__") for name in dotted if "__main__" not in name)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_object(name: str) -> None:
    """In a process of its own: the first access, and one after the module of that name if any."""
    in_a_fresh_process(
        "import importlib, importlib.util, types, microscopygan\n"
        f"first = getattr(microscopygan, {name!r})\n"
        f"if importlib.util.find_spec('microscopygan.{name}'):\n"
        f"    importlib.import_module('microscopygan.{name}')\n"
        f"assert getattr(microscopygan, {name!r}) is first\n"
        f"assert not isinstance(first, types.ModuleType)\n"
        f"assert first.__name__ == {name!r}, first"
    )


def test_the_names_are_listed() -> None:
    in_a_fresh_process(
        "import microscopygan\n"
        "assert {*microscopygan.__all__, '__doc__'} <= set(dir(microscopygan))\n"
        "import sys\n"
        "assert 'torch' not in sys.modules and 'onnxruntime' not in sys.modules"
    )


@pytest.mark.slow
def test_only_train_loads_torch_and_every_import_leaves_the_names_as_they_are() -> None:
    """Slow (about 6 s): every module is imported, torch too."""
    in_a_fresh_process(
        "import importlib, sys, microscopygan\n"
        f"before = {{name: getattr(microscopygan, name) for name in {TORCH_FREE!r}}}\n"
        "assert 'torch' not in sys.modules\n"
        "before['train'] = microscopygan.train\n"
        "assert 'torch' in sys.modules\n"
        f"for module in {modules()!r}:\n"
        "    importlib.import_module(module)\n"
        "    assert all(getattr(microscopygan, n) is x for n, x in before.items()), module\n"
    )
    in_a_fresh_process(
        "import importlib, types\n"
        f"for module in {modules()!r}:\n"
        "    importlib.import_module(module)\n"
        "import microscopygan\n"
        f"found = [getattr(microscopygan, name) for name in {NAMES!r}]\n"
        "assert not any(isinstance(one, types.ModuleType) for one in found)\n"
    )


def test_every_public_name_is_listed_and_documented() -> None:
    assert set(microscopygan._ROOMS) == set(NAMES)
    assert all(getattr(microscopygan, name).__doc__ for name in NAMES)
    assert sorted(microscopygan.__all__, key=str) == microscopygan.__all__
