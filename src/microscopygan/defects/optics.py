"""The width of the point spread function, from the optics."""

from __future__ import annotations

import math
from typing import Literal

from microscopygan.defects.base import require


def gaussian_psf_sigma(
    na: float,
    wavelength_um: float,
    pixel_um: float,
    refractive_index: float = 1.33,
    kind: Literal["widefield", "confocal"] = "widefield",
) -> tuple[float, float]:
    """Gaussian approximation of the point spread function, from the optics.

    The non-paraxial 3-D formulas of Zhang, Zerubia and Olivo-Marin 2007
    (doi:10.1364/AO.46.001819) for a wide-field microscope. For "confocal" both are divided by
    the square root of 2: a point pinhole and equal excitation and emission wavelengths, where
    the point spread function is the square of the wide-field one.

    Parameters
    ----------
    na : float
        Numerical aperture, above 0 and below the refractive index.
    wavelength_um : float
        Emission wavelength in vacuum, µm.
    pixel_um : float
        Pixel size of an isotropic grid, µm.
    refractive_index : float
        Refractive index of the immersion medium, 1 to 2.
    kind : {"widefield", "confocal"}
        The microscope.

    Returns
    -------
    sigma_z, sigma_xy : float
        Standard deviations along and across the optical axis, in pixels.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> sigma_z, sigma_xy = gaussian_psf_sigma(1.2, 0.52, 0.1)
    >>> bool(sigma_z > 2 * sigma_xy)
    True
    """
    require("refractive_index", refractive_index, 1.0, 2.0)
    require("na", na, 0.01, 0.999 * refractive_index)
    require("wavelength_um", wavelength_um, 0.1, 10.0)
    require("pixel_um", pixel_um, 1e-4)
    if kind not in ("widefield", "confocal"):
        raise ValueError(f"kind must be 'widefield' or 'confocal', got {kind!r}; use one of them")
    wavenumber = refractive_index * 2 * math.pi / wavelength_um
    cosine = math.sqrt(1 - (na / refractive_index) ** 2)
    a = cosine**1.5
    lateral = (4 - 7 * a + 3 * cosine**3.5) / (7 * (1 - a))
    axial = 4 * cosine**5 - 25 * cosine**3.5 + 42 * cosine**2.5 - 25 * a + 4
    sigma_xy = 1 / (wavenumber * math.sqrt(lateral))
    sigma_z = 5 * math.sqrt(7) * (1 - a) / (math.sqrt(6) * wavenumber * math.sqrt(axial))
    narrowing = math.sqrt(2) if kind == "confocal" else 1.0
    return sigma_z / pixel_um / narrowing, sigma_xy / pixel_um / narrowing
