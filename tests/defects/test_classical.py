"""Deconvolution without a blur changes nothing; no noise, no smoothing."""

import numpy as np

from microscopygan.defects.classical import non_local_means, richardson_lucy


def test_no_blur_changes_nothing():
    plane = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    np.testing.assert_allclose(richardson_lucy(plane, (0, 0)), plane, atol=1e-5)


def test_a_plane_without_noise_comes_back() -> None:
    plane = np.full((16, 16), 0.3, np.float32)
    assert np.array_equal(non_local_means(plane), plane)
