"""Few pairs: what is trained on is never scored."""

import argparse

import numpy as np
import pytest

from microscopygan.datasets.folder import Dataset, Pair
from microscopygan_bench.few_pairs import deal


def dataset(count: int) -> Dataset:
    plane = np.zeros((4, 4), np.float32)
    pairs = {
        name: [Pair(plane, plane, f"{name}#{k}", f"{name}#{k}") for k in range(count)]
        for name in ("noise", "axial")
    }
    return Dataset([], {}, pairs, pairs)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("pairs", [0, 3])
def test_scored_pairs_are_not_trained_on(pairs: int, noisy: bool) -> None:
    options = argparse.Namespace(draw=1, part="validation", pairs=pairs, noisy=noisy)
    data, scored = deal(dataset(100), options)
    for name, some in scored.items():
        trained = data.defective[name] if noisy else data.pairs[name]
        assert len(some) == 60
        assert len(trained) == (pairs or 40)
        assert not {p.name for p in some} & {p.name for p in trained}
    assert set(scored) == ({"noise"} if noisy else {"noise", "axial"})


def test_the_test_part_is_scored_as_it_is() -> None:
    data = dataset(5)
    options = argparse.Namespace(draw=0, part="test", pairs=2, noisy=False)
    assert deal(data, options)[1] is data.test
