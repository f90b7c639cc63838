"""Batches: what became of each image, whatever its name; menus, environment, models that ship."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from microscopygan.apps.restore_options import parse_bytes
from microscopygan.image.formats import Image, read, write
from microscopygan.restoration import api
from microscopygan.restoration.models import GENERALIST, MODELS


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Two whole images and a damaged one between them."""
    folder = tmp_path / "plate"
    for number in range(3):
        array = np.random.default_rng(number).integers(0, 255, (32, 40), dtype=np.uint8)
        write(folder / f"{number}.tif", Image(array, "YX"))
    damaged = folder / "1.tif"
    damaged.write_bytes(damaged.read_bytes()[:-700])
    return folder


def test_a_batch_goes_on_after_a_damaged_image(run_command, plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, shown, error = run_command("restore", plate, "-o", out)
    assert code == 1
    assert [Path(line.split()[0]).name for line in shown.splitlines()] == ["0.tif", "2.tif"]
    first, line = error.strip().splitlines()
    assert first == "microscopygan: 1 of 3 images not restored:"
    assert line.startswith(f"  {plate / '1.tif'}: expected")
    assert sorted(path.name for path in out.iterdir()) == ["0.tif", "2.tif"]


def test_json_has_a_line_for_each_also_where_quiet(run_command, plate: Path, tmp_path) -> None:
    arguments = ("restore", plate, "-o", tmp_path / "out", "--quiet", "--json")
    code, shown, error = run_command(*arguments)
    assert code == 1
    lines = [json.loads(line) for line in shown.splitlines()]
    assert [Path(about["input"]).name for about in lines] == ["0.tif", "1.tif", "2.tif"]
    assert ["error" in about for about in lines] == [False, True, False]
    assert all(about["pixels"] == 32 * 40 for about in lines if "error" not in about)
    assert lines[1]["error"] in error


def test_strict_stops_at_the_first(run_command, plate: Path, tmp_path: Path) -> None:
    code, shown, error = run_command("restore", plate, "-o", tmp_path / "out", "--strict", "--json")
    assert code == 1
    assert len(shown.splitlines()) == 2
    assert "1 of 3 images not restored" in error


def test_the_only_image_is_bad_input(run_command, plate: Path, tmp_path: Path) -> None:
    code, shown, error = run_command("restore", plate / "1.tif", "-o", tmp_path, "--json")
    assert code == 2
    assert json.loads(shown)["error"] in error
    assert len(error.strip().splitlines()) == 1


def test_wrong_usage_restores_nothing(run_command, plate: Path, tmp_path: Path) -> None:
    for arguments, line in (
        (("--device", "abacus"), "'abacus' is not one of 'auto', 'cpu'"),
        (("--model", "specialist"), "expected a file or one of generalist"),
        (("--defect", "blur"), "defect: expected some of jitter"),
    ):
        code, shown, error = run_command("restore", plate, "-o", tmp_path / "out", *arguments)
        assert (code, shown) == (2, "")
        assert line in error
        assert len(error.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


NAMES = ["a[red].tif", "[bold]b.tif", "c_:smile:.tif", "d_日本.tif"]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_names_neither_vanish_nor_end_the_run(tmp_path: Path, encoding: str) -> None:
    """Slow (about 2 s each): a process with a console of that code page."""
    folder = tmp_path / "in"
    plane = Image(np.random.default_rng(0).integers(0, 255, (32, 40), dtype=np.uint8), "YX")
    names = [*NAMES]
    for name in names:
        write(folder / name, plane)
    try:
        odd = os.fsdecode(b"e_\xff.tif")
        os.rename(write(folder / "e.tif", plane), folder / odd)
        names.append(odd)
    except (OSError, UnicodeError):  # a file system of Unicode names alone
        (folder / "e.tif").unlink()
    (folder / "f[x].tif").write_bytes(b"II*\0")
    code = "from microscopygan.apps.cli import main; import sys; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "restore", str(folder), "-o", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "20"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    shown = done.stdout.decode(encoding).splitlines()
    error = done.stderr.decode(encoding)
    assert done.returncode == 1, error
    for name in names:
        escaped = name.encode(encoding, "backslashreplace").decode(encoding)
        assert sum(escaped in line for line in shown) == 1
        assert (tmp_path / "out" / name).exists()
    assert "f[x].tif" in error


def test_the_environment_sets_options(run_command, plate: Path, tmp_path, monkeypatch) -> None:
    seen = {}
    monkeypatch.setattr(api, "load", lambda model, **how: seen.update(model=model, **how))

    def restored(source, path, **options):
        seen.update({"model": seen["model"]} | {"memory": options["memory"]})
        raise ValueError("enough")

    monkeypatch.setattr(api, "restore_file", restored)
    chosen = {"MODEL": "a.onnx", "MEMORY": "3GB", "THREADS": "5", "DEVICE": "cpu"}
    for name, value in chosen.items():
        monkeypatch.setenv(f"MICROSCOPYGAN_{name}", value)
    run_command("restore", plate, "-o", tmp_path / "out")
    assert (seen["model"], seen["memory"], seen["threads"]) == ("a.onnx", 3 * 10**9, 5)
    assert seen["device"] == "cpu"
    run_command("restore", plate, "-o", tmp_path / "out", "--memory", "1GB", "--threads", 2)
    assert (seen["memory"], seen["threads"]) == (10**9, 2)
    monkeypatch.setenv("MICROSCOPYGAN_THREADS", "many")
    code, _, error = run_command("restore", plate, "-o", tmp_path / "out")
    assert code == 2
    assert "MICROSCOPYGAN_THREADS" in error


def test_the_help_shows_menus(run_command) -> None:
    _, shown, _ = run_command("restore", "--help")
    text = "".join(part.strip() for line in shown.splitlines() for part in line.split("│")[1:-1])
    assert "plane|axial" in text
    for choice in ("volume", "frame", "image", "none", "same", "float32", "openvino"):
        assert choice in text


def test_models_are_listed_with_size_speed_and_card(run_command) -> None:
    code, shown, _ = run_command("models")
    assert code == 0
    for text in ("generalist", "MB", "parameters", "lowres", "megapixels/s", "docs/generalist.md"):
        assert text in shown
    code, shown, _ = run_command("models", "--json")
    assert code == 0
    (about,) = (json.loads(line) for line in shown.splitlines())
    assert about["name"] == GENERALIST
    assert about["bytes"] == MODELS[GENERALIST].path.stat().st_size
    assert {"noise", "axial", "lowres", "haze"} <= set(about["hints"])
    assert about["megapixels_per_second"] > 0


def test_a_model_is_named_or_a_file(run_command, plate: Path, tmp_path: Path) -> None:
    image, outputs = plate / "0.tif", [tmp_path / f"{number}.tif" for number in range(3)]
    file = MODELS[GENERALIST].path
    for output, model in zip(
        outputs, ((), ("--model", GENERALIST), ("--model", file)), strict=True
    ):
        assert run_command("restore", image, "-o", output, *model)[0] == 0
    first, *others = (read(output).array for output in outputs)
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("text", "number"), [("2GB", 2 * 10**9), (" 1500 mb", 1_500_000_000), ("700", 700)]
)
def test_sizes_of_memory(text: str, number: int) -> None:
    assert parse_bytes(text) == number


@pytest.mark.skipif(os.name == "nt", reason="names of POSIX")
def test_names_do_not_steer_the_terminal(run_command, plate: Path, tmp_path: Path) -> None:
    for number in (0, 1):
        (plate / f"{number}.tif").rename(plate / f"\x1b[31m{number}\n.tif")
    for arguments in ((plate, "-o", tmp_path / "\x1b]0;out"), (plate / "\x1b.tif", "-o", "x")):
        code, shown, error = run_command("restore", *arguments)
        assert code > 0
        assert "\x1b" not in shown + error
        assert "\\x1b" in error


def test_a_closed_output_does_not_end_a_batch(plate: Path, tmp_path: Path) -> None:
    (plate / "1.tif").unlink()
    command = [sys.executable, "-m", "microscopygan", "restore", str(plate), "-o", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait() == 0
    assert {path.name for path in tmp_path.glob("*.tif")} == {"0.tif", "2.tif"}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_terminated_run_ends_as_an_interrupted_one(tmp_path: Path) -> None:
    """Slow (several seconds): starts a process and waits for it."""
    array = np.random.default_rng(0).integers(0, 999, (60, 256, 256), np.uint16)
    source, out = write(tmp_path / "a.tif", Image(array, "ZYX")), tmp_path / "out.zarr"
    command = [sys.executable, "-m", "microscopygan", "restore", str(source), "-o", str(out)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out.zarr.part" / "0").exists():
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.terminate()
    shown, error = run.communicate(timeout=60)
    assert (run.returncode, error) == (130, "")
    assert "--resume goes on" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "out.zarr.part"]
