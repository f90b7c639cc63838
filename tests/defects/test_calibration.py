"""The search recovers known parameters from unpaired planes."""

import numpy as np
import pytest

from microscopygan.defects.axial import Axial
from microscopygan.defects.base import Defect
from microscopygan.defects.bleaching import Bleaching
from microscopygan.defects.calibration import calibrate_with_noise, search_parameters
from microscopygan.defects.composition import Composition
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, membranes
from microscopygan.defects.stripes import Stripes


def _recover(truth: Defect, specimen=filaments, side: int = 64) -> list[Defect]:
    rng = np.random.default_rng(5)
    clean = [specimen((side, side), rng) for _ in range(32)]
    defective = [truth.apply(specimen((side, side), rng), rng) for _ in range(32)]
    return search_parameters(type(truth), clean, defective, rng, candidates=100, keep=5)


def _median(found: list[Defect], field: str) -> float:
    return float(np.median([getattr(parameters, field) for parameters in found]))


@pytest.mark.slow
def test_noise_is_recovered() -> None:
    """Slow: hundreds of trials, each on many planes."""
    found = _recover(Noise(photons=30, read_noise=2))
    assert _median(found, "photons") == pytest.approx(30, rel=0.3)
    assert _median(found, "read_noise") == pytest.approx(2, abs=1)


@pytest.mark.parametrize(("sigma_z", "step"), [(1.5, 6), (2.5, 3)])
@pytest.mark.slow
def test_axial_subsampling_is_recovered(sigma_z: float, step: int) -> None:
    """Slow: hundreds of trials, each on many planes."""
    found = _recover(Axial(sigma_z=sigma_z, step=step), membranes)
    assert _median(found, "step") == pytest.approx(step, abs=1)
    assert _median(found, "sigma_z") == pytest.approx(sigma_z, rel=0.25)


@pytest.mark.slow
def test_low_resolution_is_recovered() -> None:
    """Slow: hundreds of trials, each on many planes."""
    found = _recover(LowResolution(sigma=1.4, binning=3, photons=120), side=96)
    assert _median(found, "sigma") == pytest.approx(1.4, rel=0.25)
    assert _median(found, "binning") == 3
    assert _median(found, "photons") == pytest.approx(120, rel=0.3)


def test_calibration_is_reproducible_and_ignores_the_scale() -> None:
    rng = np.random.default_rng(0)
    clean = [filaments((64, 64), rng) for _ in range(5)]
    noisy = [Noise(photons=20).apply(plane, rng) for plane in clean]
    scaled = [plane * 1000 + 100 for plane in noisy]
    found = [
        search_parameters(Noise, clean, planes, np.random.default_rng(1), candidates=12, keep=3)
        for planes in (noisy, noisy, scaled)
    ]
    assert found[0] == found[1]
    assert found[0][0].photons == pytest.approx(found[2][0].photons, rel=0.02)


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
        search_parameters(kind, clean, defective, np.random.default_rng(0), **options)


@pytest.mark.slow
def test_noise_besides_a_defect_is_found() -> None:
    """Slow: hundreds of noise levels, each tried on many planes."""
    rng = np.random.default_rng(0)
    truth = Stripes(gain=0.15, offset=0.04)
    clean = [filaments((96, 96), rng) for _ in range(4)]
    noisy = [Noise(photons=50).apply(filaments((96, 96), rng), rng) for _ in range(6)]
    found = calibrate_with_noise(Stripes, clean, [truth.apply(p, rng) for p in noisy], rng)
    assert len(found) >= 24
    assert all(isinstance(item, Composition) for item in found)
    stripes, noise = zip(
        *(item.steps for item in found if isinstance(item, Composition)), strict=True
    )
    assert np.median([item.photons for item in noise]) == pytest.approx(50, rel=0.6)
    assert np.median([item.offset for item in stripes]) == pytest.approx(0.04, rel=0.5)


def test_a_defect_that_is_noise_gets_no_more() -> None:
    rng = np.random.default_rng(0)
    planes = [np.ones((64, 64))]
    found = calibrate_with_noise(Bleaching, planes, planes, rng)
    assert {type(item) for item in found} == {Bleaching}
