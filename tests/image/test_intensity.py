import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.intensity import (
    AffineMap,
    cut_off,
    find_hot_pixels,
    fit_affine,
    percentile_map,
    to_dtype,
)

DTYPES = ["uint8", "int8", "uint16", "int32", "uint32", "int64", "float16", "float32", "float64"]


@given(st.integers(0, 99), st.sampled_from(DTYPES))
@settings(max_examples=30, deadline=None)
def test_undo_reverses_apply(seed, dtype):
    image = to_dtype(100 * np.random.default_rng(seed).random((20, 30)), dtype)
    scale = percentile_map(image)
    mapped = scale.apply(image)
    assert mapped.dtype == np.float32
    assert np.array_equal(to_dtype(scale.undo(mapped), dtype), image) or np.allclose(
        scale.undo(mapped), image.astype(float), rtol=1e-5, atol=1e-4
    )


def test_percentiles_map_to_zero_and_one():
    image = np.random.default_rng(0).gamma(2, 100, (64, 64))
    mapped = percentile_map(image, 2, 99).apply(image)
    assert np.allclose(np.percentile(mapped, [2, 99]), [0, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_images_have_a_finite_map(dtype):
    image = np.full((5, 5), 3, dtype)
    scale = percentile_map(image)
    assert scale == AffineMap(3.0, 1.0)
    assert np.array_equal(scale.undo(scale.apply(image)), image)


def test_a_few_bright_spots_use_minimum_and_maximum():
    image = np.full((100, 100), 10, np.uint16)
    image[3, 4] = 500
    assert percentile_map(image) == AffineMap(10.0, 490.0)


def test_full_range_of_signed_integers_does_not_overflow():
    image = np.array([-128, 127], np.int8)
    assert percentile_map(image, 0, 100) == AffineMap(-128.0, 255.0)


def test_large_offsets_keep_their_precision():
    image = np.arange(2**31, 2**31 + 100, dtype=np.uint32)
    mapped = percentile_map(image, 0, 100).apply(image)
    assert np.allclose(mapped, np.linspace(0, 1, 100), atol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(5, 5), (-1, 50), (50, 101), (90, 10)])
def test_wrong_percentiles(low, high):
    with pytest.raises(ValueError, match="expected percentiles"):
        percentile_map(np.arange(9), low, high)


@pytest.mark.parametrize("image", [np.zeros((0, 4)), np.array([1.0, np.nan]), np.array([np.inf])])
def test_no_map_without_finite_pixels(image):
    with pytest.raises(ValueError, match="expected"):
        percentile_map(image)


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf])
def test_a_map_can_always_be_undone(scale):
    with pytest.raises(ValueError, match="expected a finite offset"):
        AffineMap(0.0, scale)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_integers_are_clipped_to_their_range(dtype, source):
    info = np.iinfo(dtype)
    made = to_dtype(np.array([-1e30, 1.4, 1.6, 1e30], source), dtype)
    assert made.dtype == dtype
    assert made[0] == info.min
    assert list(made[1:3]) == [1, 2]
    assert int(made[3]) >= info.max * 0.999


def test_integers_take_no_nan_and_booleans_nothing():
    with pytest.raises(ValueError, match="expected finite values"):
        to_dtype(np.array([np.nan]), "uint8")
    with pytest.raises(ValueError, match="expected an integer or float dtype"):
        to_dtype(np.array([1.0]), bool)
    assert to_dtype(np.array([1.25]), "float16").dtype == np.float16


@given(
    gain=st.floats(-5, 5),
    offset=st.floats(-1e3, 1e3),
    seed=st.integers(0, 99),
    noise=st.floats(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_an_affine_fit_is_least_squares(
    gain: float, offset: float, seed: int, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random(200)
    y = gain * x + offset + noise * rng.standard_normal(200)
    fit, (slope, intercept) = fit_affine(x, y), np.polyfit(x, y, 1)
    np.testing.assert_allclose(fit.apply(x), slope * x + intercept, atol=1e-8)
    np.testing.assert_allclose(fit.residual(x, y), y - slope * x - intercept, atol=1e-8)


def test_a_flat_image_has_no_gain_to_fit() -> None:
    flat, y = np.full(9, 3.0), np.arange(9.0)
    assert fit_affine(flat, y).apply(flat) == pytest.approx(np.full(9, 4.0))
    assert fit_affine(flat, y, flat=1.0).gain == 1


@given(st.integers(0, 99), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_pixels_pile_up_where_they_are_cut_off(seed: int, dtype: type) -> None:
    """Noise about structures, cut off at its 97th percentile, or not at all."""
    rng = np.random.default_rng(seed)
    light = 40 + 60 * rng.random((64, 64)) ** 2
    plane = np.clip(rng.normal(light, 9), 0, 255).astype(dtype)
    assert cut_off(plane, "highest") == 0
    top = np.percentile(plane, 97).astype(dtype)
    share = cut_off(np.minimum(plane, top), "highest")
    assert share == np.mean(plane >= top)
    assert cut_off(-np.minimum(plane, top).astype(np.float64), "lowest") == share


@pytest.mark.parametrize("mean", [0.2, 1, 4, 30, 300])
def test_photon_counts_are_not_cut_off_at_the_brightest(mean: float) -> None:
    counts = np.random.default_rng(0).poisson(mean, (256, 256))
    assert cut_off(counts, "highest") == 0
    assert cut_off(100 * counts, "highest") == 0


def test_a_constant_image_is_not_cut_off() -> None:
    assert cut_off(np.full((8, 8), 3), "highest") == 0


def test_hot_pixels_are_clear_where_a_few_stand_alone() -> None:
    plane = np.random.default_rng(0).poisson(200, (128, 128)).astype(np.uint16)
    assert not find_hot_pixels([plane]).clear
    plane[::20, ::20] = 5000
    found = find_hot_pixels([plane, plane])
    assert found.clear
    assert (found.number, found.size) == (98, 2 * 128 * 128)
    spots = plane.copy()
    for axis in (0, 1):  # two pixels a side, as optics leave them
        spots = np.maximum(spots, np.roll(spots, 1, axis))
    assert not find_hot_pixels([spots]).few
