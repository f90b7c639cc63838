"""The small tables of scores: the row of a task, gains over the input."""

import numpy as np

from microscopygan.datasets.folder import Pair
from microscopygan.evaluate.metrics import psnr_affine
from microscopygan_bench.quality import quality, quality_head, quality_row

RNG = np.random.default_rng(0)
TARGETS = RNG.random((3, 16, 16))
NOISY = TARGETS + 0.3 * RNG.standard_normal(TARGETS.shape)


def test_quality_is_that_of_the_affine_fit_over_images() -> None:
    values = [psnr_affine(t, x) for t, x in zip(TARGETS, NOISY, strict=True)]
    found = quality(TARGETS, 5 * NOISY - 2)
    assert np.isclose(found.psnr.mean, np.mean(values))
    assert np.isclose(found.psnr.sd, np.std(values, ddof=1))


def test_a_row_stands_below_its_head_and_ends_with_the_gains() -> None:
    pairs = [
        Pair(x, t, str(k), str(k)) for k, (x, t) in enumerate(zip(NOISY, TARGETS, strict=True))
    ]
    half = (NOISY + TARGETS) / 2
    row = quality_row("noise", pairs, {"input": NOISY, "better": half, "same": NOISY})
    head = quality_head(("input", "better", "same"))
    assert row.index("/") < head.index("input") + len("input") < row.index("/", row.index("/") + 1)
    better, same = row.rsplit("   ", 1)[1].split(", ")
    assert float(better) > 3
    assert same == "+0.00"
