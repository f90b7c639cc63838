"""Temporary files are gone when they should be, and a killed server says what was lost."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from microscopygan.apps.web.work_folder import WorkFolder, clear_lost
from microscopygan.image.formats import Image, create

CODE = """
import os, sys, tempfile
from pathlib import Path
import numpy as np
from microscopygan.apps.web.work_folder import WorkFolder
from microscopygan.image.formats import Image, create
tempfile.tempdir = sys.argv[1]
work, output = WorkFolder(), Path(sys.argv[2])
create(output, Image(np.zeros((40, 50), np.uint16), "YX").header)
work.note(uploads=["a.tif", "b.tif"], restoring=["b.tif"], results=["a.tif"], outputs=[output])
os._exit(9)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("name", ["b.tif", "b.ome.zarr"])
def test_what_a_killed_server_left_is_removed_and_told(place: Path, tmp_path, python, name):
    output = tmp_path / "restored" / name
    subprocess.run([python, "-c", CODE, str(place), str(output)], check=False)
    assert len(list(place.iterdir())) == 2
    assert list(output.parent.iterdir())
    (line,) = clear_lost()
    for part in ("Not restored to the end: b.tif.", "Uploads that are gone: a.tif, b.tif."):
        assert part in line
    assert list(place.iterdir()) == []
    assert list(output.parent.iterdir()) == []
    assert clear_lost() == []


def test_a_server_that_runs_keeps_its_files(place: Path):
    work = WorkFolder()
    work.note(uploads=["a.tif"])
    assert clear_lost() == []
    assert work.path.exists()
    work.close()
    assert list(place.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_what_others_put_there_is_left_alone(place: Path, tmp_path, monkeypatch):
    """In a shared folder for temporary files, anyone can put a folder of any name."""
    precious = tmp_path / "precious.tif"
    with create(precious, Image(np.zeros((4, 4), np.uint8), "YX").header) as target:
        target.array[...] = 1
    planted = place / "microscopygan-web-planted"
    planted.mkdir()
    (planted / "journal.json").write_text(json.dumps({"outputs": [str(precious)]}))
    (place / "microscopygan-web-link").symlink_to(tmp_path)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert clear_lost() == []
    assert planted.exists()
    monkeypatch.undo()
    assert precious.exists()


def test_a_journal_that_is_cut_off_is_no_trouble(place: Path, python, tmp_path):
    subprocess.run([python, "-c", CODE, str(place), str(tmp_path / "b.tif")], check=False)
    (folder,) = (path for path in place.iterdir() if path.is_dir())
    (folder / "journal.json").write_text('{"uplo')
    assert clear_lost() == []
    assert list(place.iterdir()) == []
