"""The benchmark of diagnoses: its counts, on laboratories whose truth is known."""

import numpy as np
import pytest

from microscopygan.diagnosis import Diagnosis, Finding, Posterior
from microscopygan.diagnosis.parameters import STAGES, parameters
from microscopygan.settings import LaboratorySettings
from microscopygan.training.laboratories import FAINT, Specimens, draw_laboratory
from microscopygan_bench.diagnosis import Case, f1, interval_table, stage_table

SETTINGS = LaboratorySettings(images=1, alike=1, stacks=0.0, simulated=1.0)


def perfect(laboratory) -> Diagnosis:
    """Say the truth, sharply."""
    findings = []
    for index, stage in enumerate(STAGES):
        posteriors = {}
        for parameter, position in zip(parameters(), laboratory.position, strict=True):
            if parameter.stage == stage:
                place = min(int(np.nan_to_num(position) * parameter.bins), parameter.bins - 1)
                weights = np.eye(parameter.bins)[place]
                posteriors[parameter.name] = Posterior(parameter, weights)
        there = laboratory.strength[index] < FAINT
        findings.append(Finding(stage, float(there), posteriors))
    return Diagnosis(tuple(findings), 1)


def test_a_diagnosis_that_says_the_truth_scores_one() -> None:
    some = [
        draw_laboratory(Specimens([], SETTINGS), SETTINGS, np.random.default_rng(seed))
        for seed in range(12)
    ]
    lines = stage_table([Case(laboratory, perfect(laboratory)) for laboratory in some])
    assert len(lines) == len(STAGES) + 3
    assert all(line.endswith("| 1.00 |") for line in lines[2:])
    (said,) = interval_table([Case(laboratory, perfect(laboratory)) for laboratory in some])
    share = float(said.split("hold ")[1].split(" %")[0])
    assert share > 75


@pytest.mark.parametrize(("counts", "score"), [((8, 2, 2), 0.8), ((0, 0, 0), 1.0), ((0, 3, 1), 0)])
def test_f1(counts, score) -> None:
    assert f1(*counts) == score
