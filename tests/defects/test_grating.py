"""Patterned light: how deep and how wide its fringes are, and what calibration finds of them."""

import numpy as np
import pytest

from microscopygan.defects.grating import Grating
from microscopygan.defects.specimens import filaments, nuclei
from microscopygan.defects.waves import SLOWEST


def test_fringes_multiply_between_the_depth_and_one() -> None:
    fringes = Grating(depth=0.4, down=0.1, right=0.05)
    lit = fringes.apply(np.ones((128, 128)), np.random.default_rng(0))
    assert lit.max() == pytest.approx(1, abs=0.01)
    assert lit.min() == pytest.approx(0.6, abs=0.01)
    dark = fringes.apply(np.zeros((128, 128)), np.random.default_rng(0))
    assert not dark.any()


def test_fringes_are_never_too_wide_to_tell() -> None:
    rng = np.random.default_rng(0)
    drawn = [Grating.draw(rng) for _ in range(50)]
    assert all(np.hypot(each.down, each.right) > SLOWEST for each in drawn)


def test_calibration_finds_frequency_and_depth() -> None:
    rng = np.random.default_rng(0)
    truth = Grating(depth=0.5, down=-0.17, right=0.22)
    clean = [nuclei((128, 128), rng) for _ in range(8)]
    found = Grating.calibrate(clean, [truth.apply(plane, rng) for plane in clean[4:]], rng)
    assert np.allclose([found[0].down, found[0].right], [-0.17, 0.22], atol=0.01)
    assert 0.25 < np.mean([each.depth for each in found]) < 0.8


def test_the_classical_method_lowers_the_fringes() -> None:
    rng = np.random.default_rng(1)
    clean = filaments((128, 128), rng)
    spoiled = Grating(depth=0.7, down=0.2, right=0.3).apply(clean, rng)
    restored = Grating.classical(spoiled)
    assert restored.shape == clean.shape
    assert np.std(restored - clean) < np.std(spoiled - clean)
