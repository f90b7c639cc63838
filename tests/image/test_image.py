"""An image: an array, and what is known of it, which has to fit."""

import numpy as np
import pytest

from microscopygan.image.image import Header, Image, check_pixels

PLANE = np.random.default_rng(0).integers(0, 4000, (40, 50), dtype=np.uint16)


def test_constant_images_may_be_refused():
    check_pixels(np.ones((4, 4)), "a")
    with pytest.raises(ValueError, match="a: expected an image with structure"):
        check_pixels(np.ones((4, 4)), "a", allow_constant=False)


@pytest.mark.parametrize(
    "about",
    [
        {"axes": "ZX"},
        {"axes": "ZYX"},
        {"pixel_size": {"Z": 1.0}},
        {"pixel_size": {"X": 0.0}},
        {"pixel_size": {"X": np.nan}},
        {"channels": ("DNA", "actin")},
        {"interval": 0.0},
    ],
)
def test_an_image_describes_its_array(about):
    with pytest.raises(ValueError, match="expected"):
        Image(**{"array": PLANE, "axes": "YX"} | about)
    with pytest.raises(ValueError, match="expected"):
        Header(**{"shape": PLANE.shape, "dtype": "u2", "axes": "YX"} | about)
