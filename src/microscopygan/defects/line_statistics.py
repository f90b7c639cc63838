"""Statistics of the lines of an image: how they are shifted, how bright they are, their rays."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .statistics import Floats, Plane

FARTHEST = 3.0  # pixels that one line is shifted against the next, at most
LINES_APART = (1, 2, 4)  # of the lines whose gain and offset are compared
SCALES = (1.0, 2.0, 4.0, 8.0)  # lines; σ of the smoothings whose differences are looked at
RAY = 32  # pixels along the rays that are averaged


def neighbour_shifts(plane: Plane) -> Floats:
    """Estimate by how many pixels each row is shifted against the one before, (Y - 1,).

    Least squares on the difference of the rows and their slope, as optical flow does.
    """
    mean = (plane[1:] + plane[:-1]) / 2
    slope = np.gradient(mean, axis=1)
    apart = plane[1:] - plane[:-1]
    energy = (slope**2).sum(axis=1)
    shifts = -(slope * apart).sum(axis=1) / (energy + 0.1 * energy.mean() + 1e-12)
    return np.asarray(np.clip(shifts, -FARTHEST, FARTHEST), np.float64)


def line_differences(square: Plane) -> Floats:
    """Log spreads of gain and offset between lines some way apart, of rows and of columns."""
    found = []
    for lines in (square, square.T):
        for apart in LINES_APART:
            x, y = lines[:-apart].astype(np.float64), lines[apart:].astype(np.float64)
            x_mean, y_mean = x.mean(1, keepdims=True), y.mean(1, keepdims=True)
            both = ((x - x_mean) * (y - y_mean)).mean(1)
            gain = both / (x.var(1) + 1e-3)
            offset = (y_mean - x_mean)[:, 0]
            left = ((y - y_mean) - gain[:, None] * (x - x_mean)).std(1)
            found += [np.median(np.abs(gain - np.median(gain))), np.median(np.abs(offset))]
            found += [np.median(left), offset.std()]
    return np.asarray(np.log(np.array(found) + 1e-4) / 4)


def ray_contrast(plane: Plane) -> Floats:
    """Variance of rays along rows, and along columns, at several scales: (2, SCALES)."""
    light = np.log(np.clip(plane, 0, None) + 0.1)
    found = []
    for lines in (light, light.T):
        count = lines.shape[1] // RAY
        rays = lines[:, : count * RAY].reshape(len(lines), count, RAY).mean(axis=2)
        smooth = [ndimage.gaussian_filter1d(rays, scale, axis=0) for scale in SCALES]
        apart = [fine - coarse for fine, coarse in zip([rays, *smooth], smooth, strict=False)]
        found.append([float(part.var()) + 1e-9 for part in apart])
    return np.array(found)
