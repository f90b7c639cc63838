"""Structures that a restoration invents or loses, where the truth is known."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

_FINE, _COARSE = 1.0, 3.0  # σ of the difference of Gaussians: beads and lines of some pixels
_NEAR = 2  # pixels that a structure may be displaced


class StructureErrors(NamedTuple):
    """False and missed structures per 1000 pixels, and how many there are."""

    false: float
    missed: float
    true: float


def structure_errors(
    image: NDArray[np.floating], truth: NDArray[np.floating], contrast: float
) -> StructureErrors:
    """Count the structures of an image that are not there, and those there that it lacks.

    A structure is a local maximum, within 5 × 5 pixels, of the difference of two Gaussians (σ 1
    and 3 pixels) above `contrast`: a bead, or a point on a line. It is false where the truth
    comes to less than half of that within two pixels, and missed where the image does.

    Parameters
    ----------
    image, truth
        Planes (Y, X) on one intensity scale.
    contrast
        Difference to its surroundings that makes a structure, in units of that scale.

    Returns
    -------
    StructureErrors
        Each per 1000 pixels.

    Raises
    ------
    ValueError
        Other than two planes of one shape, or a contrast that is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.zeros((20, 50))
    >>> truth[10, 10] = truth[10, 40] = 1
    >>> image = np.roll(truth, 1, axis=1)
    >>> image[:, 35:] = 0
    >>> image[10, 25] = 1
    >>> structure_errors(image, truth, 0.1)
    StructureErrors(false=1.0, missed=1.0, true=2.0)
    """
    if np.ndim(image) != 2 or np.shape(image) != np.shape(truth):
        raise ValueError(
            f"expected two planes (Y, X) of one shape, got {np.shape(image)} and {np.shape(truth)}"
        )
    if not contrast > 0:
        raise ValueError(f"contrast: expected more than 0, got {contrast}")
    found, there = _response(image), _response(truth)
    per = 1000 / found.size
    return StructureErrors(
        per * _unmatched(found, there, contrast),
        per * _unmatched(there, found, contrast),
        per * int(_structures(there, contrast).sum()),
    )


def _response(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(plane, np.float64)
    return np.asarray(gaussian_filter(values, _FINE) - gaussian_filter(values, _COARSE))


def _structures(response: NDArray[np.float64], contrast: float) -> NDArray[np.bool_]:
    return np.asarray((response == maximum_filter(response, 5)) & (response > contrast))


def _unmatched(response: NDArray[np.float64], other: NDArray[np.float64], contrast: float) -> int:
    """Count the structures of one response that the other has nothing near of."""
    near = maximum_filter(other, 2 * _NEAR + 1)
    return int((_structures(response, contrast) & (near < contrast / 2)).sum())
