"""Point spread functions read off mean spectra."""

import numpy as np
import pytest

from microscopygan.defects import Defect
from microscopygan.defects.astigmatism import Astigmatism
from microscopygan.defects.blur_fit import fitted_blurs
from microscopygan.defects.defocus import Defocus
from microscopygan.defects.motion import Motion
from microscopygan.defects.noise import Noise
from microscopygan.defects.optics import disc_kernel
from microscopygan.defects.specimens import filaments


def planes(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [filaments((128, 128), rng) for _ in range(count)]


def blurred(defect: Defect) -> list[np.ndarray]:
    rng, noise = np.random.default_rng(1), Noise(photons=1500, read_noise=3)
    return [noise.apply(defect.apply(plane, rng), rng) for plane in planes(8, 2)]


@pytest.mark.parametrize("angle", [0.9, -0.9])
def test_length_and_direction_of_a_motion_are_found(angle: float) -> None:
    """The direction, and not its mirror image."""
    real = blurred(Motion(length=8, angle=angle))
    found = Motion.found(planes(8, 3), real, np.random.default_rng(0))
    assert abs(found[0].angle - angle) < 0.3
    assert 6 < found[0].length < 11


def test_the_radius_of_a_defocus_is_found() -> None:
    real = blurred(Defocus(radius=3.5))
    found = Defocus.found(planes(8, 3), real, np.random.default_rng(0))
    assert abs(found[0].radius - 3.5) < 0.7


def test_the_direction_of_an_astigmatism_is_found() -> None:
    real = blurred(Astigmatism(sigma=3, ratio=0.3, angle=0.6))
    found = Astigmatism.found(planes(8, 3), real, np.random.default_rng(0))
    assert abs(found[0].angle - 0.6) < 0.3
    assert 2 < found[0].sigma < 4.5


def test_any_scale_and_size_will_do() -> None:
    trials = [Defocus(radius=radius) for radius in (8.0, 1.0, 3.0)]
    real = [40 + 900 * plane[:, :100] for plane in blurred(Defocus(radius=3))]
    best = fitted_blurs(trials, lambda one: disc_kernel(one.radius), planes(8, 3), real)
    assert len(best) == 3
    assert best[0].radius == 3


def test_planes_that_are_too_small_are_refused() -> None:
    small = [np.zeros((40, 60))]
    with pytest.raises(ValueError, match="48"):
        fitted_blurs([Defocus(radius=1)], lambda one: disc_kernel(one.radius), planes(2, 3), small)
