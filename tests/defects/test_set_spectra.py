import numpy as np
import pytest

from microscopygan.defects.optics import convolve, disc_kernel, line_kernel
from microscopygan.defects.set_spectra import shape_of_spectrum, waves_of_set
from microscopygan.defects.waves import wave

LINE, DISC = slice(-9, -5), slice(-17, -14)  # share, factor, log size and direction; as a disc


def textures(count: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(128, 128)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("angle", [0.0, np.pi / 2])
def test_a_line_is_found_with_its_length_and_direction(angle: float) -> None:
    blurred = [convolve(plane, line_kernel(8, angle)) for plane in textures()]
    share, factor, length, direction = shape_of_spectrum(blurred)[LINE]
    assert share > 2 * shape_of_spectrum(textures())[LINE][0]
    assert 0.7 < factor < 1.3
    assert 6 < np.exp(length) < 11
    assert np.isclose(direction, np.cos(2 * angle), atol=0.2)


def test_a_disc_is_found_with_its_radius() -> None:
    blurred = [convolve(plane, disc_kernel(3.5)) for plane in textures()]
    better, factor, radius = shape_of_spectrum(blurred)[DISC]
    assert better < -0.5
    assert factor > 0.5
    assert 2.8 < np.exp(radius) - 0.5 < 4.5


def test_dark_planes_have_a_spectrum_too() -> None:
    assert np.isfinite(shape_of_spectrum([np.zeros((128, 128), np.float32)])).all()
    assert np.isfinite(waves_of_set([np.zeros((128, 128), np.float32)])).all()


def test_a_wave_that_multiplies_is_higher_where_there_is_light() -> None:
    light = np.full((128, 128), 0.1, np.float32)
    light[:, 64:] = 1
    fringes = np.asarray(wave((128, 128), 0.0, 0.2), np.float32)
    added = waves_of_set([light + 0.1 * fringes] * 2)
    multiplied = waves_of_set([light * (1 + 0.3 * fringes)] * 2)
    ratio = 8  # log amplitude in bright places less that in dark ones
    assert abs(added[ratio]) < 0.1
    assert multiplied[ratio] > 1
    assert np.allclose(added[2:4], (0, 0.2), atol=0.01)
