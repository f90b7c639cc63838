"""Defects put into files: their names, and the intensity scale of each volume."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from microscopygan.apps.batch import outputs_of
from microscopygan.image.formats import read
from microscopygan.training import synthesis


class Ceiling:
    """Stands for a trained CIN-GAN: cuts at half of the range, and remembers what it saw."""

    def __init__(self, run: Path, defect: str) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, clean: np.ndarray, rng: object, noise: object) -> np.ndarray:
        assert clean.ndim == 3
        return np.minimum(clean, 0.5)


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX"])
def test_each_channel_keeps_its_scale_and_each_file_its_kind(
    tmp_path: Path, axes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesis, "Synthesizer", Ceiling)
    ramp = np.linspace(0, 1, 4 * 64 * 64).reshape(4, 64, 64)
    stack = np.stack([1000 * ramp, 10 * ramp], axis=axes.index("C")).astype(np.float32)
    source = tmp_path / "cell.ome.tif"
    tifffile.imwrite(source, stack, ome=True, metadata={"axes": axes}, photometric="minisblack")
    outputs = outputs_of([source], tmp_path / "out", overwrite=True)
    paths = synthesis.synthesize_files(tmp_path, outputs, "noise", draws=2)
    assert [path.name for path in paths] == ["cell_noise1.ome.tif", "cell_noise2.ome.tif"]
    made = read(tmp_path / "out" / "cell_noise2.ome.tif")
    channels = made.array.max(tuple(k for k, letter in enumerate(made.axes) if letter != "C"))
    np.testing.assert_allclose(channels, [500, 5], rtol=0.03)
