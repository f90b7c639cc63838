import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.io import imread

from microscopygan.evaluate.report.pictures import (
    Window,
    find_detail,
    grey,
    heat,
    png,
    row,
    scale_note,
    window,
)


def test_png_is_read_back(tmp_path):
    plane = np.linspace(-0.5, 1.5, 63).reshape(7, 9).astype(np.float32)
    for pixels in (grey(plane, 0, 1), heat(plane, 1)):
        (tmp_path / "x.png").write_bytes(png(pixels))
        np.testing.assert_array_equal(imread(tmp_path / "x.png"), pixels)


def test_a_few_bright_pixels_do_not_hide_dim_structures():
    plane = np.random.default_rng(0).random((50, 50)).astype(np.float32)
    plane[0, :9] = 1000
    scale = window(plane)
    assert scale.high < 1.01
    assert grey(plane, *scale)[1:].std() > 60


def test_a_window_is_stated():
    note = scale_note(Window(-0.0012, 0.849), "the clean image")
    assert note == "Black is 0.00, white 0.85: percentiles 1 and 99 of the clean image."
    assert note in row([""], note)


@given(y=st.integers(0, 40), x=st.integers(0, 60), size=st.sampled_from([7, 8, 20]))
def test_the_detail_covers_where_the_pictures_differ(y, x, size):
    clean = np.linspace(0, 1, 41 * 61, dtype=np.float32).reshape(41, 61)
    other = clean.copy()
    other[y, x] = 1 - np.rint(clean[y, x])
    difference, detail = find_detail({"clean": clean, "input": other}, size)
    assert difference > 0
    assert detail.cut(clean).shape == (size, size)
    assert detail.rows.start <= y < detail.rows.stop
    assert detail.columns.start <= x < detail.columns.stop


def test_the_detail_is_that_of_the_largest_difference():
    rng = np.random.default_rng(0)
    planes = {k: rng.random((30, 23), np.float32) for k in ("clean", "input", "restored")}
    scale = window(planes["clean"])
    shown = np.stack([grey(plane, *scale) / 255 for plane in planes.values()]).var(axis=0)
    means = {
        (y, x): shown[y : y + 9, x : x + 9].mean() for y in range(30 - 8) for x in range(23 - 8)
    }
    difference, detail = find_detail(planes, 9)
    best = max(means, key=means.get)
    assert (detail.rows.start, detail.columns.start) == best
    assert difference == pytest.approx(means[best], rel=1e-4)


def test_a_detail_of_a_small_image_is_the_image():
    planes = {"clean": np.eye(5, dtype=np.float32), "input": np.ones((5, 5), np.float32)}
    _, detail = find_detail(planes)
    assert detail.cut(planes["clean"]).shape == (5, 5)
    assert detail.outline() == '<i style="top:0.00%;left:0.00%;height:100.00%;width:100.00%"></i>'


def test_there_is_no_detail_where_nothing_can_be_compared():
    clean = np.eye(9, dtype=np.float32)
    assert find_detail({"clean": clean}) is None
    assert find_detail({"clean": clean, "input": clean[:5]}) is None
    assert find_detail({"clean": clean * 0, "input": clean}) is None
