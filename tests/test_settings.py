"""Settings: bounds, where they come from, and that what was saved can be read for ever."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from microscopygan.settings import (
    STARTS,
    DefectSettings,
    GeneratorArchitecture,
    RestorerArchitecture,
    RestorerSettings,
    Settings,
    combine_settings,
    from_saved,
    make_settings,
    parse_change,
)

EARLIER = Path(__file__).parent / "earlier_run"  # written by version 0.1.0, before the architecture


def models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model of settings and those within it."""
    yield kind
    for field in kind.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from models(field.annotation)


@pytest.mark.parametrize("kind", list(models(Settings)), ids=lambda kind: kind.__name__)
def test_every_field_has_a_default_a_description_and_bounds(kind: type[BaseModel]) -> None:
    for name, field in kind.model_fields.items():
        assert not field.is_required(), name
        if field.annotation in (int, float):
            assert field.metadata, f"{name} has no bounds"
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            assert field.description, name
    assert kind() == kind.model_validate(kind().model_dump(mode="json"))


def test_the_presets_differ_as_they_say() -> None:
    default, paper = make_settings(), make_settings("paper")
    scratch = make_settings(start="scratch")
    assert default.start == "generalist"
    assert scratch == Settings(start="scratch")
    assert (paper.preset, paper.start) == ("paper", "scratch")
    assert paper.defects.adversarial == "wgan-gp"
    assert default.restorer.steps < scratch.restorer.steps
    with pytest.raises(ValueError, match="preset: expected one of default, paper, got 'huge'"):
        make_settings("huge")


def test_each_source_overrides_those_before_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'preset = "paper"\nseed = 3\nalpha = 0.2\n[restorer]\nsteps = 7\nbatch = 2\npatch = 96\n'
    )
    options = {"seed": 5, "alpha": None, "restorer.steps": None}
    found = combine_settings(file, ["restorer.batch=4", "seed=4", "restorer.steps = 9"], options)
    assert found.preset == "paper"
    assert (found.seed, found.alpha) == (5, 0.2)
    assert (found.restorer.steps, found.restorer.batch, found.restorer.patch) == (9, 4, 96)
    assert found.restorer.content_weight == make_settings("paper").restorer.content_weight
    assert combine_settings(file, [], {"preset": "default"}).preset == "default"
    assert combine_settings(None, [], {}) == make_settings()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("restorer.content_weight=0.3", {"restorer": {"content_weight": 0.3}}),
        ("defects.physics = false", {"defects": {"physics": False}}),
        ("restorer.adversarial=bce", {"restorer": {"adversarial": "bce"}}),
        (
            "restorer.architecture.channels=[4, 6, 8]",
            {"restorer": {"architecture": {"channels": [4, 6, 8]}}},
        ),
    ],
)
def test_a_change_is_read_as_toml_or_a_word(text: str, value: dict[str, object]) -> None:
    assert parse_change(text) == value


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"alpha": 1.5}, "alpha: expected a value less than or equal to 1, got 1.5"),
        ({"restorer.steps": 0}, "restorer.steps: expected a value greater than or equal to 1"),
        ({"restorer.steps": "many"}, "restorer.steps: expected a valid integer"),
        ({"restorer.adversarial": "wgan"}, "restorer.adversarial: expected 'hinge' or 'bce'"),
        ({"restorer.tempo": 1}, "restorer: expected one of steps, batch, .*, got 'tempo'"),
        ({"match_pairs": True}, "settings: expected one of preset, .*, got 'match_pairs'"),
        ({"restorer": 3}, "restorer: "),
        ({"sampling.zoom": (2, 1)}, r"sampling\.zoom: expected the least first, got \(2, 1\)"),
    ],
)
@pytest.mark.parametrize("start", STARTS)
def test_bad_settings_get_one_line_with_the_bound(
    changes: dict[str, object], line: str, start: str
) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        make_settings("default", start, **changes)
    assert "\n" not in str(caught.value)


def test_a_resnet_sees_single_planes() -> None:
    architecture = {"network": "resnet", "planes": 3}
    with pytest.raises(
        ValueError, match=r"architecture\.planes: expected 1 for a resnet, .*, got 3"
    ):
        make_settings("default", "scratch", **{"restorer.architecture": architecture})


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("steps: 3")
    with pytest.raises(ValueError, match=r"a\.toml: expected settings in TOML"):
        combine_settings(tmp_path / "a.toml", [], {})
    with pytest.raises(ValueError, match="expected name=value"):
        parse_change("restorer.steps")


def test_the_generalist_keeps_its_architecture() -> None:
    with pytest.raises(ValueError, match=r"restorer\.architecture: expected none to adapt"):
        make_settings(**{"restorer.architecture.channels": (4, 4, 4)})
    narrow = make_settings(start="scratch", **{"restorer.architecture.channels": (4, 4, 4)})
    assert narrow.restorer.architecture == RestorerArchitecture(channels=(4, 4, 4))


def test_settings_of_an_earlier_run_are_read() -> None:
    found = Settings.from_saved((EARLIER / "settings.json").read_text())
    assert found.defects.architecture == GeneratorArchitecture(channels=4, blocks=1)
    assert found.restorer.architecture == RestorerArchitecture(channels=(4, 4, 4), blocks=2)
    assert (found.seed, found.restorer.steps, found.restorer.patch) == (2, 12, 32)
    assert (found.defects.adversarial_weight, found.restorer.content_weight) == (0.3, 0.3)
    assert found == Settings.from_saved(found.model_dump_json())


def test_saved_settings_may_have_more_and_less() -> None:
    """A field that is no more is left out, a new one has its default; users get no such grace."""
    saved = json.loads(make_settings("paper", seed=3).model_dump_json())
    del saved["restorer"]["steps"], saved["cin_gan"], saved["defects"]["architecture"]["blocks"]
    saved["tempo"] = saved["restorer"]["tempo"] = 1
    found = Settings.from_saved(json.dumps(saved))
    assert found.restorer.steps == RestorerSettings().steps
    assert found.defects.architecture.network == "resnet"
    assert found.defects.architecture.blocks == GeneratorArchitecture().blocks
    assert found.seed == 3
    with pytest.raises(ValueError, match="tempo"):
        make_settings(tempo=1)
    with pytest.raises(ValueError, match="less than or equal"):
        from_saved(DefectSettings, {"batch": 9999})
    with pytest.raises(ValueError, match="expected a JSON object"):
        Settings.from_saved("[]")
