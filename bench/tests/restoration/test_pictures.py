"""Pictures: a row for each sample, a column for each method, on the target's grey scale."""

from __future__ import annotations

import numpy as np

from microscopygan_bench.restoration import pictures, samples
from microscopygan_bench.restoration.pictures import FOOT, GAP, HEAD, SHOWN


def test_a_column_that_is_the_target_looks_like_it() -> None:
    targets = samples.clean()
    drawn = np.asarray(pictures.sheet({"a long name of a method": 3 * targets + 1}, targets))
    assert drawn.shape == (HEAD + 3 * (SHOWN + FOOT), 2 * SHOWN + GAP)
    for row in range(3):
        top = HEAD + row * (SHOWN + FOOT)
        left, right = (drawn[top : top + SHOWN, x : x + SHOWN] for x in (0, SHOWN + GAP))
        assert np.abs(left.astype(int) - right).max() <= 1
        assert left.std() > 20
