"""MicroSSIM agrees with its authors' package."""

from __future__ import annotations

import numpy as np
import pytest

from microscopygan_bench.restoration.microssim import micro_ssim


def test_micro_ssim_agrees_with_its_authors_package() -> None:
    y, x = np.mgrid[:48, :40]
    target = np.exp(-((y - 20) ** 2 + (x - 15) ** 2) / 60)
    target += 0.5 * np.exp(-((y - 35) ** 2 + (x - 30) ** 2) / 20)
    restored = 2 * target + 0.3 + 0.2 * np.sin(x * 1.3) * np.cos(y * 0.9)
    (found,) = micro_ssim([target], [restored])
    assert found == pytest.approx(0.591588, abs=3e-4)  # microssim 0.0.5
    (again,) = micro_ssim([100 * target + 7], [0.01 * restored - 3])
    assert again == pytest.approx(found, abs=1e-6)
