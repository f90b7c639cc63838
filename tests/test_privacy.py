"""Nothing leaves the machine, and nothing is written but what was asked for."""

import ast
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import microscopygan
from microscopygan.image.formats import open_image
from microscopygan.restoration import workers

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = Path(microscopygan.__file__).parent
SAMPLE = sorted((PACKAGE / "samples").rglob("*.tif"))[0]
SWITCH = "ORT_DISABLE_TELEMETRY"
OURS = ("src", "tests", "scripts", "benchmarks", "bench", "examples")
SOURCES = sorted(path for folder in OURS for path in (REPOSITORY / folder).rglob("*.py"))
LOCAL = re.compile(r"sa_family=AF_(UNIX|NETLINK|UNSPEC)|\"127\\.|\"::1\"")
AS_A_USER = """
import sys, time
from microscopygan.apps.cli import main
if __name__ == "__main__":
    try:
        main(sys.argv[2:])
    finally:
        time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and an environment that says nothing of telemetry."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith("XDG_") or name == SWITCH:
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    return folder


def python(code: str, *arguments: object, before: tuple[str, ...] = ()) -> str:
    """Run code in a process of its own; return what it wrote."""
    command = [*before, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_restoring_writes_the_output_alone(home: Path, tmp_path: Path, workers: int) -> None:
    script, out = tmp_path / "restore.py", tmp_path / "out.zarr"
    script.write_text(AS_A_USER, encoding="utf-8")
    options = ["restore", SAMPLE, "-o", out, "--workers", workers, "--quiet"]
    command = [sys.executable, str(script), "0", *map(str, options)]
    subprocess.run(command, check=True, cwd=home, timeout=240)
    assert open_image(out).array.shape[-2:] == open_image(SAMPLE).array.shape
    assert below(home) == []
    assert set(tmp_path.iterdir()) == {home, script, out}


def can_trace() -> bool:
    """Whether system calls can be watched here (containers may forbid it)."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_trace(), reason="needs strace")
def test_restoring_looks_nothing_up(home: Path, tmp_path: Path) -> None:
    """Slow (20 s): with telemetry, the first look-up comes 9 s after the model is opened."""
    log = tmp_path / "calls"
    trace = ("strace", "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log))
    python(AS_A_USER, 15, "restore", SAMPLE, "-o", tmp_path / "out.tif", "--quiet", before=trace)
    calls = log.read_text("utf-8").splitlines()
    assert "exited with 0" in calls[-1]
    assert [call for call in calls if "sa_family" in call and not LOCAL.search(call)] == []
    assert below(home) == []


def test_importing_switches_off_before_the_runtime_is_there(home: Path) -> None:
    code = (
        "import os, sys, microscopygan; "
        f"print(os.environ['{SWITCH}'], 'onnxruntime' in sys.modules)"
    )
    assert python(code).split() == ["1", "False"]


def test_a_worker_of_a_cluster_switches_off(home: Path) -> None:
    """It meets the package first when it reads what it is told to do."""
    told = pickle.dumps(workers._restore)
    code = f"import os, pickle; pickle.loads({told!r}); print(os.environ['{SWITCH}'])"
    assert python(code).split() == ["1"]


def test_a_runtime_that_is_there_is_told(home: Path) -> None:
    code = (
        "import sys, types; told = []; late = types.ModuleType('onnxruntime'); "
        "late.disable_telemetry_events = lambda: told.append(1); "
        "sys.modules['onnxruntime'] = late; import microscopygan; print(len(told))"
    )
    assert python(code).split() == ["1"]


def imports(path: Path, package: str) -> list[int]:
    """Return the lines of a file on which a package is imported."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        if any(name.split(".")[0] == package for name in names):
            lines.append(node.lineno)
    return sorted(lines)


USERS = [path for path in SOURCES if imports(path, "onnxruntime")]


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_module_opens_the_runtime_otherwise(path: Path) -> None:
    """Inside the package, and in tests, the package comes first; elsewhere the switch does."""
    if path.is_relative_to(REPOSITORY / "src" / "microscopygan"):
        return
    if path.is_relative_to(REPOSITORY / "tests"):
        assert imports(REPOSITORY / "tests" / "conftest.py", "microscopygan")
        return
    lines = path.read_text("utf-8").splitlines()
    before = "\n".join(lines[: imports(path, "onnxruntime")[0] - 1])
    assert f'os.environ["{SWITCH}"] = "1"' in before or "import microscopygan" in before


def test_the_runtime_is_used_somewhere() -> None:
    assert any(path.is_relative_to(REPOSITORY / "src") for path in USERS)
