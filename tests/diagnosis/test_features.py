import numpy as np

from microscopygan.diagnosis.features import QUANTILES, SIDE, count, features, scaled


def square(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(SIDE, SIDE)).astype(np.float32)


def test_features_are_finite_and_of_a_fixed_number() -> None:
    rng = np.random.default_rng(0)
    for image in (square(rng), np.zeros((SIDE, SIDE), np.float32)):
        measured = features(image)
        assert measured.shape == (count(),)
        assert measured.dtype == np.float32
        assert np.isfinite(measured).all()


def test_scaled_does_not_depend_on_gain_and_offset() -> None:
    image = square(np.random.default_rng(1))
    assert np.allclose(scaled(image), scaled(300 * image + 7), atol=1e-4)
    assert scaled(image).min() >= -2


def test_saturation_and_whole_numbers_show_in_the_counts() -> None:
    image = square(np.random.default_rng(2))
    _, top, levels = features(np.minimum(image, 1))[len(QUANTILES) :][:3]
    assert np.isclose(10**top, np.mean(image >= 1), atol=1e-3)
    few = features(np.rint(image * 3) / 3)[len(QUANTILES) + 2]
    assert few < levels
