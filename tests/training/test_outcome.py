"""What an adaptation came to, in figures and in words."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microscopygan.datasets.folder import Pair
from microscopygan.defects.noise import Noise
from microscopygan.settings import make_settings
from microscopygan.training.gate import Interval
from microscopygan.training.outcome import listed, outcome
from microscopygan.training.real_images import Comparison, write_comparisons
from microscopygan.training.split import Split

SETTINGS = make_settings()
PLANE = np.zeros((32, 32), np.float32)


def split(names: Sequence[str], pairs: int = 0, spare: int = 0, clean: int = 9) -> Split:
    none: dict[str, list[np.ndarray]] = {name: [] for name in names}
    held_back = {n: [Pair(PLANE, PLANE, f"{k}", f"{k}") for k in range(pairs)] for n in names}
    spared = {name: [PLANE] * spare for name in names}
    return Split(tuple(names), [PLANE] * clean, none, none, {}, held_back, spared)


def validated(folder: Path, *gains: dict[str, Sequence[float]]) -> Path:
    """Write validations: the gains of each image by defect."""
    rows = [{f"{n}/{k}": v for n, some in row.items() for k, v in enumerate(some)} for row in gains]
    with (folder / "judged_images.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *rows[0]])
        writer.writeheader()
        writer.writerows({"step": 10 * k} | row for k, row in enumerate(rows))
    return folder


def test_gains_over_both_are_said(tmp_path: Path) -> None:
    validated(tmp_path, {"noise": [5.0, 6, 7, 5]}, {"noise": [6.1, 7.3, 8.2, 6.4]})
    about = outcome(tmp_path, split(["noise"], pairs=3), SETTINGS)
    assert about["kept_after_steps"] == 10
    assert about["generalist_gain_db"] == 5.75
    assert about["kept_gain_db"] == 7.0
    assert about["said"] == [
        "Kept: the adapted network, +1.25 dB (1.01 to 1.49) over the network that ships and "
        "+7.00 dB over the input, on 3 held-back pairs and 1 synthetic image."
    ]


@pytest.mark.parametrize(
    ("better", "why"),
    [
        ([-0.5] * 4, "no better."),
        ([0.0, 0.1, 0.1, 0.0], "that may be chance; more pairs would tell."),
    ],
)
def test_why_what_ships_is_kept(tmp_path: Path, better: list[float], why: str) -> None:
    validated(tmp_path, {"noise": [0.0] * 4}, {"noise": better})
    about = outcome(tmp_path, split(["noise"], pairs=4), SETTINGS)
    assert about["kept_after_steps"] == 0
    assert about["kept_gain_db"] == about["generalist_gain_db"] == 0
    (line,) = about["said"]
    assert line.startswith("Kept: the network that ships, +0.00 dB over the input.")
    assert line.endswith(f"beside it on 4 held-back pairs: {why}")


def test_a_loss_of_one_defect_is_said(tmp_path: Path) -> None:
    first = {"noise": [1.0] * 9, "axial": [1.0] * 9}
    validated(tmp_path, first, {"noise": [3.0] * 9, "axial": [0.5] * 9})
    about = outcome(tmp_path, split(["noise", "axial"], spare=9), SETTINGS)
    assert about["worse_for"] == ["axial"]
    assert about["said"][0].endswith(
        "on synthetic images of 9 held-back clean images of each defect: but worse for axial."
    )


def test_real_images_may_speak_against(tmp_path: Path) -> None:
    validated(tmp_path, {"noise": [0.0] * 9}, {"noise": [2.0] * 9})
    some = split(["noise"])
    for change, kept in ((0.5, 0), (-0.2, 10)):
        interval = Interval(change, change - 0.1, change + 0.1)
        write_comparisons(tmp_path, {"noise": Comparison(10, 2.0, interval)})
        about = outcome(tmp_path, some, SETTINGS)
        assert about["kept_after_steps"] == kept
        assert about["real_images"]["noise"]["images"] == 10
        words = "did not stand the test" in about["said"][0], "25% farther" in about["said"][1]
        assert words == (not kept, not kept)
    assert "noise: 10 defective images" in about["said"][1]
    assert "10% nearer to the clean images" in about["said"][1]


def test_what_was_not_learned_is_said_with_what_to_do(tmp_path: Path) -> None:
    about = outcome(tmp_path, split(["lowlight", "noise"]), SETTINGS)
    assert about["kept_after_steps"] == 0
    assert about["not_learned"] == ["lowlight", "noise"]
    assert about["said"][0] == (
        "Kept: the network that ships: nothing could say whether an adapted one is better."
    )
    assert "add pairs/lowlight/input/" in about["said"][1]
    assert "noise: not learned" in about["said"][2]
    assert "generalist_gain_db" not in about


def test_what_images_show_is_said(tmp_path: Path) -> None:
    some = replace(split(["odd", "noise"]), physics={"odd": [Noise(photons=9)]})
    assert "odd: physics of noise, which its images show, made its pairs." in str(
        outcome(tmp_path, some, SETTINGS)["said"]
    )


def test_noisy_images_rank_and_give_no_gain(tmp_path: Path) -> None:
    validated(tmp_path, {"noise": [0.0] * 4}, {"noise": [1.0] * 4})
    about = outcome(tmp_path, split(["noise"], spare=4, clean=0), SETTINGS)
    assert about["said"] == [
        "Kept: the adapted network, better than the one that ships on 4 noisy images.",
        "No clean image was given: the noise was learned from itself.",
    ]
    assert "kept_gain_db" not in about


def test_words_of_several_defects_are_joined() -> None:
    assert listed({}) == ""
    assert listed({"a": "1 pair"}) == "1 pair"
    assert listed({"a": "1 pair", "b": "1 pair"}) == "1 pair of each defect"
