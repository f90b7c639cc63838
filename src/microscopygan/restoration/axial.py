"""The axial task: stacks with too few planes become isotropic, restored along XZ and YZ.

A stack is put on a grid with the lateral pixel size along Z by linear interpolation, as the
restorer saw it in training (axis 0 axial). Its XZ and its YZ planes are restored, and the two
volumes joined by their mean::

    input planes  0           1           2           3        distance dz = step · dx
                  |           |           |           |
    grid          0   1   2   3   4   5   6   7   8   9        distance dx

Volumes are (Z, Y, X), float32, on about 0..1. Regions are slices with start and stop. A part of
the output depends on a part of the input only, so that volumes of any size go block by block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..image.lazy import region_shape
from ..image.tiles import Tile, mirror, plan_tiles

Volume = NDArray[np.float32]
Region = tuple[slice, slice, slice]
RunWindows = Callable[[Volume], Volume]

_SQUARE = 0.01  # relative difference of the Y and X pixel sizes that still counts as square
_ROUNDING = 1e-6  # grid pixels by which a position may miss the last input plane


def axial_step(pixel_size: Mapping[str, float]) -> float:
    """Return the distance of the planes in lateral pixels.

    Parameters
    ----------
    pixel_size
        µm by axis letter; Z, Y and X are needed.

    Returns
    -------
    Z over X pixel size, at least 1.

    Raises
    ------
    ValueError
        A size that is unknown, zero or not finite; Y and X sizes that differ by more than 1 %;
        or planes closer than the lateral pixels.

    Examples
    --------
    >>> axial_step({"Z": 1.0, "Y": 0.25, "X": 0.25})
    4.0
    """
    sizes = [pixel_size.get(letter, math.nan) for letter in "ZYX"]
    stated = ", ".join(f"{letter} {size:g}" for letter, size in pixel_size.items()) or "none"
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise ValueError(
            f"expected the pixel sizes of Z, Y and X in µm, got {stated}; give --voxel-size z,y,x"
        )
    z, y, x = sizes
    if abs(y - x) > _SQUARE * x:
        raise ValueError(
            f"expected square lateral pixels, got {stated}; resample Y or X, or correct the "
            "sizes with --voxel-size z,y,x"
        )
    if z < x:
        raise ValueError(
            f"expected planes further apart than the lateral pixels, got {stated}: the stack is "
            "already sampled finer than laterally; restore its planes without --task axial"
        )
    return z / x


def interpolate(planes: Volume, positions: NDArray[np.float64]) -> Volume:
    """Interpolate linearly between planes.

    Parameters
    ----------
    planes
        (N, Y, X), N at least 2.
    positions
        (K,) in planes; those outside 0 to N - 1 get the nearest plane.

    Returns
    -------
    (K, Y, X) float32.

    Examples
    --------
    >>> ramp = np.array([0, 10, 40], np.float32)[:, None, None]
    >>> interpolate(ramp, np.array([0.5, 1.5, 7.0]))[:, 0, 0]
    array([ 5., 25., 40.], dtype=float32)
    """
    lower = np.clip(np.floor(positions), 0, len(planes) - 2).astype(np.intp)
    weight = np.clip(positions - lower, 0, 1).astype(np.float32)[:, None, None]
    return np.asarray((1 - weight) * planes[lower] + weight * planes[lower + 1])


def resample(planes: Volume, positions: NDArray[np.float64]) -> Volume:
    """Interpolate planes by cubic convolution (Keys 1981, a = -1/2), four planes each.

    Parameters
    ----------
    planes
        (N, Y, X); the first and last planes are repeated outside.
    positions
        (K,) in planes, from 0 to N - 1.

    Returns
    -------
    (K, Y, X) float32; exact at whole positions.

    Examples
    --------
    >>> parabola = np.arange(5, dtype=np.float32)[:, None, None] ** 2
    >>> resample(parabola, np.array([2.0, 1.5]))[:, 0, 0]
    array([4.  , 2.25], dtype=float32)
    """
    lower = np.floor(positions).astype(np.intp)
    f = positions - lower
    weights = (
        f * (-0.5 + f * (1 - 0.5 * f)),
        1 + f * f * (-2.5 + 1.5 * f),
        f * (0.5 + f * (2 - 1.5 * f)),
        f * f * (-0.5 + 0.5 * f),
    )
    result = np.zeros((len(positions), *planes.shape[1:]), np.float32)
    for offset, weight in enumerate(weights, -1):
        taken = planes[np.clip(lower + offset, 0, len(planes) - 1)]
        result += weight.astype(np.float32)[:, None, None] * taken
    return result


@dataclass(frozen=True)
class AxialTask:
    """Geometry of one stack's axial restoration, and the restoration of any part of it.

    Attributes
    ----------
    stack
        Shape (Z, Y, X) of the input, at least two planes.
    step
        Distance of the input planes, in lateral pixels, at least 1; see `axial_step`.
    halo, multiple
        Receptive field of the network to each side (of its rows, which run along Z here, and its
        columns where they differ), and its down-sampling factor, in pixels.
    spacing
        Distance of the output planes, in lateral pixels: 1 for an isotropic stack, `step` to
        return to the planes of the input. Anything else resamples the restored grid, too.

    Raises
    ------
    ValueError
        Fewer than two planes, or a number out of range.

    Examples
    --------
    >>> task = AxialTask(stack=(4, 50, 60), step=3.0, halo=2, multiple=4)
    >>> task.shape
    (10, 50, 60)
    >>> task.source((slice(0, 2), slice(0, 50), slice(20, 30)))
    (slice(0, 3, None), slice(0, 50, None), slice(16, 32, None))
    """

    stack: tuple[int, int, int]
    step: float
    halo: int | tuple[int, int]
    multiple: int
    spacing: float = 1.0

    def __post_init__(self) -> None:
        if self.stack[0] < 2:
            raise ValueError(
                f"expected a stack of at least 2 planes along Z, got {self.stack[0]}; restore a "
                "single plane without --task axial"
            )
        least = min(self.halo) if isinstance(self.halo, tuple) else self.halo
        if not (self.step >= 1 and self.spacing >= 1 and least >= 0 and self.multiple >= 1):
            raise ValueError(
                "expected a step, spacing and multiple of at least 1 and a halo of at least 0, "
                f"got {self.step}, {self.spacing}, {self.multiple} and {self.halo}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (Z, Y, X) of the output, which reaches from the first input plane to the last."""
        depth = math.floor(self._depth / self.spacing + _ROUNDING) + 1
        return depth, *self.stack[1:]

    def source(self, region: Region) -> Region:
        """Return the part of the input, (Z, Y, X), that a part of the output depends on."""
        z, y, x = self._shown(region)
        positions = self._input_positions(z)
        first = min(math.floor(positions.min()), self.stack[0] - 2)
        last = min(math.floor(positions.max()) + 2, self.stack[0])
        return slice(first, last), _bounds(y), _bounds(x)

    def compute(self, source: Volume, region: Region, run_windows: RunWindows) -> Volume:
        """Restore a part of the output.

        Parameters
        ----------
        source
            The part of the input that `source(region)` names, on the network's scale.
        region
            The part of the output, (Z, Y, X).
        run_windows
            The network: windows (B, 1, Z, Y or X) to restored ones of that shape. They show the
            XZ and the YZ planes with their halo; their sides and their places on the grid are
            multiples of the network's down-sampling factor.

        Returns
        -------
        float32 of the region's shape, on the network's scale: at each pixel the mean of both
        restorations; the same for any blocking.
        """
        origin = [part.start for part in self.source(region)]
        z, y, x = self._shown(region)
        planes = source.astype(np.float32, copy=False)[:, y[:, None] - origin[1], x - origin[2]]
        block = interpolate(planes, self._input_positions(z) - origin[0])
        zy, zx = self._tiles(region)
        z_core, y_core, x_core = *zy.crop, zx.crop[1]
        xz = run_windows(block[:, y_core].swapaxes(0, 1)[:, None])[:, 0, z_core, x_core]
        yz = run_windows(np.moveaxis(block[:, :, x_core], 2, 0)[:, None])[:, 0, z_core, y_core]
        mean = (xz.swapaxes(0, 1) + np.moveaxis(yz, 0, 2)) / 2  # of (y, z, x) and (x, z, y)
        restored = np.asarray(mean, np.float32)
        if self.spacing == 1:
            return restored
        wanted = np.arange(region[0].start, region[0].stop) * self.spacing
        return resample(restored, np.minimum(wanted, self._depth) - zy.core[0].start)

    def network_pixels(self, region: Region) -> int:
        """Return how many pixels go through the network for a part of the output."""
        zy, zx = self._tiles(region)
        z, y, x = region_shape((*zy.read, zx.read[1]))
        rows, columns = region_shape((zy.core[1], zx.core[1]))
        return z * (rows * x + columns * y)

    @property
    def _depth(self) -> float:
        """Distance from the first input plane to the last, in grid pixels."""
        return (self.stack[0] - 1) * self.step

    @property
    def _grid(self) -> tuple[int, int, int]:
        """Shape of the grid; its last plane lies on the last input plane or just beyond."""
        return math.ceil(self._depth - _ROUNDING) + 1, *self.stack[1:]

    def _input_positions(self, planes: NDArray[np.intp]) -> NDArray[np.float64]:
        """Positions of grid planes, in input planes."""
        return np.minimum(planes / self.step, self.stack[0] - 1)

    def _grid_planes(self, z: slice) -> slice:
        """Grid planes that output planes are computed from."""
        if self.spacing == 1:
            return z
        first = math.floor(z.start * self.spacing) - 1
        last = math.floor((z.stop - 1) * self.spacing) + 2
        return slice(max(0, first), min(self._grid[0], last + 1))

    def _tiles(self, region: Region) -> tuple[Tile, Tile]:
        """Return what a region is on the grid's ZY and on its ZX planes."""
        grid, (_, y, x) = self._grid, region
        z = self._grid_planes(region[0])
        sides = [((grid[0], grid[1]), (z, y)), ((grid[0], grid[2]), (z, x))]
        (zy,), (zx,) = (
            plan_tiles(plane, max(plane), self.halo, self.multiple, within=part)
            for plane, part in sides
        )
        return zy, zx

    def _shown(self, region: Region) -> list[NDArray[np.intp]]:
        """Return the grid indices that the windows of a region show, by axis."""
        zy, zx = self._tiles(region)
        return [
            mirror(read, length)
            for read, length in zip((*zy.read, zx.read[1]), self._grid, strict=True)
        ]


def _bounds(indices: NDArray[np.intp]) -> slice:
    return slice(int(indices.min()), int(indices.max()) + 1)
