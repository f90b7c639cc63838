"""Laws of the physics of defects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from microscopygan.defects import physics


def _spot(shape: tuple[int, int], sigma: float = 3.0) -> np.ndarray:
    y, x = np.indices(shape)
    centre = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    return np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * sigma**2))


@settings(max_examples=8, deadline=None)
@given(photons=st.floats(3, 300), read=st.floats(0, 8), level=st.floats(0.05, 1))
def test_noise_has_the_stated_mean_and_variance(photons: float, read: float, level: float) -> None:
    plane = np.full((256, 256), level, dtype=np.float32)
    noisy = physics.poisson_gaussian(
        plane, np.random.default_rng(0), photons=photons, read_noise=read, offset=0.1
    )
    variance = level / photons + (read / photons) ** 2
    assert noisy.mean() == pytest.approx(level + 0.1, abs=5 * np.sqrt(variance) / 256)
    assert noisy.var() == pytest.approx(variance, rel=0.05)
    assert noisy.dtype == np.float32


def test_negative_intensity_is_no_light() -> None:
    noisy = physics.poisson_gaussian(np.full((8, 8), -1.0), np.random.default_rng(0), photons=50)
    assert not noisy.any()


@settings(max_examples=12, deadline=None)
@given(step=st.integers(1, 8), data=st.data(), order=st.sampled_from([1, 3]))
def test_kept_rows_stay_and_ramps_survive(step: int, data: st.DataObject, order: int) -> None:
    phase = data.draw(st.integers(0, step - 1))
    plane = np.random.default_rng(0).random((40, 5)).astype(np.float32)
    got = physics.axial_subsampling(plane, sigma_z=0, step=step, phase=phase, order=order)
    assert np.allclose(got[phase::step], plane[phase::step], atol=1e-6)
    ramp = np.arange(40.0)[:, None] * np.ones((1, 5))
    last = np.arange(phase, 40, step)[-1]
    got = physics.axial_subsampling(ramp, sigma_z=0, step=step, phase=phase, order=order)
    assert np.allclose(got, np.clip(ramp, phase, last), atol=1e-4)


def test_linear_axial_interpolation_agrees_with_numpy() -> None:
    plane = np.random.default_rng(1).random((30, 3)).astype(np.float32)
    blurred = ndimage.gaussian_filter1d(plane, 1.5, axis=0, mode="nearest")
    kept = np.arange(2, 30, 6)
    got = physics.axial_subsampling(plane, sigma_z=1.5, step=6, phase=2)
    for column in range(3):
        reference = np.interp(np.arange(30), kept, blurred[kept, column])
        assert np.allclose(got[:, column], reference, atol=1e-6)


@pytest.mark.parametrize("binning", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(48, 48), (47, 49)])
def test_low_resolution_does_not_shift(binning: int, shape: tuple[int, int]) -> None:
    got = physics.low_resolution(_spot(shape), np.random.default_rng(0), sigma=1.0, binning=binning)
    assert got.shape == shape
    centre = ndimage.center_of_mass(got)
    assert centre == pytest.approx([(side - 1) / 2 for side in shape], abs=0.02)


def test_low_resolution_noise_follows_the_photons() -> None:
    flat = np.ones((128, 128))
    got = physics.low_resolution(flat, np.random.default_rng(0), sigma=1, binning=1, photons=400)
    assert got.std() == pytest.approx(0.05, rel=0.05)


@settings(max_examples=8, deadline=None)
@given(sigma=st.floats(0, 30), fraction=st.floats(0, 1))
def test_haze_preserves_flux(sigma: float, fraction: float) -> None:
    plane = np.random.default_rng(2).random((40, 50))
    got = physics.haze(plane, sigma=sigma, fraction=fraction)
    assert got.sum() == pytest.approx(plane.sum(), rel=1e-4)


@settings(max_examples=8, deadline=None)
@given(strength=st.floats(0, 0.95), seed=st.integers(0, 99))
def test_illumination_is_smooth_and_as_strong_as_stated(strength: float, seed: int) -> None:
    field = physics.uneven_illumination(
        np.ones((64, 80)), np.random.default_rng(seed), strength=strength
    )
    assert field.min() == pytest.approx(1 - strength, abs=1e-5)
    assert field.max() == pytest.approx(1, abs=0.01)
    assert np.abs(np.diff(field, axis=1)).max() < 0.12


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_bleaching_is_exponential_along_the_axis(axis: int) -> None:
    got = physics.bleaching(np.ones((4, 5, 6)), decay=0.3, axis=axis)
    line = np.moveaxis(got, axis, 0)
    assert np.allclose(line[1:] / line[:-1], np.exp(-0.3), atol=1e-6)


def test_psf_approaches_the_paraxial_limit() -> None:
    sigma_z, sigma_xy = physics.gaussian_psf_sigma(0.2, 0.5, 0.1)
    wavenumber = 2 * np.pi / 0.5
    assert sigma_xy * 0.1 == pytest.approx(np.sqrt(2) / (wavenumber * 0.2), rel=0.03)
    assert sigma_z * 0.1 == pytest.approx(2 * np.sqrt(6) * 1.33 / (wavenumber * 0.04), rel=0.03)


def test_confocal_is_narrower_than_widefield() -> None:
    wide = physics.gaussian_psf_sigma(1.2, 0.52, 0.1)
    confocal = physics.gaussian_psf_sigma(1.2, 0.52, 0.1, kind="confocal")
    assert np.allclose(np.array(wide) / np.array(confocal), np.sqrt(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda p, r: physics.poisson_gaussian(p, r, photons=0),
        lambda p, r: physics.poisson_gaussian(p, r, photons=float("nan")),
        lambda p, r: physics.poisson_gaussian(p[None], r, photons=1),
        lambda p, r: physics.axial_subsampling(p, sigma_z=1, step=4, phase=4),
        lambda p, r: physics.axial_subsampling(p, sigma_z=1, step=99),
        lambda p, r: physics.axial_subsampling(p, sigma_z=1, step=2, order=2),
        lambda p, r: physics.low_resolution(p, r, sigma=-1, binning=2),
        lambda p, r: physics.haze(p, sigma=1, fraction=1.5),
        lambda p, r: physics.uneven_illumination(p, r, strength=1),
        lambda p, r: physics.bleaching(p, decay=1),
        lambda p, r: physics.gaussian_psf_sigma(1.5, 0.5, 0.1),
        lambda p, r: physics.gaussian_psf_sigma(1.0, 0.5, 0.1, kind="sted"),
    ],
)
def test_bad_input_gets_one_clear_line(call) -> None:
    with pytest.raises(ValueError, match="got") as caught:
        call(np.ones((16, 16)), np.random.default_rng(0))
    assert "\n" not in str(caught.value)
