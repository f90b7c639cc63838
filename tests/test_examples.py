"""Every script of examples/ runs, in a folder of its own, and leaves what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

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


def test_every_script_is_tried_and_listed() -> None:
    scripts = {path.name for path in FOLDER.glob("*.py")}
    assert scripts == SCRIPTS.keys()
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in listed for name in scripts)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(name: str, tmp_path: Path) -> None:
    """Slow (2 to 20 s each): a process of its own, two of them with a training of seconds."""
    arguments, outputs = SCRIPTS[name]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / name), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / output).exists() for output in outputs)
