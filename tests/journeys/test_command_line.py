"""Journeys of a user at the command line, on a small dataset."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from microscopygan.image.formats import Image, read, write
from microscopygan.settings import Settings, make_settings

CHANGES = ("adaptation.validations=2", "adaptation.fields=4", "adaptation.field=64")
CHANGES += ("specimens=2", "split.specimen_side=64")
SMALL = [word for change in CHANGES for word in ("--set", change)]


@pytest.fixture
def command(tiny: Settings, monkeypatch, run_command):
    """Run the command line with tiny networks; gives (exit code, output, error)."""

    def changed(preset: str, start: str, **changes: object) -> Settings:
        make_settings(preset, start, **changes)  # the real check of the values
        return tiny.changed(changes)

    monkeypatch.setattr("microscopygan.settings.make_settings", changed)
    return run_command


@pytest.mark.slow
def test_a_few_images_adapt_the_generalist(
    run_command, coarse_physics, dataset: Path, tmp_path: Path
) -> None:
    """Slow (about 10 s): the command as a user gives it, but for ten steps on small images."""
    run, few = tmp_path / "run", ("--steps", 10, *SMALL)
    code, shown, _ = run_command("train", dataset, "-o", run, *few, "--quiet")
    assert code == 0
    assert "Kept: the " in shown
    judged = r"on synthetic images of \d+ clean images of training pairs of each defect"
    assert re.search(judged, " ".join(shown.split()))
    scores = (run / "evaluation" / "scores.csv").read_text()
    assert ",generalist," in scores
    assert ",restored," in scores
    assert json.loads((run / "steps.json").read_text())["minutes"] == 5
    model = run / "restorer.onnx"
    before = model.read_bytes()
    again = ("train", dataset, "-o", run, "--quiet")
    assert run_command(*again, *few, "--resume")[0] == 0
    assert model.read_bytes() == before
    code, _, error = run_command(*again, "--add-to", run, "--minutes", 1, "--overwrite")
    assert code == 2
    assert "leave --minutes" in error
    source, out = dataset / "test" / "noise" / "input", tmp_path / "out"
    given = ("restore", source, "-o", out, "--model", model, "--defect", "noise + lowres")
    assert run_command(*given)[0] == 0


@pytest.mark.slow
def test_from_a_dataset_to_a_report(command, dataset: Path, tmp_path: Path) -> None:
    """Slow (about 15 s): both trainings, calibration and every command."""
    run = tmp_path / "run"
    assert command("train", dataset, "-o", run, "--cin-gan", 0.5, "--quiet")[0] == 0
    about = json.loads((run / "run.json").read_text())
    assert about["dataset"]["defects"]["noise"]["test"] == 2
    assert (run / "evaluation" / "scores.csv").exists()
    realism = json.loads((run / "evaluation" / "realism.json").read_text())
    assert set(realism["noise"]) == {"cin-gan", "physics", "gaussian"}

    model, out = run / "restorer.onnx", tmp_path / "restored"
    source = dataset / "test" / "noise" / "input"
    before = {p: p.read_bytes() for p in source.iterdir()}
    assert command("restore", source, "-o", out, "--model", model)[0] == 0
    assert {p: p.read_bytes() for p in source.iterdir()} == before
    restored = read(out / "0.tif")
    assert restored.array.dtype == np.uint16
    assert restored.pixel_size == pytest.approx({"Y": 0.1, "X": 0.1})
    code, _, error = command("restore", source, "-o", out, "--model", model)
    assert code == 2
    assert "exists" in error

    target, table = dataset / "test" / "noise" / "target", tmp_path / "scores.csv"
    code, shown, _ = command("evaluate", out, target, "--csv", table)
    assert code == 0
    assert "psnr_affine" in shown
    assert len(table.read_text().splitlines()) == 3

    made = tmp_path / "made"
    again = ("synthesize", run, dataset / "clean", "--defect", "noise", "-o", made, "--draws", 2)
    assert command(*again, "--seed", 5)[0] == 0
    first, second = (read(made / f"0_noise{k}.tif").array for k in (1, 2))
    assert not np.array_equal(first, second)
    kept = (made / "0_noise1.tif").read_bytes()
    (made / "0_noise1.tif").unlink()
    assert command(*again, "--seed", 6)[0] == 2  # another output exists: none is written
    assert not (made / "0_noise1.tif").exists()
    assert command(*again, "--seed", 5, "--overwrite")[0] == 0
    assert (made / "0_noise1.tif").read_bytes() == kept

    page = tmp_path / "page.html"
    assert command("report", run, "-o", page)[0] == 0
    assert "noise" in page.read_text()

    state = (run / "restorer" / "state.safetensors").read_bytes()
    again = ("train", dataset, "-o", run, "--cin-gan", 0.5, "--resume", "--quiet")
    assert command(*again)[0] == 0
    assert (run / "restorer" / "state.safetensors").read_bytes() == state
    code, _, error = command(*again, "--seed", 4)
    assert code == 2
    assert "seed changed" in error

    new = tmp_path / "new"
    shutil.copytree(dataset / "clean", new / "clean")
    shutil.copytree(dataset / "noise", new / "unheard")
    more = tmp_path / "more"
    assert command("train", new, "-o", more, "--add-to", run, "--quiet")[0] == 0
    assert (
        command("synthesize", more, new / "clean", "--defect", "unheard", "-o", more / "x")[0] == 0
    )
    code, _, error = command("train", dataset, "-o", tmp_path / "no", "--add-to", run, "--quiet")
    assert code == 2
    assert "already" in error


@pytest.mark.slow
def test_defects_that_physics_describes_need_no_cin_gan(
    command, dataset: Path, tmp_path: Path
) -> None:
    """Slow (about 10 s): a training by the command, and its report."""
    run, page = tmp_path / "run", tmp_path / "page.html"
    assert command("train", dataset, "-o", run, "--quiet")[0] == 0
    assert not (run / "defects.safetensors").exists()
    realism = json.loads((run / "evaluation" / "realism.json").read_text())
    assert set(realism["noise"]) == {"physics", "gaussian"}
    clean, made = dataset / "clean" / "0.tif", tmp_path / "made"
    assert command("synthesize", run, clean, "--defect", "noise", "-o", made)[0] == 0
    assert not np.array_equal(read(made / "0_noise1.tif").array, read(clean).array)
    code, _, error = command("synthesize", run, clean, "--defect", "haze", "-o", made)
    assert code == 2
    assert "defect: expected one of lowres, noise, got 'haze'" in error
    assert command("report", run, "-o", page)[0] == 0
    assert "Defects it learned" in page.read_text()


@pytest.mark.slow
def test_stages_one_after_the_other(command, dataset: Path, tmp_path: Path) -> None:
    """Slow (about 10 s): three trainings by the command."""
    run = tmp_path / "run"
    train = ("train", dataset, "-o", run, "--cin-gan", 0.5, "--quiet", "--stage")
    code, _, error = command(*train, "restorer")
    assert code == 2
    assert "--stage defects first" in error
    assert not run.exists()
    assert command(*train, "defects")[0] == 0
    assert not (run / "restorer.onnx").exists()
    assert command(*train, "restorer")[0] == 0
    assert (run / "restorer.onnx").exists()


def test_real_pairs_only(command, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert command("train", dataset, "-o", run, "--alpha", 0, "--quiet")[0] == 0
    assert not (run / "defects.safetensors").exists()
    assert (run / "restorer.onnx").exists()


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def _spoil(folder: Path, how: str) -> None:
    """Spoil a good dataset in one way."""
    noise = folder / "noise" / "0.tif"
    plane = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    if how == "missing folder":
        shutil.rmtree(folder)
    elif how == "empty folder":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == "defect without image":
        shutil.rmtree(folder / "noise")
        (folder / "noise").mkdir()
    elif how == "small":
        write(noise, Image(plane[:9, :9], "YX", {}, None), overwrite=True)
    elif how in ("nan", "infinite"):
        plane[3, 3] = np.nan if how == "nan" else np.inf
        _save(folder / "noise" / "bad.npy", plane)
    elif how == "constant":
        _save(folder / "noise" / "bad.npy", np.ones((64, 64), np.uint8))
    elif how == "rgb":
        import tifffile

        tifffile.imwrite(noise, (plane[..., None] * [9, 99, 200]).astype("u1"), photometric="rgb")
    elif how == "zero bytes":
        noise.write_bytes(b"")
    elif how == "truncated":
        noise.write_bytes(noise.read_bytes()[:300])
    elif how == "corrupt":
        noise.write_bytes(b"this is no picture" * 9)
    elif how == "pair of two sizes":
        write(folder / "pairs/noise/input/0.tif", Image(plane, "YX", {}, None), overwrite=True)
    elif how == "no target":
        (folder / "pairs/noise/target/0.tif").unlink()
    elif how == "lengths of X and Y":
        shutil.rmtree(folder)
        _save(folder / "noise_X.npy", np.stack([plane, plane]))
        _save(folder / "noise_Y.npy", plane[None])


SPOILT = """missing folder; empty folder; defect without image; small; nan; infinite; constant; rgb;
zero bytes; truncated; corrupt; pair of two sizes; no target; lengths of X and Y"""


@pytest.mark.parametrize("how", [" ".join(x.split()) for x in SPOILT.split(";")])
def test_a_bad_dataset_gets_one_line(command, dataset: Path, tmp_path: Path, how: str) -> None:
    _spoil(dataset, how)
    code, _, error = command("train", dataset, "-o", tmp_path / "run", "--quiet")
    assert code == 2
    assert len(error.strip().splitlines()) == 1, error
    assert error.startswith("microscopygan: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--preset", "huge"), "'huge' is not one of 'default', 'paper'"),
        (("--alpha", "1.5"), "alpha"),
        (("--stage", "third"), "'third' is not one of 'all', 'defects', 'restorer'"),
        (("--from", "zero"), "'zero' is not one of"),
        (("--tempo", "3"), "No such option: --tempo"),
        (("--set", "restorer.content_weight=-1"), "restorer.content_weight: expected a value grea"),
        (("--set", "restorer.contents=1"), "restorer: expected one of steps, batch,"),
        (("--set", "restorer.steps"), "--set: expected name=value"),
        (("--settings", "absent.toml"), "absent.toml: No such file"),
        (("--pairs", "-1"), "pairs"),
    ],
)
def test_bad_options_get_one_line(command, dataset: Path, tmp_path: Path, arguments, line) -> None:
    code, _, error = command("train", dataset, "-o", tmp_path / "run", *arguments, "--quiet")
    assert code == 2
    assert line in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_kept(command, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine.txt").write_text("mine")
    code, _, error = command("train", dataset, "-o", run, "--quiet")
    assert code == 2
    assert "--overwrite" in error
    assert [p.name for p in run.iterdir()] == ["mine.txt"]


def test_unknown_defect_and_missing_run(command, dataset: Path, tmp_path: Path) -> None:
    code, _, error = command(
        "synthesize", tmp_path, dataset / "clean", "--defect", "x", "-o", tmp_path / "o"
    )
    assert code == 2
    assert "--stage defects" in error


def test_restore_needs_no_torch(tmp_path: Path, python: str) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from microscopygan.apps.cli import main\n"
        f"main(['restore', '{tmp_path}/a.npy', '-o', '{tmp_path}/b.npy', '--model', 'absent'])"
    )
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((40, 40)))
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such model" in done.stderr


@pytest.mark.slow
def test_the_paper_preset_runs(dataset: Path, tmp_path: Path, tiny: Settings) -> None:
    """Slow (about 10 s): the 2019 networks and losses, narrower."""
    from microscopygan.datasets.folder import load_dataset
    from microscopygan.restoration.model import Restorer
    from microscopygan.training.stages import train

    short = {"steps": 2, "batch": 2, "patch": 32, "save_every": 2, "picture_every": 2}
    narrow = make_settings(
        "paper",
        specimens=0,
        defects=short | {"architecture": {"channels": 4, "blocks": 2}},
        restorer=short | {"architecture": {"channels": (4, 6, 8)}},
    )
    train(load_dataset(dataset), tmp_path / "run", narrow, quiet=True)
    restorer = Restorer(tmp_path / "run" / "restorer.onnx")
    assert not restorer.card.tileable
    plane = np.random.default_rng(0).random((45, 62), dtype=np.float32)
    assert restorer.restore_plane(plane).shape == plane.shape
    assert not (tmp_path / "run" / "physics.json").exists()


def test_the_help_shows_menus(run_command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, shown, _ = run_command("train", "--help")
    for menu in ("default|paper", "all|defects|restorer", "generalist|scratch"):
        assert menu in shown
