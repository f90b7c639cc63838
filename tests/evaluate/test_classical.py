import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from microscopygan.evaluate.classical import classical
from microscopygan.evaluate.metrics import psnr_affine


@pytest.fixture
def specimen():
    spots = np.random.default_rng(0).random((64, 64)) > 0.98
    return (gaussian_filter(spots.astype(np.float32), 1.5) * 10).astype(np.float32)


@pytest.mark.parametrize("defect", ["noise", "unheard-of"])
def test_noise_falls(specimen, defect):
    noisy = specimen + np.random.default_rng(1).normal(0, 0.2, specimen.shape).astype(np.float32)
    assert psnr_affine(specimen, classical(noisy, defect)) > psnr_affine(specimen, noisy) + 2


def test_blur_falls(specimen):
    blurred = gaussian_filter(specimen, 2.0)
    assert psnr_affine(specimen, classical(blurred, "lowres")) > psnr_affine(specimen, blurred) + 1
    blurred = gaussian_filter1d(specimen, 2.0, axis=0)
    assert psnr_affine(specimen, classical(blurred, "axial")) > psnr_affine(specimen, blurred) + 1


def test_axial_leaves_planes_that_vary_along_axis_1_only():
    plane = np.tile(np.random.default_rng(0).random(32).astype(np.float32), (32, 1))
    np.testing.assert_allclose(classical(plane, "axial"), plane, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["noise", "axial", "lowres"]),
    st.tuples(st.integers(8, 30), st.integers(8, 30)),
    st.floats(-2, 2),
)
def test_shape_and_dtype_stay_and_offset_passes_through(defect, shape, offset):
    plane = np.random.default_rng(0).random(shape).astype(np.float32)
    out = classical(plane, defect)
    assert out.shape == shape
    assert out.dtype == np.float32
    lifted = classical(plane + np.float32(offset), defect)
    np.testing.assert_allclose(lifted - np.float32(offset), out, atol=1e-3)


@pytest.mark.parametrize("defect", ["noise", "axial", "lowres"])
def test_constant_plane_stays(defect):
    plane = np.full((16, 16), 0.3, np.float32)
    np.testing.assert_allclose(classical(plane, defect), plane, atol=1e-5)


@pytest.mark.parametrize("plane", [np.zeros(9), np.zeros((4, 9)), np.full((9, 9), np.nan)])
def test_bad_planes_are_refused(plane):
    with pytest.raises(ValueError, match="expected"):
        classical(plane, "noise")
