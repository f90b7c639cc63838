import numpy as np

from microscopygan.diagnosis.features import count, set_count
from microscopygan.diagnosis.parameters import STAGES
from microscopygan.diagnosis.trees import stage_logits, tree_inputs


def inputs(clean: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    numbers, of_set = rng.random((3, count()), np.float32), rng.random(set_count(), np.float32)
    return tree_inputs(
        numbers, of_set, numbers[:clean] + 1, of_set + 2, np.zeros(len(STAGES), np.float32)
    )


def test_without_clean_images_nothing_differs_from_them() -> None:
    alone, beside = inputs(0), inputs(2)
    assert alone.shape == beside.shape
    assert alone[0] == 0
    assert beside[0] == 1
    apart = slice(1 + 2 * count(), 1 + 3 * count())
    assert not alone[apart].any()
    assert np.allclose(beside[apart].mean(), -1, atol=0.2)
    assert np.count_nonzero(alone != beside) == 1 + count() + set_count()


def test_the_trees_that_ship_give_log_odds_of_every_stage() -> None:
    logits = stage_logits(np.stack([inputs(0), inputs(2)]))
    assert logits.shape == (2, len(STAGES))
    assert np.isfinite(logits).all()
