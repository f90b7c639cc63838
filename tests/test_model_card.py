"""The card: what is written is read, version 1 is upgraded, all else is refused in one line."""

import json

import onnxruntime
import pytest

from microscopygan.diagnosis.parameters import STAGES
from microscopygan.model_card import KEY, ModelCard
from microscopygan.restoration.models import GENERALIST, MODELS

# As it was written before version 2.
VERSION_1 = (
    '{"format_version":1,"program":"0.1.0","halo":25,"multiple":4,"tileable":true,"low":1.0,'
    '"high":99.8,"defects":["noise","lowres"],"hints":["noise"],"training":{"preset":"default",'
    '"start":"generalist","alpha":0.5,"cin_gan":0.0,"steps":600,"seed":0,"pairs":{"noise":2},'
    '"unpaired":{"noise":4}},"licence":"MIT (weights); the training data keep their own licences"}'
)


def test_what_is_written_is_read() -> None:
    card = ModelCard(
        name="fine",
        program="0.2",
        planes=5,
        outputs=("mean", "lower", "upper"),
        halo=(33, 17),
        multiple=4,
        bytes_per_pixel=300,
        parameters=7,
        defects=("noise", "axial"),
        hints=("axial",),
        training={"steps": 3},
    )
    assert ModelCard.from_json(card.model_dump_json(), "m.onnx") == card
    assert json.loads(card.model_dump_json())["format_version"] == 2


def test_a_card_of_version_1_is_upgraded() -> None:
    card = ModelCard.from_json(VERSION_1, "runs/a/restorer.onnx")
    assert (card.format_version, card.name) == (2, "restorer")
    assert (card.planes, card.outputs, card.halo) == (1, ("mean",), (25, 25))
    assert (card.bytes_per_pixel, card.parameters) == (280, None)
    stated = json.loads(VERSION_1)
    kept = ("program", "multiple", "tileable", "low", "high", "training", "licence")
    assert all(getattr(card, name) == stated[name] for name in kept)
    assert (card.defects, card.hints) == (("noise", "lowres"), ("noise",))
    paper = json.loads(VERSION_1) | {"tileable": False, "halo": 0}
    assert ModelCard.from_json(json.dumps(paper), "m.onnx").bytes_per_pixel == 1800


def test_the_card_of_the_model_that_ships() -> None:
    path = MODELS[GENERALIST].path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card = ModelCard.from_json(session.get_modelmeta().custom_metadata_map[KEY], path.name)
    assert (card.name, card.halo, card.multiple) == ("generalist", (33, 33), 4)
    assert card.hints == STAGES
    assert card.planes == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "metadata are damaged"),
        ("[1]", "metadata are damaged"),
        ('{"format_version": 3}', "expected model format 1 or 2, got 3; update"),
        (VERSION_1.replace("25", '"far"'), r"format 1, but its halo\.0 is not valid"),
        (VERSION_1.replace("multiple", "several"), "is not valid"),
        ('{"format_version": 2, "program": "0", "halo": [3], "multiple": 4}', "is not valid"),
    ],
)
def test_what_is_no_card_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^m\.onnx: .*{message}") as caught:
        ModelCard.from_json(text, "m.onnx")
    assert "\n" not in str(caught.value)
