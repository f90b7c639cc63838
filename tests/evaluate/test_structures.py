"""Structures that are invented or lost are counted, where they are and nowhere else."""

import numpy as np
import pytest

from microscopygan.evaluate.structures import structure_errors

SPOTS = [(10, 12), (30, 14), (20, 40), (33, 55)]


def beads(*places: tuple[int, int]) -> np.ndarray:
    plane = np.zeros((48, 64))
    for place in places:
        plane[place] = 1.0
    return plane


def test_the_truth_has_no_errors() -> None:
    found = structure_errors(beads(*SPOTS), beads(*SPOTS), 0.05)
    assert found[:2] == (0, 0)
    assert found.true == pytest.approx(1000 * len(SPOTS) / (48 * 64))


@pytest.mark.parametrize("kept", range(len(SPOTS) + 1))
def test_what_one_lacks_the_other_has_invented(kept: int) -> None:
    whole, part = beads(*SPOTS), beads(*SPOTS[:kept])
    lost, invented = structure_errors(part, whole, 0.05), structure_errors(whole, part, 0.05)
    assert lost.missed == invented.false == pytest.approx(1000 * (len(SPOTS) - kept) / whole.size)
    assert lost.false == invented.missed == 0


def test_a_shift_of_two_pixels_is_none_of_four_is_both() -> None:
    truth = beads(*SPOTS)
    assert structure_errors(np.roll(truth, 2, 1), truth, 0.05)[:2] == (0, 0)
    false, missed, true = structure_errors(np.roll(truth, 4, 1), truth, 0.05)
    assert false == missed == true


def test_offset_changes_nothing_and_scale_goes_with_contrast() -> None:
    image, truth = beads(*SPOTS[:2], (5, 50)), beads(*SPOTS)
    expected = structure_errors(image, truth, 0.05)
    assert structure_errors(image + 3, truth - 7, 0.05) == expected
    assert structure_errors(8 * image, 8 * truth, 0.4) == expected
    assert structure_errors(image, truth, 2.0) == (0, 0, 0)


@pytest.mark.parametrize(
    ("image", "truth", "contrast", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 5)), 1, r"of one shape, got \(4, 4\) and \(4, 5\)"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), 1, "expected two planes"),
        (np.zeros((4, 4)), np.zeros((4, 4)), 0, "contrast: expected more than 0, got 0"),
        (np.zeros((4, 4)), np.zeros((4, 4)), np.nan, "contrast: expected more than 0"),
    ],
)
def test_refusals(image, truth, contrast, message) -> None:
    with pytest.raises(ValueError, match=message):
        structure_errors(image, truth, contrast)
