"""The folder of a run: nothing that was trained is lost, nor gone on with under other settings."""

from pathlib import Path

import pytest

from microscopygan.defects.axial import Axial
from microscopygan.defects.composition import Composition
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.settings import Settings
from microscopygan.training.run_folder import (
    begun,
    open_run,
    read_physics,
    read_run_settings,
    read_time_budget,
    summary,
    write_physics,
)


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


# As the first version wrote it.
EARLIER = """{
  "noise": [{"photons": 8.3, "read_noise": 1.5, "offset": 0.0, "background": 0.03}],
  "axial": [{"sigma_z": 1.2, "step": 4, "phase": null, "order": 1}],
  "lowres": [{"sigma": 1.7, "binning": 2, "photons": null}],
  "haze": [{"sigma": 9.0, "fraction": 0.5}],
  "uneven": [{"strength": 0.4}],
  "bleaching": [{"decay": 0.05, "frame": 3}]
}"""


def test_the_physics_of_earlier_runs_is_read(tmp_path: Path) -> None:
    (tmp_path / "physics.json").write_text(EARLIER)
    physics = read_physics(tmp_path)
    assert list(physics) == ["noise", "axial", "lowres", "haze", "uneven", "bleaching"]
    assert physics["noise"] == [Noise(photons=8.3, read_noise=1.5, background=0.03)]
    assert physics["axial"] == [Axial(sigma_z=1.2, step=4)]


def test_physics_is_read_as_it_was_written(tmp_path: Path) -> None:
    both = Composition(steps=(LowResolution(sigma=2), Noise(photons=30)))
    physics = {"lowres": [both], "noise": [Noise(photons=3), Noise(photons=4)]}
    write_physics(tmp_path, physics)
    assert read_physics(tmp_path) == physics
    assert read_physics(tmp_path / "none") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", '{"noise": [3]}', "[" * 100_000])
def test_files_of_a_run_may_be_odd(run: Path, content: str) -> None:
    readers = {
        "settings.json": read_run_settings,
        "physics.json": read_physics,
        "run.json": summary,
        "steps.json": read_time_budget,
    }
    for name, reader in readers.items():
        (run / name).write_text(content)
        if name != "physics.json" and "noise" in content:
            reader(run)
            continue
        with pytest.raises(ValueError, match=rf"{name}: damaged or of another version"):
            reader(run)
