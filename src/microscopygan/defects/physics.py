"""The physics of common microscopy defects, as functions on float32 planes.

Planes are ``(Y, X)`` on a scale of about 0 to 1, never modified; results are float32 of the
same shape. Every random function takes a :class:`numpy.random.Generator`.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import make_interp_spline

Plane = NDArray[np.float32]


def _as_plane(plane: NDArray[np.generic], ndim: int = 2) -> Plane:
    """Give the array as float32 after checking its number of axes."""
    array = np.asarray(plane, dtype=np.float32)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(
            f"expected a non-empty array with {ndim} axes, got shape {array.shape}; "
            "pass one plane (Y, X), or one series (N, Y, X) where a series is asked for"
        )
    return array


def _require(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise ValueError unless ``low <= value <= high`` and the value is finite."""
    if not (low <= value <= high) or not math.isfinite(value):
        raise ValueError(
            f"{name} must be between {low:g} and {high:g}, got {value}; choose a value in range"
        )


def poisson_gaussian(
    plane: NDArray[np.generic],
    rng: np.random.Generator,
    *,
    photons: float,
    read_noise: float = 0.0,
    offset: float = 0.0,
) -> Plane:
    """Add photon (Poisson) noise and read-out (Gaussian) noise.

    ``out = (Poisson(photons * max(plane, 0)) + Normal(0, read_noise)) / photons + offset``,
    so the variance at intensity *m* is ``m / photons + (read_noise / photons)**2``
    (Foi et al. 2008, doi:10.1109/TIP.2008.2001399).

    Parameters
    ----------
    plane : array, shape (Y, X)
        Expected intensity; negative values count as no light.
    rng : numpy.random.Generator
        Source of randomness.
    photons : float
        Expected photons (electrons) at intensity 1.0, above 0.
    read_noise : float
        Standard deviation of the read-out noise, in electrons.
    offset : float
        Camera baseline added to the result, in intensity units.

    Returns
    -------
    array, shape (Y, X), float32
        The noisy plane on the same intensity scale.

    Raises
    ------
    ValueError
        If the plane is not 2-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> noisy = poisson_gaussian(np.ones((64, 64)), np.random.default_rng(0), photons=100)
    >>> bool(abs(noisy.std() - 0.1) < 0.01)
    True
    """
    array = _as_plane(plane)
    _require("photons", photons, 1e-6, 1e9)
    _require("read_noise", read_noise, 0.0)
    electrons = rng.poisson(np.maximum(array, 0.0).astype(np.float64) * photons).astype(np.float32)
    if read_noise > 0:
        electrons += np.float32(read_noise) * rng.standard_normal(array.shape, dtype=np.float32)
    return (electrons / np.float32(photons) + np.float32(offset)).astype(np.float32)


def axial_subsampling(
    plane: NDArray[np.generic],
    *,
    sigma_z: float,
    step: int,
    phase: int = 0,
    order: Literal[1, 3] = 1,
) -> Plane:
    """Blur along axis 0, keep every ``step``-th row and interpolate back to the same grid.

    ::

        row      0  1  2  3  4  5  6  7      step = 3, phase = 1
        kept        *        *        *      rows before the first kept one repeat it,
                                             rows after the last kept one repeat it

    Parameters
    ----------
    plane : array, shape (Z, X)
        A plane whose axis 0 is the optical (axial) axis, on an isotropic grid.
    sigma_z : float
        Standard deviation of the axial point spread function, in pixels; 0 for none.
    step : int
        Distance between the kept rows, in pixels, at least 1.
    phase : int
        The first kept row, from 0 to ``step - 1``.
    order : {1, 3}
        Linear or cubic-spline interpolation.

    Returns
    -------
    array, shape (Z, X), float32
        The plane as a coarsely sampled stack would show it.

    Raises
    ------
    ValueError
        If the plane is not 2-D, a parameter is out of range, or no row is kept.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(9.0)[:, None] * np.ones((1, 2))
    >>> axial_subsampling(ramp, sigma_z=0, step=4)[:, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    """
    array = _as_plane(plane)
    _require("sigma_z", sigma_z, 0.0)
    _require("step", step, 1, array.shape[0])
    _require("phase", phase, 0, step - 1)
    if order not in (1, 3):
        raise ValueError(f"order must be 1 (linear) or 3 (cubic), got {order}; use 1 or 3")
    rows = np.arange(phase, array.shape[0], step)
    blurred = ndimage.gaussian_filter(array, (sigma_z, 0.0), mode="nearest")
    if rows.size == 1:
        return np.repeat(blurred[rows], array.shape[0], axis=0)
    degree = min(order, rows.size - 1)
    spline = make_interp_spline(rows, blurred[rows], k=degree, axis=0)
    positions = np.clip(np.arange(array.shape[0]), rows[0], rows[-1])
    return np.asarray(spline(positions), dtype=np.float32)


def low_resolution(
    plane: NDArray[np.generic],
    rng: np.random.Generator,
    *,
    sigma: float,
    binning: int,
    photons: float | None = None,
    order: int = 3,
) -> Plane:
    """Image through a wide point spread function onto large pixels, then interpolate back.

    The plane is blurred, averaged over ``binning x binning`` pixels, given photon noise, and
    brought back to its grid with the pixel centres in register: the centre of binned pixel *k*
    lies at ``(binning - 1) / 2 + binning * k``. Sizes that the binning does not divide are
    padded by repeating the edge, and cropped at the end.

    Parameters
    ----------
    plane : array, shape (Y, X)
        Expected intensity.
    rng : numpy.random.Generator
        Source of randomness; untouched when ``photons`` is None.
    sigma : float
        Standard deviation of the point spread function, in pixels of the plane.
    binning : int
        Camera pixels per side averaged into one, at least 1.
    photons : float, optional
        Expected photons per binned pixel at intensity 1.0; None for no noise.
    order : int
        Order of the spline that interpolates back, 0 to 5.

    Returns
    -------
    array, shape (Y, X), float32
        The plane at low resolution, not shifted.

    Raises
    ------
    ValueError
        If the plane is not 2-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> low_resolution(np.ones((5, 7)), rng, sigma=1, binning=2).shape
    (5, 7)
    """
    array = _as_plane(plane)
    _require("sigma", sigma, 0.0)
    _require("binning", binning, 1, min(array.shape))
    _require("order", order, 0, 5)
    height, width = array.shape
    blurred = ndimage.gaussian_filter(array, sigma, mode="nearest")
    padded = np.pad(blurred, ((0, -height % binning), (0, -width % binning)), mode="edge")
    rows, columns = padded.shape[0] // binning, padded.shape[1] // binning
    binned = padded.reshape(rows, binning, columns, binning).mean(axis=(1, 3))
    if photons is not None:
        binned = poisson_gaussian(binned, rng, photons=photons)
    if binning == 1:
        return np.asarray(binned, dtype=np.float32)
    scale, start = np.full(2, 1 / binning), -(binning - 1) / 2 / binning
    restored = ndimage.affine_transform(
        binned, scale, start, output_shape=(height, width), order=order, mode="nearest"
    )
    return np.asarray(restored, dtype=np.float32)


def haze(plane: NDArray[np.generic], *, sigma: float, fraction: float) -> Plane:
    """Move a fraction of the light out of focus: ``(1 - f) * plane + f * blur(plane)``.

    Parameters
    ----------
    plane : array, shape (Y, X)
        The plane in focus.
    sigma : float
        Standard deviation of the out-of-focus blur, in pixels.
    fraction : float
        Fraction of the light that is out of focus, 0 to 1.

    Returns
    -------
    array, shape (Y, X), float32
        The hazy plane, of the same total flux (the blur mirrors at the border).

    Raises
    ------
    ValueError
        If the plane is not 2-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> spot = np.zeros((32, 32)); spot[16, 16] = 1
    >>> round(float(haze(spot, sigma=3, fraction=0.5).sum()), 4)
    1.0
    """
    array = _as_plane(plane)
    _require("sigma", sigma, 0.0)
    _require("fraction", fraction, 0.0, 1.0)
    # Mode "reflect" (half-sample symmetric) is the one that preserves the sum.
    blurred = ndimage.gaussian_filter(array, sigma, mode="reflect")
    return np.asarray((1 - fraction) * array + fraction * blurred, dtype=np.float32)


def uneven_illumination(
    plane: NDArray[np.generic], rng: np.random.Generator, *, strength: float
) -> Plane:
    """Multiply by a smooth random illumination field.

    The field is a random Gaussian vignette with its maximum, 1, near the plane's centre; at the
    dimmest point of the plane it is ``1 - strength``.

    Parameters
    ----------
    plane : array, shape (Y, X)
        The plane under even light.
    rng : numpy.random.Generator
        Draws the centre, width ratio and direction of the vignette.
    strength : float
        Loss of light at the dimmest point, 0 to 0.99.

    Returns
    -------
    array, shape (Y, X), float32
        The unevenly lit plane.

    Raises
    ------
    ValueError
        If the plane is not 2-D or the strength is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> lit = uneven_illumination(np.ones((32, 32)), np.random.default_rng(0), strength=0.5)
    >>> round(float(lit.min()), 3)
    0.5
    """
    array = _as_plane(plane)
    _require("strength", strength, 0.0, 0.99)
    centre, ratio, angle = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.6, 1.6), rng.uniform(0, np.pi)
    y = np.linspace(-1, 1, array.shape[0])[:, None] - centre[0]
    x = np.linspace(-1, 1, array.shape[1])[None, :] - centre[1]
    along = y * np.cos(angle) + x * np.sin(angle)
    across = x * np.cos(angle) - y * np.sin(angle)
    distance = along**2 + ratio * across**2
    farthest = max(float(distance.max()), np.finfo(np.float32).eps)
    field = np.exp(np.log1p(-strength) * distance / farthest)
    return np.asarray(array * field, dtype=np.float32)


def bleaching(stack: NDArray[np.generic], *, decay: float, axis: int = 0) -> Plane:
    """Fade a series exponentially: frame *n* is multiplied by ``exp(-decay * n)``.

    Parameters
    ----------
    stack : array, shape (N, Y, X)
        The series without bleaching.
    decay : float
        Decay per frame, at least 0.
    axis : int
        Axis of the series, -3 to 2.

    Returns
    -------
    array, shape (N, Y, X), float32
        The bleached series.

    Raises
    ------
    ValueError
        If the stack is not 3-D or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> bleaching(np.ones((3, 1, 1)), decay=np.log(2)).ravel().tolist()
    [1.0, 0.5, 0.25]
    """
    array = _as_plane(stack, ndim=3)
    _require("decay", decay, 0.0)
    _require("axis", axis, -3, 2)
    factor = np.exp(-decay * np.arange(array.shape[axis]))
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.asarray(array * factor.reshape(shape), dtype=np.float32)


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
    _require("refractive_index", refractive_index, 1.0, 2.0)
    _require("na", na, 0.01, 0.999 * refractive_index)
    _require("wavelength_um", wavelength_um, 0.1, 10.0)
    _require("pixel_um", pixel_um, 1e-4)
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
