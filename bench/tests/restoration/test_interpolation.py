"""Measured rows are found, and a cubic is restored exactly."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects.axial import axial_subsampling
from microscopygan.defects.specimens import nuclei
from microscopygan_bench.restoration.interpolation import cubic, measured_rows


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 8), st.integers(0, 7), st.integers(0, 99))
def test_measured_rows_are_found(step: int, phase: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = nuclei((96, 40), rng) + 0.1 * rng.random((96, 40), np.float32)
    phase %= step
    found = measured_rows(axial_subsampling(plane, sigma_z=0.5, step=step, phase=phase))
    assert found is not None
    assert np.array_equal(found, np.arange(phase, 96, step))


def test_cubic_is_exact_on_a_cubic() -> None:
    z = np.linspace(-1, 1, 61)[:, None] * np.ones((1, 3))
    plane = (z**3 - 0.5 * z).astype(np.float32)
    coarse = axial_subsampling(plane, sigma_z=0, step=6)
    assert np.abs(coarse - plane).max() > 0.005
    assert np.allclose(cubic(coarse), plane, atol=1e-5)
    assert np.array_equal(cubic(plane), plane)  # no pattern, no change
