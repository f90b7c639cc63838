"""What a diagnosis says: numbers with intervals, how sure it is, what undoes it."""

import json
import re

import numpy as np
import pytest

from microscopygan.defects import all_defects
from microscopygan.diagnosis import Diagnosis, Finding, Posterior, words
from microscopygan.diagnosis.parameters import parameters
from microscopygan.diagnosis.planes import Channel
from microscopygan.diagnosis.words import (
    ImageDiagnosis,
    counted,
    grey_levels,
    remedy,
    say,
    with_intervals,
)


def finding(stage: str, probability: float = 0.9, **places: float) -> Finding:
    """A stage whose parameters lie about given places of their ranges, 0 to 1."""
    known = {}
    for parameter in parameters():
        if parameter.stage == stage:
            middles = (np.arange(parameter.bins) + 0.5) / parameter.bins
            place = places.get(parameter.name, 0.5)
            weights = np.exp(-0.5 * ((middles - place) / 0.05) ** 2) + 1e-12
            known[parameter.name] = Posterior(parameter, weights / weights.sum())
    return Finding(stage, probability, known)


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(0).normal(1000, 50, (96, 96)).astype(np.float32)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch):
    """Let the encoder say these findings."""

    def to_say(*findings: Finding) -> None:
        def diagnose(planes, clean=(), *, seed=0) -> Diagnosis:
            return Diagnosis(tuple(sorted(findings, key=lambda f: -f.probability)), len(planes))

        monkeypatch.setattr(words, "diagnose", diagnose)

    return to_say


@pytest.mark.parametrize("stage", sorted({p.stage for p in parameters()}))
def test_every_stage_is_said_with_intervals_about_its_numbers(stage: str) -> None:
    one = finding(stage, **{p.name: 0.7 for p in parameters() if p.stage == stage})
    said = with_intervals(one, np.random.default_rng(0))
    plain = re.sub(r" \([^()]* to [^()]*\)", "", said)
    assert plain == one.describe()
    intervals = re.findall(r"(-?[\d.e+-]+) \((-?[\d.e+-]+) to (-?[\d.e+-]+)\)", said)
    assert intervals, said
    for middle, low, high in intervals:
        slack = 0.06 * (abs(float(low)) + abs(float(high)))  # two digits
        assert float(low) - slack <= float(middle) <= float(high) + slack, said


def test_an_interval_holds_nine_of_ten_draws() -> None:
    one = finding("noise", photons=0.4)
    said = with_intervals(one, np.random.default_rng(0))
    low, high = map(float, re.search(r"about [\d.]+ \(([\d.]+) to ([\d.]+)\)", said).groups())
    rng = np.random.default_rng(1)
    photons = np.array([one.draw(rng).photons for _ in range(1000)])
    assert 0.8 < np.mean((photons > low) & (photons < high)) < 0.97


@pytest.mark.parametrize(
    ("probability", "sure"),
    [(0.55, "perhaps, 55 %"), (0.85, "likely, 85 %"), (0.999, "almost certain, 99 %")],
)
def test_how_sure_it_is(read, plane, probability: float, sure: str) -> None:
    read(finding("stripes", probability))
    (one,) = say(Channel(None, (plane,)), ()).said
    assert one.sure == sure
    assert one.words.startswith("stripes: ")


def test_what_is_present_is_said_and_what_is_not_is_not(read, plane) -> None:
    read(finding("noise", 0.9), finding("stripes", 0.3), finding("defocus", 0.6))
    diagnosis = say(Channel(None, (plane,)), (), hints=("noise", "axial"))
    assert [one.name for one in diagnosis.said] == ["noise", "defocus"]
    assert diagnosis.hints == ("noise",)
    assert "restore takes it away (--defect noise)" in diagnosis.lines()[1]
    assert "train on ten such images" in diagnosis.lines()[3]
    assert "--clean" in diagnosis.lines()[-1]  # a blur could be the specimen's
    assert not say(Channel(None, (plane,)), (plane,)).notes


def test_where_nothing_is_wrong_it_says_so(read, plane) -> None:
    read(finding("noise", 0.2))
    diagnosis = say(Channel(None, (plane,)), ())
    assert diagnosis.said == ()
    assert diagnosis.lines() == ["nothing found; most likely would be noise, 20 %"]


def test_what_is_counted_needs_no_encoder(read, plane) -> None:
    read(finding("noise", 0.1), finding("saturation", 0.1), finding("hotpixels", 0.7))
    plane = np.minimum(plane, 1040)
    plane[::30, ::30] = 3000
    full = say(Channel(None, (np.minimum(plane, 1040),)), ())
    (cut,) = [one for one in full.said if one.name == "saturation"]
    assert cut.sure == "counted"
    assert re.match(r"saturation: 2\d % of the pixels have the highest value, 1040", cut.words)
    assert "nothing brings back" in cut.remedy
    hot = say(Channel(None, (plane,)), ())
    (pixels,) = [one for one in hot.said if one.name == "hotpixels"]
    assert pixels.sure == "counted"
    assert "0.17 %" in pixels.words


def test_black_and_few_levels_are_counted(plane) -> None:
    assert counted([plane]) == []
    (black,) = counted([np.maximum(plane, 980)])
    assert re.match(r"black cut off: 3\d % of the pixels", black.words)
    photons = np.random.default_rng(0).poisson(0.5, (96, 96))
    (few,) = counted([photons])
    assert few.words == "few grey levels: about 4, photon counts or few bits"
    assert grey_levels(photons) == 4  # the brightest is beyond the 99.8th percentile


@pytest.mark.parametrize("kind", all_defects().values(), ids=all_defects())
def test_every_defect_has_a_remedy(kind) -> None:
    assert remedy(kind, ()) != ""
    known = remedy(kind, (kind.name,))
    assert kind.remedy or f"--defect {kind.name}" in known


def test_json_can_hold_it_and_print_shows_it(read, plane) -> None:
    read(finding("noise", 0.9, photons=0.3))
    channels = tuple(say(Channel(name, (plane,)), ()) for name in ("DNA", "actin"))
    whole = ImageDiagnosis(("a.tif",), channels)
    content = json.loads(json.dumps(whole.as_dict()))
    (one,) = content["channels"][0]["findings"]
    assert one["probability"] == 0.9
    photons = one["parameters"]["photons"]
    assert photons["low"] < photons["middle"] < photons["high"]
    shown = str(whole).splitlines()
    assert shown[:2] == ["a.tif", "  DNA"]
    assert shown[2].startswith("    photon noise: about ")
    assert str(ImageDiagnosis(("a", "b"), channels)).startswith("2 images of one laboratory")
