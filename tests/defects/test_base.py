"""Laws that every defect of the package keeps."""

import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from microscopygan.defects import Symmetry, all_defects, kind_of, parts_of, symmetry_of
from microscopygan.defects.axial import Axial
from microscopygan.defects.base import Defect, Place
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.settings import COMMON


@pytest.mark.parametrize("kind", all_defects().values(), ids=all_defects())
def test_draws_stay_in_range_and_apply(kind) -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((32, 40)).astype(np.float32)
    before = plane.copy()
    for _ in range(30):
        drawn = kind.draw(rng)
        moved = drawn.jitter(rng, 0.3)
        for name, interval in kind.ranges.items():
            for value in (getattr(drawn, name), getattr(moved, name)):
                slack = 1e-3 * max(abs(interval.low), abs(interval.high))
                assert interval.low - slack <= value <= interval.high + slack
    got = drawn.apply(plane, np.random.default_rng(3))
    assert got.shape == plane.shape
    assert got.dtype == np.float32
    assert np.array_equal(got, drawn.apply(plane, np.random.default_rng(3)))
    assert np.array_equal(plane, before)


@pytest.mark.parametrize("kind", all_defects().values(), ids=all_defects())
def test_ranges_invert(kind) -> None:
    for interval in kind.ranges.values():
        for place in (0.05, 0.5, 0.95):
            value = interval.value(place)
            assert interval.value(interval.position(value)) == pytest.approx(value)


@pytest.mark.parametrize("kind", all_defects().values(), ids=all_defects())
def test_a_defect_says_all_that_the_program_asks(kind) -> None:
    assert kind.__module__ == f"microscopygan.defects.{kind.name}"
    assert isinstance(kind.place, Place)
    assert isinstance(kind.symmetry, Symmetry)
    assert kind.ranges.keys() <= kind.model_fields.keys()
    assert all(field.description for field in kind.model_fields.values())
    words = kind.draw(np.random.default_rng(0)).describe()
    assert any(letter.isdigit() for letter in words)
    assert "\n" not in words


@pytest.mark.parametrize("kind", all_defects().values(), ids=all_defects())
def test_a_defect_is_undone_without_learning(kind) -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((24, 31)).astype(np.float32)
    restored = kind.classical(kind.draw(rng).apply(plane, rng))
    assert (restored.shape, restored.dtype) == (plane.shape, np.float32)


def test_defects_are_found_in_the_order_of_the_light_path() -> None:
    places = [kind.place for kind in all_defects().values()]
    assert places == sorted(places)
    assert {"noise", "axial", "lowres", "haze", "uneven", "bleaching"} <= all_defects().keys()
    assert "composition" not in all_defects()


def test_several_defects_are_as_symmetric_as_the_least_symmetric() -> None:
    assert symmetry_of("noise+axial") is symmetry_of("axial") is Symmetry.FLIPS
    assert symmetry_of("noise+unheard-of") is Symmetry.ALL


@pytest.mark.parametrize("name", all_defects())
@pytest.mark.parametrize("label", ["{}", "{}_2023", "2023-05-11 {}", "{}s (2)", "{}-GFP"])
def test_a_label_names_its_defect(name: str, label: str) -> None:
    for written in (name, name.upper(), name.title()):
        assert kind_of(label.format(written)) is all_defects()[name]


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("low_res", ("lowres",)),
        ("LowRes and hot pixel", ("lowres", "hotpixels")),
        ("noise+axial", ("noise", "axial")),
        ("noises noise", ("noise",)),
        ("noisiest", ()),
        ("2023", ()),
        ("Körper", ()),
    ],
)
def test_a_label_may_name_several_defects_or_none(label: str, parts: tuple[str, ...]) -> None:
    assert parts_of(label) == parts
    if len(parts) != 1:
        assert kind_of(label) is None


def test_no_other_source_file_names_a_defect() -> None:
    """But those that users have most, and where it is chosen what that is trained on."""
    package = Path(__file__).parents[2] / "src" / "microscopygan"
    chooses = package / "training" / "pretraining.py"
    sources = {p: p.read_text("utf-8") for p in package.rglob("*.py") if p != chooses}
    for name, kind in all_defects().items():
        if name not in COMMON:
            module = kind.__module__.rsplit(".", 1)[1]
            named = re.compile(rf"[\"']{name}[\"']|\b{module} import\b")
            own = package / "defects" / f"{module}.py"
            assert [path for path, text in sources.items() if named.search(text)] == [own]


def test_parameters_are_calibrated_or_drawn_where_they_leave_no_trace() -> None:
    kind = all_defects()["uneven"]
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    drawn = kind.calibrate([np.ones((64, 64))], [np.ones((64, 64))], rng)
    assert drawn == [kind.draw(again) for _ in drawn]
    assert kind.calibrate_pairs([(np.ones((64, 64)), np.ones((64, 64)))], rng) == []


def test_what_is_not_defined_is_said() -> None:
    with pytest.raises(NotImplementedError, match="apply"):
        Defect().apply(np.ones((4, 4)), np.random.default_rng(0))
    with pytest.raises(NotImplementedError, match="describe"):
        Defect().describe()


def test_fixed_fields_are_kept() -> None:
    drawn = Axial.draw(np.random.default_rng(0), step=5, phase=4)
    assert (drawn.step, drawn.phase) == (5, 4)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Noise, {"photons": 0}),
        (Noise, {"photons": 5, "gain": 2}),
        (Axial, {"sigma_z": 1, "step": 3, "phase": 3}),
        (LowResolution, {"sigma": -1}),
    ],
)
def test_nonsense_is_refused(kind, fields) -> None:
    with pytest.raises(ValidationError):
        kind(**fields)


def test_models_are_frozen() -> None:
    noise = Noise(photons=5)
    with pytest.raises(ValidationError):
        noise.photons = 6
