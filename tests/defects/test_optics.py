"""The width of the point spread function agrees with its limits."""

import numpy as np
import pytest

from microscopygan.defects.optics import gaussian_psf_sigma


def test_psf_approaches_the_paraxial_limit() -> None:
    sigma_z, sigma_xy = gaussian_psf_sigma(0.2, 0.5, 0.1)
    wavenumber = 2 * np.pi / 0.5
    assert sigma_xy * 0.1 == pytest.approx(np.sqrt(2) / (wavenumber * 0.2), rel=0.03)
    assert sigma_z * 0.1 == pytest.approx(2 * np.sqrt(6) * 1.33 / (wavenumber * 0.04), rel=0.03)


def test_confocal_is_narrower_than_widefield() -> None:
    wide = gaussian_psf_sigma(1.2, 0.52, 0.1)
    confocal = gaussian_psf_sigma(1.2, 0.52, 0.1, kind="confocal")
    assert np.allclose(np.array(wide) / np.array(confocal), np.sqrt(2))


@pytest.mark.parametrize("options", [{"na": 1.5}, {"na": 1.0, "kind": "sted"}])
def test_other_optics_are_refused(options) -> None:
    with pytest.raises(ValueError, match="got"):
        gaussian_psf_sigma(**options, wavelength_um=0.5, pixel_um=0.1)
