"""Calibration recovers known parameters from unpaired planes; noise curves agree with truth."""

import numpy as np
import pytest

from microscopygan.defects.calibration import calibrate
from microscopygan.defects.noise_calibration import calibrate_noise
from microscopygan.defects.noise_curve import noise_curve, noise_curve_from_pairs
from microscopygan.defects.pair_calibration import calibrate_pairs
from microscopygan.defects.parameters import Axial, Bleaching, Defect, LowResolution, Noise
from microscopygan.defects.specimens import filaments, membranes, nuclei
from microscopygan.image.intensity import percentile_map


def _recover(truth: Defect, specimen=filaments) -> list[Defect]:
    rng = np.random.default_rng(5)
    clean = [specimen((96, 96), rng) for _ in range(32)]
    defective = [truth.apply(specimen((96, 96), rng), rng) for _ in range(32)]
    return calibrate(type(truth), clean, defective, rng, candidates=100, keep=5)


def _median(found: list[Defect], field: str) -> float:
    return float(np.median([getattr(parameters, field) for parameters in found]))


def test_noise_is_recovered() -> None:
    found = _recover(Noise(photons=30, read_noise=2))
    assert _median(found, "photons") == pytest.approx(30, rel=0.3)
    assert _median(found, "read_noise") == pytest.approx(2, abs=1)


@pytest.mark.parametrize(("sigma_z", "step"), [(1.5, 6), (2.5, 3)])
def test_axial_subsampling_is_recovered(sigma_z: float, step: int) -> None:
    found = _recover(Axial(sigma_z=sigma_z, step=step), membranes)
    assert _median(found, "step") == pytest.approx(step, abs=1)
    assert _median(found, "sigma_z") == pytest.approx(sigma_z, rel=0.25)


@pytest.mark.parametrize(("sigma", "binning", "photons"), [(2.2, 2, 500), (1.4, 3, 120)])
def test_low_resolution_is_recovered(sigma: float, binning: int, photons: float) -> None:
    found = _recover(LowResolution(sigma=sigma, binning=binning, photons=photons))
    assert _median(found, "sigma") == pytest.approx(sigma, rel=0.25)
    assert _median(found, "binning") == binning
    assert _median(found, "photons") == pytest.approx(photons, rel=0.3)


def test_calibration_is_reproducible_and_ignores_the_scale() -> None:
    rng = np.random.default_rng(0)
    clean = [filaments((64, 64), rng) for _ in range(5)]
    noisy = [Noise(photons=20).apply(plane, rng) for plane in clean]
    scaled = [plane * 1000 + 100 for plane in noisy]
    found = [
        calibrate(Noise, clean, planes, np.random.default_rng(1), candidates=12, keep=3)
        for planes in (noisy, noisy, scaled)
    ]
    assert found[0] == found[1]
    assert found[0][0].photons == pytest.approx(found[2][0].photons, rel=0.02)


def test_noise_curves_agree_with_the_model() -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(0.05, 1, 192, dtype=np.float32), (192, 1))
    noisy = [Noise(photons=40, read_noise=3).apply(ramp, rng) for _ in range(3)]
    for means, variances in (noise_curve(noisy), noise_curve_from_pairs(noisy, [2 * ramp + 1] * 3)):
        truth = means / 40 + (3 / 40) ** 2
        assert np.allclose(variances, truth, rtol=0.15)
        assert np.all(np.diff(means) > 0)


@pytest.mark.parametrize(
    ("kind", "clean", "defective", "options"),
    [
        (Bleaching, [np.ones((64, 64))], [np.ones((64, 64))], {}),
        (Noise, [], [np.ones((64, 64))], {}),
        (Noise, [np.ones((64, 64))], [np.ones((32, 64))], {}),
        (Noise, [np.full((64, 64), np.nan)], [np.ones((64, 64))], {}),
        (Noise, [np.ones((64, 64))], [np.ones((64, 64))], {"candidates": 2, "keep": 3}),
    ],
)
def test_unsuitable_input_is_refused(kind, clean, defective, options) -> None:
    with pytest.raises(ValueError, match="got"):
        calibrate(kind, clean, defective, np.random.default_rng(0), **options)


def test_unmatched_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="one to one"):
        noise_curve_from_pairs([np.ones((32, 32))], [np.ones((32, 16))])


def test_each_noisy_image_gets_its_own_photon_count() -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((128, 128), rng) for _ in range(6)]
    for photons in (8.0, 80.0):
        noisy = [Noise(photons=photons).apply(nuclei((128, 128), rng), rng) for _ in range(4)]
        noisy = [percentile_map(plane).apply(plane) for plane in noisy]
        found = [noise.photons for noise in calibrate_noise(clean, noisy, rng)]
        assert len(found) == 4
        assert photons / 1.6 < np.median(found) < photons * 1.6


def test_background_light_is_told_from_its_noise() -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((128, 128), rng) for _ in range(6)]
    found = {}
    for light in (0.0, 0.3):
        truth = Noise(photons=10.0, background=light)
        noisy = [truth.apply(nuclei((128, 128), rng), rng) for _ in range(6)]
        noisy = [percentile_map(plane).apply(plane) for plane in noisy]
        found[light] = [noise.background for noise in calibrate_noise(clean, noisy, rng)]
    assert np.median(found[0.0]) <= 0.03
    assert np.median(found[0.3]) >= 0.14


@pytest.mark.parametrize(
    "truth",
    [Axial(sigma_z=1.2, step=4), Axial(sigma_z=2.0, step=7)]
    + [LowResolution(sigma=1.5, binning=b, photons=150) for b in (1, 2, 3)],
)
def test_pairs_give_the_parameters_away(truth: Defect) -> None:
    rng = np.random.default_rng(0)
    clean = [filaments((112, 104), rng) for _ in range(4)]
    pairs = [(3 * truth.apply(plane, rng) - 1, plane) for plane in clean]
    found = calibrate_pairs(type(truth), pairs, rng)
    assert len(found) == 4
    width = "sigma_z" if isinstance(truth, Axial) else "sigma"
    number = "step" if isinstance(truth, Axial) else "binning"
    assert all(getattr(item, number) == getattr(truth, number) for item in found)
    middle = np.median([getattr(item, width) for item in found])
    assert middle == pytest.approx(getattr(truth, width), rel=0.12)
    if isinstance(truth, LowResolution):
        photons = np.median([item.photons for item in found])
        assert 75 < photons < 300


def test_pairs_of_other_defects_or_none_are_refused() -> None:
    rng = np.random.default_rng(0)
    plane = np.zeros((64, 64), np.float32)
    with pytest.raises(ValueError, match="expected Axial or LowResolution, got Noise"):
        calibrate_pairs(Noise, [(plane, plane)], rng)
    with pytest.raises(ValueError, match="got none"):
        calibrate_pairs(Axial, [], rng)
