"""Simulated fluorescent specimens to try defects on: planes ``(Y, X)``, float32, 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microscopygan.defects.base import Plane

Floats = NDArray[np.float64]


def _check_shape(shape: tuple[int, int]) -> None:
    """Raise ValueError unless the shape is (Y, X) with at least 16 pixels a side."""
    if len(shape) != 2 or min(shape) < 16:
        raise ValueError(f"expected a shape (Y, X) of at least 16 x 16, got {shape}; enlarge it")


def _to_unit(plane: NDArray[np.floating]) -> Plane:
    """Scale to a maximum of 1 and cut below 0."""
    peak = max(float(plane.max()), 1e-6)
    return np.asarray(np.clip(plane / peak, 0, 1), dtype=np.float32)


def _smooth_field(shape: tuple[int, int], rng: np.random.Generator, sigma: float) -> Floats:
    """Gaussian random field of mean 0, standard deviation 1 and correlation length sigma."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-9))


def _deposit(shape: tuple[int, int], y: Floats, x: Floats, light: Floats) -> Floats:
    """Put point sources at sub-pixel positions on the grid, each split over four pixels."""
    inside = (y >= 0) & (x >= 0) & (y < shape[0] - 1) & (x < shape[1] - 1)
    y, x, light = y[inside], x[inside], light[inside]
    row, column = y.astype(np.intp), x.astype(np.intp)
    dy, dx = y - row, x - column
    flat = np.zeros(shape[0] * shape[1])
    for j, weight_y in ((0, 1 - dy), (1, dy)):
        for i, weight_x in ((0, 1 - dx), (1, dx)):
            index = (row + j) * shape[1] + column + i
            flat += np.bincount(index, light * weight_y * weight_x, flat.size)
    return flat.reshape(shape)


def filaments(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Cytoskeleton: smooth random-walk curves of varying stiffness and brightness.

    Parameters
    ----------
    shape : tuple of int
        Size (Y, X) in pixels, at least 16 x 16.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array, shape (Y, X), float32
        The specimen, 0 to 1.

    Raises
    ------
    ValueError
        If the shape is too small or not 2-D.

    Examples
    --------
    >>> import numpy as np
    >>> filaments((32, 48), np.random.default_rng(0)).shape
    (32, 48)
    """
    _check_shape(shape)
    span = float(np.hypot(*shape))
    number = int(np.clip(rng.uniform(0.08, 0.3) * span, 4, 200))
    steps = int(3 * span)
    main, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 2.0)
    heading = main + spread * rng.standard_normal(number)
    # Curvature is itself a slowly varying random walk, so the curves have no kinks.
    bend = ndimage.gaussian_filter1d(rng.standard_normal((number, steps)), 30.0, axis=1)
    angle = heading[:, None] + np.cumsum(rng.uniform(0.03, 0.2) * bend, axis=1)
    start = rng.uniform(-0.2, 1.2, (2, number, 1)) * np.array(shape)[:, None, None]
    y = start[0] + np.cumsum(0.5 * np.sin(angle), axis=1)
    x = start[1] + np.cumsum(0.5 * np.cos(angle), axis=1)
    length = rng.uniform(0.3, 1.0, (number, 1)) * steps
    light = rng.lognormal(0, 0.35, (number, 1)) * (np.arange(steps) < length)
    drawn = _deposit(shape, y.ravel(), x.ravel(), light.ravel())
    plane = ndimage.gaussian_filter(drawn, rng.uniform(0.8, 1.8))
    cell = np.clip(1 + 0.5 * _smooth_field(shape, rng, 0.15 * span), 0, None)
    return _to_unit(plane * (0.6 + 0.4 * cell) + 0.04 * plane.max() * cell)


def _nucleus(
    grid: tuple[Floats, Floats], centre: Floats, radius: float, rng: np.random.Generator
) -> Floats:
    """Soft-edged mask, 0 to 1, of one slightly irregular ellipse."""
    y, x = grid[0] - centre[0], grid[1] - centre[1]
    turn, ratio = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    along = (y * np.cos(turn) + x * np.sin(turn)) / ratio
    across = x * np.cos(turn) - y * np.sin(turn)
    angle = np.arctan2(along, across)
    edge = np.ones_like(angle)
    for order, size in ((2, 0.05), (3, 0.04), (4, 0.02)):
        edge += size * rng.standard_normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    inside = radius * edge - np.hypot(along, across)
    return np.asarray(1 / (1 + np.exp(-np.clip(inside / 0.8, -30, 30))))


def nuclei(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Cell nuclei: textured, slightly irregular ellipses with soft edges and bright foci.

    Parameters
    ----------
    shape : tuple of int
        Size (Y, X) in pixels, at least 16 x 16.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array, shape (Y, X), float32
        The specimen, 0 to 1.

    Raises
    ------
    ValueError
        If the shape is too small or not 2-D.

    Examples
    --------
    >>> import numpy as np
    >>> nuclei((32, 48), np.random.default_rng(0)).shape
    (32, 48)
    """
    _check_shape(shape)
    y, x = (axis.astype(np.float64) for axis in np.indices(shape))
    mean_radius = rng.uniform(0.06, 0.17) * min(256, *shape)
    wanted = int(np.clip(rng.uniform(0.25, 0.6) * y.size / (4 * mean_radius**2), 2, 60))
    centres = _spaced_points(shape, rng, wanted, 1.9 * mean_radius)
    plane = np.zeros(shape)
    for centre in centres:
        radius = mean_radius * float(np.clip(rng.normal(1, 0.12), 0.7, 1.3))
        reach = int(1.8 * radius) + 6
        low = np.maximum(centre.astype(int) - reach, 0)
        box = (slice(low[0], int(centre[0]) + reach), slice(low[1], int(centre[1]) + reach))
        if y[box].size:
            mask = _nucleus((y[box], x[box]), centre, radius, rng)
            plane[box] = np.maximum(plane[box], rng.uniform(0.4, 1.0) * mask)
    fine, coarse = rng.uniform(0.8, 1.5), rng.uniform(0.2, 0.35) * mean_radius + 1
    texture = 0.1 * _smooth_field(shape, rng, fine) + 0.16 * _smooth_field(shape, rng, coarse)
    foci = np.clip(_smooth_field(shape, rng, 0.1 * mean_radius + 0.8) - 1.6, 0, None)
    glow = 0.06 * ndimage.gaussian_filter(plane, mean_radius)
    return _to_unit(plane * np.clip(0.8 + texture + 0.35 * foci, 0.1, None) + glow)


def _spaced_points(
    shape: tuple[int, int], rng: np.random.Generator, wanted: int, distance: float
) -> list[Floats]:
    """Up to ``wanted`` random points, none closer than ``distance`` to another."""
    points: list[Floats] = []
    for trial in rng.uniform(-0.05, 1.05, (8 * wanted, 2)) * np.array(shape):
        if all(np.hypot(*(trial - point)) >= distance for point in points):
            points.append(trial)
        if len(points) == wanted:
            break
    return points


def membranes(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Epithelium: curved boundaries of Voronoi cells over a dim cytoplasm.

    Parameters
    ----------
    shape : tuple of int
        Size (Y, X) in pixels, at least 16 x 16.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array, shape (Y, X), float32
        The specimen, 0 to 1.

    Raises
    ------
    ValueError
        If the shape is too small or not 2-D.

    Examples
    --------
    >>> import numpy as np
    >>> membranes((32, 48), np.random.default_rng(0)).shape
    (32, 48)
    """
    _check_shape(shape)
    size = rng.uniform(0.12, 0.3) * min(200, *shape)
    from scipy.spatial import cKDTree  # which takes long to import

    rows, columns = (np.arange(-2 * size, side + 2 * size, size) for side in shape)
    seeds = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).astype(np.float64)
    seeds[::2, :, 1] += size / 2
    points = seeds.reshape(-1, 2) + rng.normal(0, 0.22 * size, (seeds.size // 2, 2))
    y, x = (axis.astype(np.float64) for axis in np.indices(shape))
    y += 0.07 * size * _smooth_field(shape, rng, 0.3 * size)
    x += 0.07 * size * _smooth_field(shape, rng, 0.3 * size)
    positions = np.stack([y.ravel(), x.ravel()], axis=1)
    distances, nearest = cKDTree(points).query(positions, k=2)
    gap = ((distances[:, 1] - distances[:, 0]) / 2).reshape(shape)
    # Each cell has its own brightness, and the membrane is patchy along its length.
    level = rng.uniform(0.6, 1.0, len(points))[nearest].mean(axis=1).reshape(shape)
    level *= np.clip(1 + 0.25 * _smooth_field(shape, rng, 2.5), 0.3, None)
    cytoplasm = rng.uniform(0.02, 0.2, len(points))[nearest[:, 0]].reshape(shape)
    cytoplasm *= np.clip(1 + 0.3 * _smooth_field(shape, rng, 1.5), 0, None)
    wall = np.exp(-0.5 * (gap / rng.uniform(0.7, 1.6)) ** 2)
    return _to_unit(ndimage.gaussian_filter(level * wall + cytoplasm, rng.uniform(0.7, 1.2)))


def vesicles(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Vesicles: blurred spots of many sizes and brightnesses, gathered in places.

    Parameters
    ----------
    shape : tuple of int
        Size (Y, X) in pixels, at least 16 x 16.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array, shape (Y, X), float32
        The specimen, 0 to 1.

    Raises
    ------
    ValueError
        If the shape is too small or not 2-D.

    Examples
    --------
    >>> import numpy as np
    >>> vesicles((32, 48), np.random.default_rng(0)).shape
    (32, 48)
    """
    _check_shape(shape)
    area, span = shape[0] * shape[1], float(np.hypot(*shape))
    density = np.exp(rng.uniform(0.3, 1.2) * _smooth_field(shape, rng, 0.1 * span))
    number = max(int(area * 10 ** rng.uniform(-2.6, -1.7)), 8)
    where = rng.choice(area, size=number, p=(density / density.sum()).ravel())
    y, x = (axis + rng.random(number) for axis in np.divmod(where, shape[1]))
    light = rng.lognormal(0, 0.4, number)
    psf = rng.uniform(0.9, 1.6)
    group = rng.integers(0, 3, number)
    plane = np.zeros(shape)
    for index, growth in enumerate((1.0, 1.3, 1.8)):
        chosen = group == index
        spots = _deposit(shape, y[chosen], x[chosen], light[chosen] * growth**2)
        plane += ndimage.gaussian_filter(spots, psf * growth)
    glow = ndimage.gaussian_filter(density, 2.0)
    return _to_unit(plane + rng.uniform(0.01, 0.08) * plane.max() * glow / glow.max())


SPECIMENS: dict[str, Callable[[tuple[int, int], np.random.Generator], Plane]] = {
    "filaments": filaments,
    "nuclei": nuclei,
    "membranes": membranes,
    "vesicles": vesicles,
}


def draw_specimen(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Simulate a specimen of a kind picked at random from :data:`SPECIMENS`.

    Parameters
    ----------
    shape : tuple of int
        Size (Y, X) in pixels, at least 16 x 16.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array, shape (Y, X), float32
        The specimen, 0 to 1.

    Raises
    ------
    ValueError
        If the shape is too small or not 2-D.

    Examples
    --------
    >>> import numpy as np
    >>> draw_specimen((32, 32), np.random.default_rng(0)).dtype
    dtype('float32')
    """
    _check_shape(shape)
    return list(SPECIMENS.values())[rng.integers(len(SPECIMENS))](shape, rng)
