"""The folder of a run: nothing that was trained is lost, nor gone on with under other settings."""

from pathlib import Path

import pytest

from microscopygan.settings import Settings
from microscopygan.training.run_folder import begun, open_run


@pytest.fixture
def run(tmp_path: Path, tiny: Settings) -> Path:
    """A run whose first stage is done."""
    folder = tmp_path / "run"
    assert not begun(folder)
    open_run(folder, tiny, "all", resume=False, overwrite=False)
    assert begun(folder)
    (folder / "defects.safetensors").write_bytes(b"1")
    (folder / "restorer").mkdir()
    (folder / "restorer" / "log.csv").write_text("step")
    return folder


def test_a_second_stage_starts_with_settings_of_its_own(run: Path, tiny: Settings) -> None:
    other = tiny.model_copy(update={"alpha": 0.7})
    open_run(run, other, "restorer", resume=False, overwrite=False)
    assert (run / "defects.safetensors").exists()
    assert not (run / "restorer").exists()
    assert Settings.model_validate_json((run / "settings.json").read_text()) == other


def test_an_interrupted_second_stage_is_not_lost(run: Path, tiny: Settings) -> None:
    state = run / "restorer" / "state.safetensors"
    state.write_bytes(b"2")
    other = tiny.model_copy(update={"seed": 9})
    with pytest.raises(FileExistsError, match="--resume"):
        open_run(run, tiny, "restorer", resume=False, overwrite=False)
    with pytest.raises(ValueError, match="seed changed"):
        open_run(run, other, "restorer", resume=True, overwrite=False)
    open_run(run, tiny, "restorer", resume=True, overwrite=False)
    assert state.read_bytes() == b"2"
    open_run(run, other, "restorer", resume=False, overwrite=True)
    assert not state.exists()
    assert (run / "defects.safetensors").exists()
