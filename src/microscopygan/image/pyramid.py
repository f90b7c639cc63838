"""Smaller copies of an image for viewers: each pixel the mean of two by two of the level above."""

import math
from typing import Any

import numpy as np

Factors = tuple[int, ...]

SMALLEST = 512  # pixels; a pyramid ends with a level whose longer side is at most this


def next_step(shape: tuple[int, ...], axes: str) -> Factors | None:
    """Return the factors of the next level along each axis, None where it is small enough.

    Examples
    --------
    >>> next_step((5, 1, 900), "ZYX"), next_step((5, 400, 500), "ZYX")
    ((1, 1, 2), None)
    """
    if max(shape[axes.index(letter)] for letter in "YX") <= SMALLEST:
        return None
    return tuple(2 if a in "YX" and n > 1 else 1 for a, n in zip(axes, shape, strict=True))


def smaller(shape: tuple[int, ...], step: Factors) -> tuple[int, ...]:
    """Return the shape of the next level: an odd edge counts as a whole pixel.

    Examples
    --------
    >>> smaller((5, 1001), (1, 2))
    (5, 501)
    """
    return tuple(-(-n // s) for n, s in zip(shape, step, strict=True))


def mean(block: np.ndarray, step: Factors) -> np.ndarray:
    """Mean over pairs of pixels along the axes whose step is 2; integers are rounded.

    Where the number of pixels is odd, the last one pairs with itself, which keeps it.

    Examples
    --------
    >>> mean(np.array([[0, 3, 5]], np.uint8), (1, 2))
    array([[2, 5]], dtype=uint8)
    """
    small = block.dtype.kind in "ui" and block.dtype.itemsize <= 2
    total: Any = block.astype(np.int32 if small else np.float64)
    for axis in (i for i, factor in enumerate(step) if factor == 2):
        lead = (slice(None),) * axis
        first, second = total[(*lead, slice(0, None, 2))], total[(*lead, slice(1, None, 2))]
        summed = first.copy()
        summed[(*lead, slice(second.shape[axis]))] += second
        if second.shape[axis] < first.shape[axis]:
            summed[(*lead, slice(-1, None))] *= 2
        total = summed
    number = math.prod(step)
    if small:
        halved = (total + number // 2) // number
    else:
        halved = np.rint(total / number) if block.dtype.kind in "ui" else total / number
    return np.asarray(halved, block.dtype)
