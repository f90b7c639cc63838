"""Comparison of real pairs with trials, which says far more than unpaired images do.

The clean image of each pair is degraded with trial parameters and compared with its defective
one, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microscopygan.defects.statistics import normalised
from microscopygan.image.intensity import fit_affine

Plane = NDArray[np.float32]
Pairs = Sequence[tuple[NDArray[np.generic], NDArray[np.generic]]]

PAIRS = 16  # pairs looked at, at most
CROP = 128  # pixels
COARSE, FINE = 6, 24  # trial widths of a point spread function
GRAIN = 5  # pixels; the noise of binned pixels reaches further


def comparable_crops(pairs: Pairs, rng: np.random.Generator) -> list[tuple[Plane, Plane]]:
    """Cut the middle of some pairs, drawn at random: (defective, normalised clean).

    Raises
    ------
    ValueError
        No pairs.
    """
    if not pairs:
        raise ValueError("expected pairs to calibrate on, got none; add some, or calibrate blindly")
    drawn = rng.permutation(len(pairs))[:PAIRS]
    return [(_middle(pairs[i][0]), normalised(_middle(pairs[i][1]))) for i in drawn]


def residual(image: Plane, model: Plane) -> Plane:
    """What the model, fitted by gain and offset, leaves of an image."""
    return fit_affine(model, image).residual(model, image)


def share_left(image: Plane, model: Plane) -> float:
    """Share of the image's variance that the model leaves."""
    left = float(residual(image, model).var())
    return max(left / max(float(image.var()), 1e-12), 1e-9)


def autocorrelation(residual: Plane) -> NDArray[np.float64]:
    """Autocorrelation of a residual at lags of 1 to GRAIN pixels."""
    whole = max(float((residual**2).mean()), 1e-12)
    lags = range(1, GRAIN + 1)
    down = [float((residual[lag:] * residual[:-lag]).mean()) for lag in lags]
    right = [float((residual[:, lag:] * residual[:, :-lag]).mean()) for lag in lags]
    return np.asarray((np.array(down) + np.array(right)) / 2 / whole)


def _middle(plane: NDArray[np.generic]) -> Plane:
    y, x = (max(0, (side - CROP) // 2) for side in plane.shape)
    return np.asarray(plane[y : y + CROP, x : x + CROP], np.float32)
