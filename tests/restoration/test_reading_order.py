"""How many modules one image crosses, and how many calls a block: a reader must follow them."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import microscopygan
from microscopygan.image.formats import Image
from microscopygan.restoration import job, model
from microscopygan.restoration.api import restore

PACKAGE = Path(microscopygan.__file__).parent
SAMPLE = PACKAGE / "samples" / "clean" / "neubias_nuclei.tif"
FUNCTION = 3  # flags of code that is a function's, not a module's or a class's


def crossed(work: Callable[[], object]) -> list[str]:
    """Modules of the package in which a function is called, in the order of the first calls."""
    modules: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        called = event == "call" and frame.f_code.co_flags & FUNCTION == FUNCTION
        path = Path(frame.f_code.co_filename)
        if called and path.is_relative_to(PACKAGE):
            modules.setdefault(path.relative_to(PACKAGE).as_posix())

    before = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return list(modules)


def test_one_tiff_crosses_at_most_18_modules(run_command, tmp_path: Path) -> None:
    command = ("restore", SAMPLE, "-o", tmp_path / "out.tif", "--overwrite")
    assert run_command(*command)[0] == 0  # imports what is imported on demand
    modules = crossed(lambda: run_command(*command))
    assert modules[:3] == ["apps/cli.py", "apps/restore_options.py", "apps/batch.py"]
    assert {"image/formats/tiff.py", "restoration/model.py", "model_card.py"} <= set(modules)
    assert len(modules) <= 18, "\n".join(modules)


class Session:
    """Notes what lies between the queue of blocks and the call of the real session."""

    def __init__(self, session: object) -> None:
        self.session, self.calls = session, []

    def run(self, names, feed, options):
        frame, between = sys._getframe(1), []
        while frame is not None and frame.f_code is not job.run.__code__:
            between.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
            frame = frame.f_back
        assert frame is not None, "the session is called by the queue"
        self.calls.append(between[::-1])
        return self.session.run(names, feed, options)


@pytest.mark.parametrize("task", ["plane", "axial"])
def test_a_block_passes_at_most_four_calls(restorer, monkeypatch, task: str) -> None:
    session = Session(restorer._session)
    monkeypatch.setattr(restorer, "_session", session)
    array = np.random.default_rng(0).random((3, 60, 70), dtype=np.float32)
    image = Image(array, "ZYX", {"Z": 0.3, "Y": 0.1, "X": 0.1})
    restore(image, model=restorer, task=task)
    assert session.calls
    for between in session.calls:
        assert between[0] == "job.compute"
        assert between[-1] == f"{Path(model.__file__).stem}.run_windows"
        assert len(between) <= 4, between
