"""PSNR and SSIM of restored images, as the small tables of the benchmarks print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from microscopygan.datasets.folder import Pair
from microscopygan.evaluate.metrics import psnr_affine, ssim_affine
from microscopygan.evaluate.score_table import Spread, spread

_WIDTH = 20  # of a column


class Quality(NamedTuple):
    """PSNR in dB and SSIM after an affine fit to the target, over images."""

    psnr: Spread
    ssim: Spread

    def text(self) -> str:
        """Write it as ``25.31 ± 1.20 /0.702``."""
        return f"{self.psnr.mean:6.2f} ±{self.psnr.sd:5.2f} /{self.ssim.mean:.3f}"


def quality(targets: Sequence[np.ndarray], planes: Sequence[np.ndarray]) -> Quality:
    """Score planes (Y, X) against their targets, any scale.

    Examples
    --------
    >>> target = np.random.default_rng(0).random((2, 16, 16))
    >>> quality(target, 3 * target - 1).ssim.text(3)
    '1.000 ± 0.000'
    """
    both = [(t, plane) for t, plane in zip(targets, planes, strict=True)]
    return Quality(
        spread([psnr_affine(*pair) for pair in both]), spread([ssim_affine(*pair) for pair in both])
    )


def quality_head(methods: Sequence[str]) -> str:
    """Write the head of a table of `quality_row`."""
    return f"{'':8} {' '.join(f'{name:>{_WIDTH}}' for name in methods)}   gain dB"


def quality_row(
    task: str, pairs: Sequence[Pair], restored: Mapping[str, Sequence[np.ndarray]]
) -> str:
    """Write the quality by method, the input's first, and what the others gain over it.

    Parameters
    ----------
    task
        Name of the row.
    pairs
        With the targets.
    restored
        Planes by method, the input among them.
    """
    targets = [pair.target for pair in pairs]
    scores = {name: quality(targets, planes) for name, planes in restored.items()}
    gains = {name: q.psnr.mean - scores["input"].psnr.mean for name, q in scores.items()}
    del gains["input"]
    cells = " ".join(f"{q.text():>{_WIDTH}}" for q in scores.values())
    return f"{task:8} {cells}   {', '.join(f'{gain:+.2f}' for gain in gains.values())}"
