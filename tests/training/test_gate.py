"""The gate: what is kept is surely better than the first, and close to the best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microscopygan.training.gate import (
    LOSS,
    Validated,
    gain_over,
    is_better,
    kept_row,
    last_close,
    mean_of,
)


def rows(*gains: float, images: int = 30) -> list[Validated]:
    """Validations of two defects, the gains alike in all images of each."""
    some = [{"noise": np.full(images, g - 1), "axial": np.full(images, g + 1)} for g in gains]
    return [Validated(step, each) for step, each in enumerate(some)]


@pytest.mark.parametrize(
    ("gains", "kept"),
    [
        ((1.0, 2.0, 1.95, 1.8), 2),  # the last that is within 0.1 dB of the best
        ((1.0, 0.95), 0),  # none worse than the first
        ((1.0, 1.2, 0.99, 1.15), 3),
        ((1.0, 2.0, 1.0, 2.5), 3),
        ((1.0, 1.01), 0),  # so little may be chance
    ],
)
def test_the_last_state_close_to_the_best_is_kept(gains: tuple[float, ...], kept: int) -> None:
    assert kept_row(rows(*gains), 0.1).step == kept


def test_one_image_decides_by_far_more_than_images_differ() -> None:
    assert kept_row(rows(0.0, 0.5, images=1), 0.1).step == 0
    assert kept_row(rows(0.0, 3.0, images=1), 0.1).step == 1
    assert kept_row(rows(0.0, 0.5, images=10), 0.1).step == 1


def test_an_outlier_among_few_images_keeps_the_first() -> None:
    first = Validated(0, {"noise": np.zeros(4)})
    assert not is_better(Validated(1, {"noise": np.array([0.3, 0.2, 0.3, -2.0])}), first)
    assert not is_better(Validated(1, {"noise": np.array([-0.3, -0.2, -0.3, 4.0])}), first)
    assert is_better(Validated(1, {"noise": np.array([0.3, 0.8, 0.5, 0.7])}), first)


def test_no_defect_pays_for_another() -> None:
    first = Validated(0, {"noise": np.zeros(20), "axial": np.zeros(20)})
    for loss, better in ((LOSS / 2, True), (2 * LOSS, False)):
        gains = {"noise": np.full(20, 2.0), "axial": np.full(20, -loss)}
        assert is_better(Validated(1, gains), first) is better


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(-3, 3))
def test_an_interval_holds_its_mean_and_moves_with_it(values: list[float], more: float) -> None:
    first = Validated(0, {"noise": np.zeros(len(values))})
    for interval in (
        lambda v: gain_over(Validated(1, {"noise": v}), first),
        mean_of,
    ):
        low, high = interval(np.array(values)), interval(np.array(values) + more)
        assert low.low <= low.mean <= low.high
        np.testing.assert_allclose(np.array(high), np.array(low) + more, atol=1e-9)


def test_more_images_say_more() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (1, 4, 16, 64):
        first = Validated(0, {"noise": np.zeros(count)})
        interval = gain_over(Validated(1, {"noise": rng.normal(0.5, 0.3, count)}), first)
        widths.append(interval.high - interval.low)
    assert sorted(widths, reverse=True) == widths


def test_ninety_percent_of_means_lie_above_the_lower_end() -> None:
    rng = np.random.default_rng(1)
    first = Validated(0, {"noise": np.zeros(6)})
    lows = [
        gain_over(Validated(1, {"noise": rng.normal(0, 0.5, 6)}), first).low for _ in range(999)
    ]
    assert 0.87 < np.mean(np.array(lows) < 0) < 0.96


def test_without_a_network_to_beat_the_last_close_one_is_kept() -> None:
    assert last_close(rows(1.0, 1.01), 0.1).step == 1
    assert last_close(rows(1.0, 0.5), 0.1).step == 0
