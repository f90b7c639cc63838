"""Every script of examples/ runs, in a folder of its own, and leaves what it says."""

import inspect
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import microscopygan
from microscopygan.datasets.folder import Dataset, load_dataset
from microscopygan.settings import Settings, make_settings
from microscopygan.training.split import split_dataset
from microscopygan.training.stages import Trained, train

FOLDER = Path(__file__).resolve().parents[1] / "examples"
# script: its arguments, and what it writes
SCRIPTS = {
    "restore.py": ([], ["restored.ome.tif", "careful.ome.tif"]),
    "diagnose.py": ([], ["diagnosis.json"]),
    "folder.py": ([], ["restored_folder/neubias_bacteria_thin.tif"]),
    "huge_zarr.py": ([], ["huge_restored.ome.zarr/zarr.json"]),
    "ten_pairs.py": (["0.1"], ["ten_pairs_run/restorer.onnx"]),
    "no_pairs.py": (["0.1"], ["no_pairs_run/restorer.onnx", "no_pairs_restored.tif"]),
    "axial_stack.py": ([], ["isotropic.ome.tif"]),
    "score.py": ([], ["scores.csv"]),
    "add_defect.py": ([], ["dusty.tif", "both.tif"]),
}
ALONE = "huge_zarr.py"  # its workers import it


def test_every_script_is_tried_and_listed() -> None:
    scripts = {path.name for path in FOLDER.glob("*.py")}
    assert scripts == SCRIPTS.keys()
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in listed for name in scripts)


def train_for_no_time(
    dataset: Dataset | str, run: str, settings: Settings | None = None, **how: object
) -> Trained:
    """Take what `train` takes, of images that it can be given; keep the network that ships.

    How adaptations go, training/test_fine_tuning.py and a tutorial of docs/ show.
    """
    inspect.signature(train).bind(dataset, run, settings, **how)
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    chosen, folder = settings or make_settings(), Path(run)
    split = split_dataset(data, chosen)
    folder.mkdir()
    trained = Trained(folder, chosen, split, None, None, {"said": []}, {})
    shutil.copy(microscopygan.load().path, trained.model)
    return trained


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, outputs = SCRIPTS[name]
    monkeypatch.chdir(tmp_path)
    if name == ALONE:
        command = [sys.executable, "-W", "error", str(FOLDER / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
    else:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.setattr(microscopygan, "train", train_for_no_time)
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert all((tmp_path / output).exists() for output in outputs)
