import numpy as np
import pytest

from microscopygan.defects.base import Place
from microscopygan.diagnosis.parameters import STAGES, parameters
from microscopygan.settings import COMMON, LaboratorySettings
from microscopygan.training import laboratories
from microscopygan.training.laboratories import (
    FAINT,
    Specimens,
    draw_defect,
    draw_laboratory,
)

SETTINGS = LaboratorySettings(images=3, alike=2, field=64, stacked=2)


def sort_of_squares():
    plane = np.zeros((96, 96), np.float32)
    plane[20:60, 30:70] = 1
    return plane


@pytest.fixture(scope="module")
def some():
    specimens = Specimens([[sort_of_squares()]], SETTINGS)
    return [draw_laboratory(specimens, SETTINGS, np.random.default_rng(i)) for i in range(40)]


def test_a_laboratory_has_finite_images_of_one_size(some) -> None:
    for lab in some:
        for images in (lab.clean, lab.defective, lab.before, lab.after):
            assert images.shape == (3, 64, 64)
            assert images.dtype == np.float32
            assert np.isfinite(images).all()
        assert lab.alike.shape == (2, 64, 64)


def test_labels_say_which_stages_are_there(some) -> None:
    stage_of = np.array([parameter.stage for parameter in parameters()])
    for lab in some:
        assert lab.strength.shape == (len(STAGES),)
        assert (lab.strength <= FAINT).all()
        for index, name in enumerate(STAGES):
            known = np.isfinite(lab.position[stage_of == name])
            assert known.all() or not known.any()
            if lab.strength[index] < FAINT:
                assert known.all()


def test_a_laboratory_without_defect_has_its_clean_images(some) -> None:
    plain = [lab for lab in some if not np.isfinite(lab.position).any()]
    assert plain
    for lab in plain:
        assert np.abs(np.median(lab.clean - lab.defective)) < 0.1


def test_planes_next_to_an_image_have_noise_of_their_own(some) -> None:
    stacks = [lab for lab in some if (lab.before != lab.defective).any()]
    assert 0.2 < len(stacks) / len(some) < 0.8
    for lab in stacks:
        assert (lab.before[2] == lab.defective[2]).all()


def test_the_same_seed_gives_the_same_laboratory() -> None:
    specimens = Specimens([[sort_of_squares()]], SETTINGS)
    one, again = (
        draw_laboratory(specimens, SETTINGS, np.random.default_rng([3, 1])) for _ in range(2)
    )
    for left, right in zip(one, again, strict=True):
        assert np.array_equal(left, right, equal_nan=True)


def test_defects_have_one_to_five_stages_in_the_order_of_the_light_path() -> None:
    rng, lengths = np.random.default_rng(0), []
    for _ in range(200):
        defect = draw_defect(rng)
        if defect is None:
            continue
        lengths.append(len(defect.steps))
        places = [s.place for s in defect.steps if not s.usual]
        assert places == sorted(places)
        assert all(places.count(place) <= 1 for place in (Place.GEOMETRY, Place.GAIN))
    assert set(lengths) == {1, 2, 3, 4, 5}


def test_common_defects_are_one_that_users_have_most_and_noise_at_most() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_defect(rng, common=1.0) for _ in range(100)]
    names = [[step.name for step in defect.steps] for defect in drawn if defect is not None]
    assert {name for those in names for name in those} == set(COMMON)
    assert all(len(those) == 1 or (len(those) == 2 and "noise" in those) for those in names)


def test_restorers_need_neither_measures_nor_clean_images_besides() -> None:
    specimens = Specimens([[sort_of_squares()]], SETTINGS)
    settings = LaboratorySettings(images=2, alike=0, field=64, stacked=1, measured=False)
    lab = draw_laboratory(specimens, settings, np.random.default_rng(0))
    assert lab.alike.shape == (0, 64, 64)
    assert not lab.numbers.any()
    assert len(lab.alike_numbers) == 0


def test_what_lies_below_black_is_not_to_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count of 0 is all that there was: no network should learn to take light away there."""
    specimens = Specimens([[sort_of_squares()]], SETTINGS)
    cut_off = laboratories._Digits(black=0.3, levels=0.0)
    monkeypatch.setattr(laboratories._Digits, "draw", lambda rng: cut_off)
    for seed in range(8):
        lab = draw_laboratory(specimens, SETTINGS, np.random.default_rng(seed))
        for image, clean in zip(lab.defective, lab.clean, strict=True):
            assert np.mean(image <= image.min() + 1e-6) > 0.29
            assert clean.min() >= image.min() - 1e-6
