"""The trees that say which stages spoil a set of images, run without scikit-learn.

They weigh what is measured on each image, on the set and on clean images beside it, and what the
set encoder says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .sessions import session, stages_of

_FILE = "stages.onnx"

Numbers = NDArray[np.float32]
Floats = NDArray[np.float64]


def tree_inputs(
    numbers: Numbers, of_set: Numbers, clean_numbers: Numbers, of_clean: Numbers, said: Floats
) -> Numbers:
    """Join what is known of a set of images at one place.

    Parameters
    ----------
    numbers : array, shape (N, count())
        Of `diagnosis.features.features`, of each image.
    of_set : array, shape (set_count(),)
        Of `diagnosis.features.set_features`, of all.
    clean_numbers, of_clean : arrays, shape (M, count()) and (set_count(),)
        The same of clean images; M is 0 and the other anything where there are none.
    said : array, shape (S,)
        Logits of the set encoder.

    Returns
    -------
    array, shape (I,), float32
        Middle and spread over the images, and by how much they differ from clean ones.
    """
    middle, known = numbers.mean(axis=0), len(clean_numbers) > 0
    apart, set_apart = np.zeros_like(middle), np.zeros_like(of_set)
    if known:
        apart, set_apart = middle - clean_numbers.mean(axis=0), of_set - of_clean
    spread = numbers.std(axis=0)
    parts = ([known], middle, spread, apart, of_set, set_apart, said)
    return np.concatenate(parts, dtype=np.float32)


def stage_names() -> tuple[str, ...]:
    """Return the stages that the trees know, in the order of their logits."""
    return stages_of(_FILE)


def stage_logits(inputs: Numbers) -> Floats:
    """Return the log odds of each stage, (L, S), of inputs (L, I), see :func:`tree_inputs`."""
    return np.asarray(session(_FILE).run(None, {"inputs": inputs})[0], np.float64)
