"""Classical restoration, the bar a trained network has to beat: no learning, no training data."""

import numpy as np
from numpy.typing import NDArray

from ..defects import kind_of
from ..defects.classical import non_local_means

Plane = NDArray[np.float32]


def classical(plane: Plane, defect: str) -> Plane:
    """Restore one plane by the classical method of its defect.

    Parameters
    ----------
    plane
        (Y, X) float32, about 0..1 after the percentile normalisation, not clipped.
    defect
        Its label; `non_local_means` restores one that names no single defect.

    Returns
    -------
    (Y, X) float32 on the same scale.

    Raises
    ------
    ValueError
        Not a plane, smaller than 8 x 8, or NaN or infinity in it.
    """
    values = np.asarray(plane, np.float32)
    if values.ndim != 2 or min(values.shape) < 8:
        raise ValueError(
            f"expected a plane (Y, X) of at least 8 x 8 pixels, got shape {values.shape}; "
            "restore stacks plane by plane"
        )
    if not np.isfinite(values).all():
        raise ValueError("expected finite pixels, got NaN or infinity; mask or replace them first")
    kind = kind_of(defect)
    return kind.classical(values) if kind else non_local_means(values)
