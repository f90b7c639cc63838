"""Shadows: light is only taken, along one axis, which unpaired images give away."""

import numpy as np
import pytest

from microscopygan.defects.noise import Noise
from microscopygan.defects.shadows import Shadows
from microscopygan.defects.specimens import filaments, membranes, nuclei


@pytest.mark.parametrize("axis", [0, 1])
def test_light_is_only_taken_and_more_even_along_the_shadows(axis: int) -> None:
    rng = np.random.default_rng(0)
    plane = np.ones((96, 96))
    for _ in range(5):
        got = Shadows.draw(rng, axis=axis, density=8.0).apply(plane, rng)
        assert got.max() <= 1
        assert got.min() >= 0
        steps = [np.abs(np.diff(got, axis=a)).mean() for a in (0, 1)]
        assert steps[axis] > 2 * steps[1 - axis]


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    for nothing in ({"depth": 0}, {"depth": 0.5, "density": 0}):
        assert np.array_equal(Shadows(**nothing).apply(plane, np.random.default_rng(0)), plane)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("specimen", [nuclei, membranes])
def test_noisy_images_of_like_specimens_give_the_axis_and_the_strength_away(specimen, axis) -> None:
    rng = np.random.default_rng(0)
    truth = Shadows(depth=0.5, width=1.5, density=8, axis=axis)

    def lit() -> np.ndarray:
        return 0.3 + 0.7 * specimen((128, 128), rng)

    clean = [lit() for _ in range(16)]
    shaded = [Noise(photons=300).apply(truth.apply(lit(), rng), rng) for _ in range(10)]
    calibrated = Shadows.calibrate(clean, shaded, rng)
    assert {item.axis for item in calibrated} == {axis}
    strength = np.median([item.depth * np.sqrt(item.density) for item in calibrated])
    assert truth.depth * np.sqrt(truth.density) / 2.5 < strength < 2.5 * 0.5 * np.sqrt(8)
    assert 0.7 <= calibrated[0].width <= 5


def test_the_classical_method_leaves_a_plane_without_shadows() -> None:
    plane = filaments((96, 96), np.random.default_rng(0))
    assert np.array_equal(Shadows.classical(plane), plane)
