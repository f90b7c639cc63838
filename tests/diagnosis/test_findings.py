import numpy as np
import pytest

from microscopygan.defects import all_defects
from microscopygan.defects.composition import Composition, light_path
from microscopygan.diagnosis import Diagnosis, Finding, Posterior, diagnose
from microscopygan.diagnosis.parameters import STAGES, parameters


def posterior(parameter, position: float, sharp: float = 40.0) -> Posterior:
    centres = (np.arange(parameter.bins) + 0.5) / parameter.bins
    weights = np.exp(-sharp * np.abs(centres - position))
    return Posterior(parameter, weights / weights.sum())


def finding(stage: str, probability: float, position: float = 0.5) -> Finding:
    own = {p.name: posterior(p, position) for p in parameters() if p.stage == stage}
    return Finding(stage, probability, own)


@pytest.mark.parametrize("parameter", parameters(), ids=lambda p: f"{p.stage}.{p.name}")
def test_draws_of_a_posterior_lie_in_its_range_and_interval(parameter) -> None:
    known, rng = posterior(parameter, 0.6), np.random.default_rng(0)
    draws = [known.draw(rng) for _ in range(200)]
    low, high = known.interval(0.9)
    assert parameter.range.low <= min(draws) <= max(draws) <= parameter.range.high
    assert np.mean([low - 1 <= draw <= high + 1 for draw in draws]) > 0.8
    assert low - 1e-9 <= known.middle <= high + 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_finding_draws_and_describes_its_defect(stage: str) -> None:
    some, rng = finding(stage, 0.9), np.random.default_rng(0)
    assert isinstance(some.draw(rng), all_defects()[stage])
    assert some.describe() == some.most_likely().describe()


def test_an_amount_that_is_likely_nothing_counts_as_nothing() -> None:
    amount = next(p for p in parameters() if p.range.low == 0 and p.bins > 2)
    assert posterior(amount, 0.0, sharp=80).middle == 0.0
    assert posterior(amount, 0.0, sharp=80).draw(np.random.default_rng(0)) >= 0.0


def test_an_interval_reaches_to_the_ends_where_values_pile_up() -> None:
    amount = next(p for p in parameters() if p.range.low == 0 and p.bins > 2)
    assert posterior(amount, 0.0).interval(0.9)[0] == amount.range.low
    assert posterior(amount, 1.0).interval(0.9)[1] == amount.range.high
    low, high = posterior(amount, 0.5).interval(0.9)
    assert amount.range.low < low < high < amount.range.high


def test_a_diagnosis_draws_what_is_there_in_the_order_of_the_light_path() -> None:
    one, two, absent = STAGES[0], STAGES[-1], STAGES[3]
    found = Diagnosis((finding(two, 0.99), finding(one, 0.95), finding(absent, 0.01)), 10)
    assert [f.stage for f in found.present] == [one, two]
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = found.draw(rng)
        assert isinstance(drawn, Composition)
        kinds = [type(step) for step in drawn.steps]
        assert kinds == light_path(kinds)
        assert all(step.name != absent for step in drawn.steps)


def test_a_diagnosis_without_anything_likely_draws_the_likeliest() -> None:
    found = Diagnosis((finding(STAGES[2], 0.05), finding(STAGES[1], 0.01)), 3)
    assert found.present == ()
    assert [s.name for s in found.draw(np.random.default_rng(0)).steps] == [STAGES[2]]


def test_diagnose_takes_any_size_and_unit() -> None:
    rng = np.random.default_rng(0)
    images = [400 + 20 * rng.normal(size=shape) for shape in ((40, 70), (40, 70), (300, 200))]
    found = diagnose(images, clean=[images[0]])
    assert {f.stage for f in found.findings} == set(STAGES)
    assert found.images == 3
    chances = [f.probability for f in found.findings]
    assert chances == sorted(chances, reverse=True)
    again = diagnose(images, clean=[images[0]])
    assert chances == [f.probability for f in again.findings]


@pytest.mark.parametrize(
    ("images", "clean", "said"),
    [
        ([], [], "got none"),
        ([np.zeros(4)], [], "shape"),
        ([np.full((8, 8), np.nan)], [], "finite intensities in images"),
        ([np.zeros((8, 8))], [np.full((8, 8), np.inf)], "finite intensities in clean images"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused_in_one_line(images, clean, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        diagnose(images, clean)
