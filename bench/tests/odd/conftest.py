"""A small set of data of the layout that the benchmark reads, without any real image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from microscopygan_bench.odd import cells, fields
from microscopygan_bench.odd.cells import Bench

FEW = {"defective": 2, "clean": 1, "test": 3}  # fields of each purpose in quick tests


def specimen(side: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate rounded spots on a dark ground, uint8."""
    smooth = ndimage.gaussian_filter(rng.standard_normal((side, side)), 3)
    light = np.clip(smooth / smooth.std() - 0.5, 0, None)
    return (255 * light / light.max()).astype(np.uint8)


def write_data(folder: Path, number: int, nuclei: int) -> Path:
    """Write so many fields of both specimens, images of nuclei, and the maps of a camera."""
    rng = np.random.default_rng(0)
    for name in ("sim", "clean", "camera"):
        (folder / name).mkdir(parents=True)
    for kind in ("er", "ccp"):
        for k in range(1, number + 1):
            tifffile.imwrite(folder / f"sim/biosr_{kind}_{k:02d}.tif", specimen(480, rng))
    for k in range(nuclei):
        tifffile.imwrite(folder / f"clean/dsb2018_{k:03d}.tif", specimen(170, rng))
    gain = 1 + 0.05 * rng.standard_normal((256, 256))
    tifffile.imwrite(folder / "camera/scmos_gain.tif", gain.astype(np.float32))
    offset = 95 + 4 * rng.standard_normal((256, 256))
    tifffile.imwrite(folder / "camera/scmos_offset.tif", offset.astype(np.float32))
    return folder


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("odd") / "data", sum(FEW.values()), 5)


@pytest.fixture(scope="session")
def whole_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many fields and images as the benchmark asks for."""
    return write_data(tmp_path_factory.mktemp("whole") / "data", 49, 60)


@pytest.fixture
def data(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Few fields; the benchmark asks for as few."""
    monkeypatch.setattr(fields, "FIELDS", FEW)
    monkeypatch.setattr(fields, "MANY", 12)
    monkeypatch.setattr(fields, "CLEAN", 4)
    cells._images.cache_clear()
    return small_data


@pytest.fixture
def bench(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(cells, "reference_seconds", lambda threads: 0.25)
    return Bench(data, tmp_path / "out", 0.1, 1, tmp_path / "work")
