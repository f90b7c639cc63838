"""A restorer's training weights on disk."""

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from microscopygan.gan.cgan import load_restorer, save_restorer
from microscopygan.gan.networks import UNetRestorer
from microscopygan.settings import make_settings


def small() -> UNetRestorer:
    torch.manual_seed(0)
    chosen = make_settings("default").restorer
    return UNetRestorer(chosen.model_copy(update={"channels": (4, 8, 4), "blocks": 1}))


def test_weights_come_back_with_their_architecture(tmp_path: Path) -> None:
    before = small()
    save_restorer(tmp_path / "w.safetensors", before)
    after = load_restorer(tmp_path / "w.safetensors")
    assert after.settings == before.settings
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
    assert sum(path.stat().st_size for path in there) < 12e6
    record = json.loads((folder / "generalist.json").read_text())
    assert not set(record["clean"]) & set(record["held_out"])
