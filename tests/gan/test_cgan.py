"""A restorer's training weights on disk."""

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from pydantic import Field
from safetensors.torch import save_file

from microscopygan.diagnosis.parameters import STAGES
from microscopygan.gan import cgan
from microscopygan.gan.cgan import load_restorer, save_restorer
from microscopygan.gan.checkpoints import read_tensors
from microscopygan.gan.networks import UNetRestorer
from microscopygan.settings import RestorerArchitecture

EARLIER = Path(__file__).parents[1] / "earlier_run"  # written by version 0.1.0


def small() -> UNetRestorer:
    torch.manual_seed(0)
    return UNetRestorer(RestorerArchitecture(channels=(4, 8, 4), blocks=1))


def test_weights_come_back_with_their_architecture(tmp_path: Path) -> None:
    before = small()
    save_restorer(tmp_path / "w.safetensors", before)
    after = load_restorer(tmp_path / "w.safetensors")
    assert after.architecture == before.architecture
    assert all(torch.equal(v, after.state_dict()[k]) for k, v in before.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"w\.safetensors"):
        load_restorer(path)
    save_restorer(path, small())
    cut = path.read_bytes()
    path.write_bytes(cut[: len(cut) // 2])
    with pytest.raises(ValueError, match=r"w\.safetensors"):
        load_restorer(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"w\.safetensors"):
        load_restorer(path)


def test_what_ships_is_listed_and_small() -> None:
    folder = Path(str(files("microscopygan") / "weights"))
    listed = re.findall(r"^\| `([^`]+)`", (folder / "README.md").read_text(), re.MULTILINE)
    there = [path for path in folder.iterdir() if path.name != "README.md"]
    assert sorted(listed) == sorted(path.name for path in there)
    assert sum(path.stat().st_size for path in there) < 16e6
    record = json.loads((folder / "generalist.json").read_text())
    assert not set(record["clean"]) & set(record["held_out"])


def test_weights_of_earlier_versions_are_read() -> None:
    """What ships, and a run's, were saved with the settings of their training."""
    shipped = load_restorer(
        Path(str(files("microscopygan") / "weights" / "generalist.safetensors"))
    )
    assert shipped.architecture == RestorerArchitecture(hints=STAGES, planes=3)
    older = load_restorer(EARLIER / "restorer.safetensors").architecture
    assert older == RestorerArchitecture(channels=(4, 6, 8), blocks=1, hints=("noise", "haze"))


def test_a_new_field_leaves_saved_weights_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights say their architecture alone, and lack what was added later."""
    save_restorer(tmp_path / "w.safetensors", small())
    about, _ = read_tensors(tmp_path / "w.safetensors")
    assert set(about) == {"format", "architecture"}
    assert set(about["architecture"]) == set(RestorerArchitecture.model_fields)

    class Later(RestorerArchitecture):
        attention: int = Field(0, ge=0, le=8, description="heads of a layer that came later")

    monkeypatch.setattr(cgan, "RestorerArchitecture", Later)
    assert load_restorer(tmp_path / "w.safetensors").architecture.attention == 0


def test_a_resnet_of_an_earlier_version_restores_as_it_did() -> None:
    network = load_restorer(EARLIER / "resnet.safetensors").eval()
    assert not network.architecture.fade
    torch.manual_seed(1)
    with torch.no_grad():
        restored = network(torch.rand(1, 1, 16, 16))[0, 0, :2, :3]
    wanted = [[0.674857, 0.854101, 0.802939], [0.549636, 0.877464, 0.945134]]
    torch.testing.assert_close(restored, torch.tensor(wanted), atol=1e-5, rtol=0)
