"""A further defect for a trained CIN-GAN, with settings of another architecture at hand."""

from pathlib import Path

import pytest
import torch

from microscopygan.datasets.folder import Dataset, load_dataset
from microscopygan.gan.cin_gan import load_defects
from microscopygan.gan.networks import defect_rows
from microscopygan.settings import Settings
from microscopygan.training.stages import train


@pytest.mark.slow
def test_a_new_defect_leaves_the_trained_run_bit_equal(
    dataset: Path, tmp_path: Path, tiny: Settings
) -> None:
    """Slow (about 4 s): CIN-GAN is trained twice."""
    data = load_dataset(dataset)
    train(data, tmp_path / "old", tiny, stage="defects", quiet=True)
    new = Dataset(data.clean, {"unheard": data.defective["noise"]}, {}, {})
    wider = tiny.changed({"defects.architecture.channels": 8})
    train(new, tmp_path / "new", wider, add_to=tmp_path / "old", quiet=True)
    before, names = load_defects(tmp_path / "old" / "defects.safetensors")
    after, more = load_defects(tmp_path / "new" / "defects.safetensors")
    assert more == (*names, "unheard")
    rows = defect_rows(after)
    old = before.state_dict()
    for name, value in after.state_dict().items():
        assert torch.equal(value[: len(names)] if name in rows else value, old[name])
