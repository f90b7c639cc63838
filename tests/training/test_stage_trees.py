from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from microscopygan.diagnosis.features import count, set_count
from microscopygan.diagnosis.parameters import STAGES
from microscopygan.settings import LaboratorySettings, StageTreeSettings
from microscopygan.training.laboratories import FAINT, Specimens, draw_laboratory
from microscopygan.training.stage_trees import Examples, examples, export_trees, fit_trees

FEW = StageTreeSettings(trees=8, samples_a_leaf=5, share=1.0)


@pytest.fixture(scope="module")
def known() -> Examples:
    """A stage is there where its input is above 0; those between are faint."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, len(STAGES))).astype(np.float32)
    strength = np.select([inputs > 0.3, inputs > 0], [20.0, 50.0], FAINT)
    return Examples(inputs, strength.astype(np.float32))


def test_the_file_gives_the_log_odds_of_the_trees(known: Examples, tmp_path: Path) -> None:
    fitted = fit_trees(known, FEW)
    export_trees(fitted, tmp_path / "stages.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "stages.onnx")
    logits = session.run(None, {"inputs": known.inputs})[0]
    theirs = np.stack([trees.decision_function(known.inputs) for trees in fitted], axis=1)
    assert np.allclose(logits, theirs, atol=1e-5)


def test_trees_learn_what_is_there_and_leave_the_faint_out(known: Examples) -> None:
    for index, trees in enumerate(fit_trees(known, FEW)):
        said = trees.predict(known.inputs)
        clear = (known.inputs[:, index] > 0.3) | (known.inputs[:, index] < 0)
        assert (said == (known.strength[:, index] < FEW.faint))[clear].mean() > 0.95


@pytest.mark.parametrize("images", [8, 2])
def test_a_laboratory_gives_sets_of_several_sizes(images: int) -> None:
    settings = LaboratorySettings(images=images, alike=2, simulated=1.0, stacks=0.0)
    drawn = draw_laboratory(Specimens([], settings), settings, np.random.default_rng(3))
    found = examples(drawn)
    rows = 3 if images == 8 else 2
    assert found.inputs.shape == (rows, 1 + 3 * count() + 2 * set_count() + len(STAGES))
    assert found.strength.shape == (rows, len(STAGES))
    assert np.isfinite(found.inputs).all()
