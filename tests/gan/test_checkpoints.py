"""Saved weights come back bit-equal, or one line says why not."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from microscopygan.gan import checkpoints
from microscopygan.gan.checkpoints import read_network, read_tensors, write_tensors


def build(about: dict[str, object]) -> nn.Module:
    return nn.Linear(int(str(about["width"])), 2)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    write_tensors(tmp_path / "a.safetensors", nn.Linear(3, 2).state_dict(), {"width": 3})
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
def test_tensors_come_back_bit_equal(tmp_path: Path, dtype: torch.dtype) -> None:
    whole = (100 * torch.rand(4, 6)).to(dtype)
    tensors = {"whole": whole, "view": whole.T, "number": torch.tensor(3)}
    about = {"names": ["a", "b"], "share": 0.1, "none": None}
    write_tensors(tmp_path / "a", tensors, about)
    said, again = read_tensors(tmp_path / "a")
    assert said == {"format": checkpoints.FORMAT_VERSION, **about}
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_network_is_built_of_what_the_file_says(saved: Path) -> None:
    about, network = read_network(saved, "a line", build)
    assert about["width"] == 3
    expected = read_tensors(saved)[1]
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("about", [{"width": 4}, {}, {"width": "wide"}])
def test_weights_of_another_architecture_are_refused(saved: Path, about) -> None:
    write_tensors(saved, read_tensors(saved)[1], about)
    with pytest.raises(ValueError, match="expected a line, got another architecture; train again"):
        read_network(saved, "a line", build)


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "3", "null", '"text"', '{"format": []}', "[" * 100_000, '{"format": 1}']
)
def test_what_a_file_says_of_itself_may_be_odd(saved: Path, said: str) -> None:
    save_file(read_tensors(saved)[1], saved, {"microscopygan": said})
    with pytest.raises(ValueError, match=r"a\.safetensors: expected ") as caught:
        read_network(saved, "a line", build)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_file_cut_anywhere_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a\.safetensors: expected saved weights, .* damaged"):
        read_tensors(saved)


def test_files_of_others_and_of_other_versions_are_refused(saved: Path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 99)
    with pytest.raises(ValueError, match="expected format 99 of saved weights, got 1"):
        read_tensors(saved)
    save_file({"a": torch.ones(1)}, saved)
    with pytest.raises(ValueError, match="of saved weights, got none"):
        read_tensors(saved)


def test_a_full_disk_keeps_the_old_file(saved: Path, monkeypatch) -> None:
    before = saved.read_bytes()

    def full(tensors: object, path: Path, about: object) -> None:
        path.write_bytes(b"part")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"No space left on device.*; free some space"):
        write_tensors(saved, {"a": torch.ones(1)}, {})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
