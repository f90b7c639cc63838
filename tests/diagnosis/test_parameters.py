import numpy as np
import pytest

from microscopygan.defects import all_defects
from microscopygan.diagnosis.parameters import BINS, STAGES, parameters


def test_every_visible_defect_is_a_stage_in_the_order_of_the_light_path() -> None:
    places = [all_defects()[name].place for name in STAGES]
    assert places == sorted(places)
    assert set(all_defects()) - set(STAGES) == {
        name for name, kind in all_defects().items() if not kind.visible
    }


@pytest.mark.parametrize("parameter", parameters(), ids=lambda p: f"{p.stage}.{p.name}")
def test_positions_are_the_inverse_of_values(parameter) -> None:
    assert 2 <= parameter.bins <= BINS
    for position in np.linspace(0.02, 0.98, 7):
        value = parameter.range.value(position)
        assert parameter.position(value) == pytest.approx(position, abs=1 / parameter.bins)
    assert parameter.position(None) == 1.0
    assert 0 <= parameter.position(0.0) <= 1
