"""What the training of a baseline gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trained:
    """A trained restorer.

    Attributes
    ----------
    restore
        A plane (Y, X) of any size, on about 0..1 and not clipped, to the restored plane: same
        shape and scale, float32. The same plane gives the same result each time.
    parameters
        Number of parameters of the network that restores; those needed for training only do not
        count.
    steps
        Number of updates of that network.
    """

    restore: Callable[[np.ndarray], np.ndarray]
    parameters: int
    steps: int
