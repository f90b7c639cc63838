"""The record of a run, and the card of its model, say what was trained on what."""

import json
from pathlib import Path

import numpy as np

from microscopygan.gan.networks import build_restorer
from microscopygan.settings import make_settings
from microscopygan.training.record import describe, model_card, parameter_count
from microscopygan.training.split import Split
from microscopygan.training.stages import Trained

PLANES = [np.zeros((32, 32), np.float32)] * 3
SETTINGS = make_settings(start="scratch")


def split(name: str) -> Split:
    none: dict[str, list] = {name: []}
    return Split((name,), PLANES, none, {name: PLANES[:2]}, none, none)


def test_the_card_has_the_defect_that_a_label_means_and_what_it_was_trained_on() -> None:
    card = model_card(split("Noise_2023"), SETTINGS, 7)
    assert card.defects == ("noise",)
    assert card.planes == SETTINGS.restorer.architecture.planes
    assert min(card.halo) > 0
    assert card.training["steps"] == 7
    assert card.training["unpaired"] == {"Noise_2023": 2}
    assert model_card(split("odd"), SETTINGS, 7).defects == ("odd",)


def test_the_record_adds_the_seconds_of_stages_that_were_run_before(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"seconds": {"defects": 3.0}}))
    trained = Trained(tmp_path, SETTINGS, split("odd"), None, None, None, {"restorer": 1.23})
    describe(trained)
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["seconds"] == {"defects": 3.0, "restorer": 1.2}
    assert about["dataset"]["defects"]["odd"] == {
        **{"unpaired": 2, "pairs": 0},
        **{"validation": 0, "test": 0},
    }
    network = build_restorer(SETTINGS.restorer.architecture)
    assert about["parameters"]["restorer"] == sum(p.numel() for p in network.parameters())
    assert parameter_count(SETTINGS.restorer.architecture) == about["parameters"]["restorer"]
