import pytest

from microscopygan.diagnosis.parameters import STAGES, parameters
from microscopygan.diagnosis.sessions import session, stages_of


@pytest.mark.parametrize("name", ["encoder.onnx", "stages.onnx"])
def test_a_file_is_opened_once(name: str) -> None:
    assert session(name) is session(name)


def test_the_files_that_ship_know_every_stage_and_parameter() -> None:
    assert stages_of("stages.onnx") == STAGES
    known = stages_of("encoder.onnx")
    assert tuple(stage["name"] for stage in known) == STAGES
    bins = {(p.stage, p.name): p.bins for p in parameters()}
    assert {(s["name"], n): b for s in known for n, b in s["parameters"].items()} == bins
