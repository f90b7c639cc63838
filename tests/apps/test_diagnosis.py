"""The command ``diagnose``: text for people, a line of JSON for programs, a page."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microscopygan.diagnosis.parameters import STAGES
from microscopygan.image.formats import Image, read, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of one laboratory, of which the second is damaged."""
    rng = np.random.default_rng(0)
    for number in range(3):
        light = 20 + 200 * rng.random((48, 64)) ** 4
        write(tmp_path / "in" / f"{number}.tif", Image(rng.poisson(light).astype("u2"), "YX"))
    damaged = tmp_path / "in" / "1.tif"
    damaged.write_bytes(damaged.read_bytes()[:-900])
    return tmp_path / "in"


def test_several_images_are_one_laboratory(run_command, folder: Path) -> None:
    code, shown, error = run_command("diagnose", folder)
    assert code == 1
    first, *lines = shown.splitlines()
    assert first == "2 images of one laboratory"
    assert lines
    assert all(line.startswith("  ") for line in lines)
    assert error.splitlines()[0] == "microscopygan: 1 of 3 images not diagnosed:"
    assert str(folder / "1.tif") in error


def test_each_by_itself(run_command, folder: Path) -> None:
    code, shown, _ = run_command("diagnose", folder, "--each")
    assert code == 1
    assert [line for line in shown.splitlines() if not line.startswith(" ")] == ["0.tif", "2.tif"]


def test_json_has_a_line_for_each_failures_too(run_command, folder: Path) -> None:
    code, shown, error = run_command("diagnose", folder, "--each", "--json", "--quiet")
    assert code == 1
    first, failed, last = map(json.loads, shown.splitlines())
    assert (first["images"], last["images"]) == (["0.tif"], ["2.tif"])
    assert failed["input"] == str(folder / "1.tif")
    assert failed["error"] in error
    (channel,) = first["channels"]
    assert set(channel) >= {"findings", "probabilities", "hints", "notes", "planes"}
    assert all(0 <= share <= 1 for share in channel["probabilities"].values())
    code, shown, _ = run_command("diagnose", folder, "--json")
    assert [set(json.loads(line)) for line in shown.splitlines()] == [
        {"input", "error"},
        {"images", "channels"},
    ]


def test_the_only_image_is_bad_input(run_command, folder: Path) -> None:
    code, shown, error = run_command("diagnose", folder / "1.tif", "--json")
    assert code == 2
    assert json.loads(shown)["error"] in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["missing.tif"], "missing.tif"),
        (["--model", "specialist"], "expected a file or one of generalist"),
        (["--clean", "missing"], "missing"),
        (["-o", "0.tif"], "exists"),
    ],
)
def test_wrong_usage_is_one_line(run_command, folder: Path, monkeypatch, arguments, line) -> None:
    monkeypatch.chdir(folder)
    code, shown, error = run_command("diagnose", "0.tif", *arguments)
    assert (code, shown) == (2, "")
    assert line in error
    assert len(error.strip().splitlines()) == 1


def test_a_page_appears_and_inputs_stay(run_command, folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    page = tmp_path / "new" / "page.html"
    images = (folder / "0.tif", folder / "2.tif")
    code, shown, _ = run_command("diagnose", *images, "-o", page, "--clean", images[0])
    assert code == 0
    assert shown.splitlines()[-1] == f"Page written to {page}"
    assert "<html" in page.read_text(encoding="utf-8")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert run_command("diagnose", *images, "-o", page)[0] == 2
    code, shown, _ = run_command("diagnose", *images, "-o", page, "--overwrite", "--quiet")
    assert (code, shown) == (0, "")


def test_restore_finds_the_hint(run_command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    code, shown, error = run_command("restore", folder / "0.tif", "-o", out, "--defect", "auto")
    assert code == 0, error
    assert "told to the network:" in shown
    hint = read(out).provenance["restoration"]["model"]["hint"]
    assert "noise" in hint
    assert set(hint) <= set(STAGES)


def test_a_diagnosis_loads_no_torch(folder: Path) -> None:
    code = (
        "import sys\n"
        "from microscopygan.apps.cli import main\n"
        "try:\n"
        f"    main(['diagnose', {str(folder / '0.tif')!r}])\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "heavy = {'torch', 'skimage', 'scipy.stats', 'scipy.optimize'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_do_not_steer_the_terminal(run_command, folder: Path) -> None:
    name = folder / "\x1b[31mred.tif"
    (folder / "0.tif").rename(name)
    code, shown, _ = run_command("diagnose", name)
    assert code == 0
    assert "\x1b" not in shown
    assert shown.startswith(r"\x1b[31mred.tif")
    assert len(shown.splitlines()) > 1
