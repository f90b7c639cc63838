"""napari in a real window, on a screen of its own; skipped with a reason where that cannot be."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

NEEDED = {"napari": "napari", "qtpy": "QtPy", "superqt": "superqt"}
BINDINGS = ("PyQt6", "PySide6")


def missing() -> str | None:
    """Say what keeps napari from opening a window here."""
    for package, title in NEEDED.items():
        if find_spec(package) is None:
            return f"{title} is not installed: pip install 'microscopygan[napari]' PyQt6"
    if not any(find_spec(binding) for binding in BINDINGS):
        return "no Qt is installed: pip install PyQt6"
    if shutil.which("Xvfb") is None:
        return "Xvfb is not installed: apt-get install xvfb (see .ci/run)"
    return None


@pytest.fixture(scope="session")
def screen() -> Iterator[str]:
    """A virtual screen with OpenGL by software."""
    if reason := missing():
        pytest.skip(reason)
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    before = os.environ.get("DISPLAY")
    os.environ["DISPLAY"] = f":{number}"
    os.environ["QT_QPA_PLATFORM"] = "xcb"
    yield os.environ["DISPLAY"]
    os.environ.pop("DISPLAY") if before is None else os.environ.update(DISPLAY=before)
    server.terminate()
    server.wait()


@pytest.fixture
def viewer(screen: str, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """A viewer in a window, closed after the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NAPARI_CONFIG", "")  # no settings are read, none are kept
    import napari

    opened = napari.Viewer(show=True)
    yield opened
    opened.close()
    wait(seconds=0.1)


@pytest.fixture
def until() -> Callable[..., float]:
    """Let the window work until a condition holds; gives the seconds that took."""
    return wait


def wait(
    condition: Callable[[], bool] = lambda: False, seconds: float = 120, *, must: bool = False
) -> float:
    from qtpy.QtWidgets import QApplication

    begun = time.perf_counter()
    while not condition():
        spent = time.perf_counter() - begun
        if spent > seconds:
            assert not must, "it did not come to that"
            return spent
        QApplication.processEvents()
        time.sleep(0.01)
    return time.perf_counter() - begun
