"""Point spread functions that defects share: kernels, their width from the optics."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microscopygan.defects.base import Plane, as_plane, require


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


def convolve(plane: NDArray[np.generic], kernel: NDArray[np.float64]) -> Plane:
    """Blur a plane, mirrored at its border so that its mean light stays.

    Parameters
    ----------
    plane : array, shape (Y, X)
        The plane in focus.
    kernel : array, shape (k, k)
        The point spread function, k odd; it is scaled to the sum 1.

    Returns
    -------
    array, shape (Y, X), float32
        The blurred plane.

    Raises
    ------
    ValueError
        If the plane is not 2-D.

    Examples
    --------
    >>> convolve(np.ones((8, 8)), np.ones((3, 3))).round(5).mean()
    np.float32(1.0)
    """
    from scipy import signal  # which takes long to import

    array = as_plane(plane)
    border = [(side // 2, side // 2) for side in kernel.shape]
    padded = np.pad(array.astype(np.float64), border, mode="symmetric")
    return np.asarray(signal.fftconvolve(padded, kernel / kernel.sum(), "valid"), np.float32)


def kernel_grid(reach: float, oversampling: int = 5) -> list[NDArray[np.float64]]:
    """Positions (y, x) of the finer pixels of a kernel, in pixels from its centre.

    Parameters
    ----------
    reach : float
        How far the kernel reaches, in pixels.
    oversampling : int
        Finer pixels a pixel and side, odd: a kernel drawn on them and binned has smooth edges.

    Returns
    -------
    y, x : arrays, shape (k · oversampling, k · oversampling)
        With k odd.
    """
    half = int(np.ceil(reach))
    positions = (np.arange((2 * half + 1) * oversampling) + 0.5) / oversampling - half - 0.5
    return list(np.meshgrid(positions, positions, indexing="ij"))


def binned(kernel: NDArray[np.float64], oversampling: int = 5) -> NDArray[np.float64]:
    """Sum the finer pixels of a kernel to pixels."""
    side = len(kernel) // oversampling
    return np.asarray(kernel.reshape(side, oversampling, side, oversampling).sum(axis=(1, 3)))


def line_kernel(length: float, angle: float) -> NDArray[np.float64]:
    """Draw a line of even light: what a point leaves that moves while it is exposed.

    Parameters
    ----------
    length : float
        Pixels, 0 or more.
    angle : float
        Radians, from axis 1 towards axis 0.

    Returns
    -------
    array, shape (k, k)
        Sum 1, centred.

    Examples
    --------
    >>> line_kernel(2, 0).round(2).tolist()
    [[0.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 0.0, 0.0]]
    """
    half = int(np.ceil(length / 2)) or 1
    along = (np.arange(200) + 0.5) / 200 - 0.5
    y, x = (half + length * along * part for part in (np.sin(angle), np.cos(angle)))
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for shift_y in (0, 1):
        for shift_x in (0, 1):
            row, column = np.floor(y).astype(int) + shift_y, np.floor(x).astype(int) + shift_x
            weight = (1 - np.abs(y - row)) * (1 - np.abs(x - column))
            inside = (row >= 0) & (row < len(kernel)) & (column >= 0) & (column < len(kernel))
            np.add.at(kernel, (row[inside], column[inside]), weight[inside])
    return np.asarray(kernel / kernel.sum())


def disc_kernel(radius: float) -> NDArray[np.float64]:
    """Draw a disc of even light: a point far out of focus.

    Parameters
    ----------
    radius : float
        Pixels, above 0.

    Returns
    -------
    array, shape (k, k)
        Sum 1, centred.

    Examples
    --------
    >>> disc_kernel(0.5).shape, bool(disc_kernel(3)[0, 0] == 0)
    ((3, 3), True)
    """
    y, x = kernel_grid(radius)
    kernel = binned((np.hypot(y, x) <= radius).astype(np.float64))
    return np.asarray(kernel / kernel.sum())


def gaussian_kernel(along: float, across: float, angle: float) -> NDArray[np.float64]:
    """Draw a Gaussian of two widths.

    Parameters
    ----------
    along, across : float
        Standard deviations in pixels, above 0.
    angle : float
        Direction of `along` in radians, from axis 1 towards axis 0.

    Returns
    -------
    array, shape (k, k)
        Sum 1, centred.

    Examples
    --------
    >>> kernel = gaussian_kernel(2, 1, 0)
    >>> bool(kernel.sum(axis=0).max() < kernel.sum(axis=1).max())
    True
    """
    y, x = kernel_grid(3.5 * max(along, across))
    u = x * np.cos(angle) + y * np.sin(angle)
    v = y * np.cos(angle) - x * np.sin(angle)
    kernel = binned(np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2)))
    return np.asarray(kernel / kernel.sum())
