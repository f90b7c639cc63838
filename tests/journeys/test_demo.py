"""The demo's data and its way, with networks of seconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microscopygan.apps import demo
from microscopygan.datasets.folder import load_dataset
from microscopygan.image.formats import Image, read
from microscopygan.settings import Settings


@pytest.fixture(autouse=True)
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a part of each sample is read."""

    def read_part(path: Path) -> Image:
        image = read(path)
        return replace(image, array=image.array[:96, :96])

    monkeypatch.setattr(demo, "read", read_part)


def test_no_image_is_on_two_sides(tmp_path: Path) -> None:
    demo.write_dataset(tmp_path, np.random.default_rng(0))
    data = load_dataset(tmp_path)
    assert data.defects == ["axial", "lowres", "noise"]

    def images(samples) -> set[str]:
        return {sample.image.rpartition("/")[2] for sample in samples}

    for defect in data.defects:
        roles = [images(data.clean), images(data.defective[defect])]
        roles += [images(data.pairs[defect]), images(data.test[defect])]
        assert all(len(role) == 6 for role in roles)
        assert len(set.union(*roles)) == 24


@pytest.mark.slow
def test_the_demo_ends_with_a_report(tmp_path: Path, brief: Settings, monkeypatch) -> None:
    """Slow (about 15 s): restoring, calibration, the adaptation and scoring."""
    monkeypatch.setattr(demo, "demo_settings", lambda seed: brief)
    demo.run_demo(tmp_path / "demo", quiet=True)
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "Out of the box" in page
    assert "Adaptation" in page
    assert len(list((tmp_path / "demo" / "restored-at-once" / "noise").iterdir())) == 6
    assert all(defect in page for defect in ("noise", "axial", "lowres"))
    assert len(list((tmp_path / "demo" / "restored" / "axial").iterdir())) == 6
    with pytest.raises(FileExistsError, match="--overwrite"):
        demo.run_demo(tmp_path / "demo", quiet=True)
