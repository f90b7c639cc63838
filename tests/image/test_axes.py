from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.axes import check_axes, to_planes, to_volumes

ORDERS = [
    "".join(p) for n in range(2, 6) for p in permutations("TCZYX", n) if "Y" in p and "X" in p
]
SIZES = dict(zip("TCZYX", (2, 3, 4, 5, 6), strict=True))


def image_of(axes: str) -> np.ndarray:
    shape = [SIZES[a] for a in axes]
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


@given(st.sampled_from(ORDERS))
@settings(max_examples=60, deadline=None)
def test_there_and_back_is_exact_in_any_order(axes):
    image = image_of(axes)
    planes, back = to_planes(image, axes)
    assert planes.shape == (image.size // 30, 5, 6)
    assert np.array_equal(back(planes), image)
    changed = back(planes.astype(np.float32) + 0.5)
    assert changed.dtype == np.float32
    assert np.array_equal(changed, image + np.float32(0.5))


@given(st.sampled_from(ORDERS))
@settings(max_examples=30, deadline=None)
def test_each_plane_is_a_plane_of_the_image(axes):
    image = image_of(axes)
    planes, _ = to_planes(image, axes)
    lead = [a for a in axes if a not in "YX"]
    expected = image.transpose([axes.index(a) for a in [*lead, "Y", "X"]])
    for plane, index in zip(planes, np.ndindex(expected.shape[:-2]), strict=True):
        assert np.array_equal(plane, expected[index])


def test_volumes_keep_depth_together():
    image = image_of("ZCYXT")
    volumes = to_volumes(image, "ZCYXT")
    assert volumes.shape == (6, 4, 5, 6)
    assert np.array_equal(volumes[1 * 3 + 2], image[:, 2, :, :, 1])


def test_back_refuses_other_shapes():
    _, back = to_planes(np.zeros((4, 5)), "YX")
    with pytest.raises(ValueError, match="keep their number"):
        back(np.zeros((1, 5, 4)))


@pytest.mark.parametrize(
    ("axes", "ndim"), [("ZX", 2), ("YXS", 3), ("YYX", 3), ("ZYX", 2), ("yx", 2), ("", 0)]
)
def test_wrong_axes(axes, ndim):
    with pytest.raises(ValueError, match=r"^a.tif: expected .* got .*; name the axes anew$"):
        check_axes(axes, ndim, "a.tif")
