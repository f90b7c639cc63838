"""Camera pattern: the same in each image, measured by what images share."""

import numpy as np
import pytest

from microscopygan.defects import Symmetry
from microscopygan.defects.camera import CameraPattern
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, nuclei
from microscopygan.image.intensity import percentile_map


def test_all_images_of_a_camera_share_its_pattern() -> None:
    rng = np.random.default_rng(0)
    camera = CameraPattern(gain=0.1, offset=0.05, columns=0.4)
    dark, bright = np.zeros((300, 200)), np.ones((300, 200))
    offsets = camera.apply(dark, rng)
    gains = camera.apply(bright, rng) - offsets
    assert np.array_equal(offsets, camera.apply(dark, rng))
    assert offsets.std() == pytest.approx(0.05, rel=0.1)
    assert gains.std() == pytest.approx(0.1, rel=0.1)
    assert gains.mean() == pytest.approx(1, abs=0.02)
    assert offsets.mean(axis=0).var() / offsets.var() == pytest.approx(0.4, abs=0.12)
    other = camera.model_copy(update={"camera": 1}).apply(dark, rng)
    assert abs(np.corrcoef(other.ravel(), offsets.ravel())[0, 1]) < 0.3


def test_no_strength_is_no_change_and_no_turn_leaves_it() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(CameraPattern(gain=0).apply(plane, np.random.default_rng(0)), plane)
    assert CameraPattern.symmetry is Symmetry.NONE


@pytest.mark.parametrize(
    "truth",
    [CameraPattern(gain=0.2, columns=0.0), CameraPattern(gain=0.05, offset=0.06, columns=0.5)],
)
def test_ten_noisy_images_of_another_specimen_give_the_spreads_away(truth: CameraPattern) -> None:
    rng = np.random.default_rng(0)
    planes = [Noise(photons=300).apply(nuclei((128, 128), rng), rng) for _ in range(10)]
    planes = [truth.apply(plane, rng) for plane in planes]
    planes = [percentile_map(plane).apply(plane) for plane in planes]
    clean = [filaments((128, 128), rng) for _ in range(4)]
    measured, *others = CameraPattern.calibrate(clean, planes, rng)
    assert measured.offset == pytest.approx(truth.offset, rel=0.4, abs=0.01)
    assert measured.gain == pytest.approx(truth.gain, rel=0.5, abs=0.08)
    assert measured.columns == pytest.approx(truth.columns, abs=0.2)
    assert len({item.camera for item in [measured, *others]}) == len(others) + 1


def test_images_that_share_nothing_have_no_pattern_and_one_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    planes = [Noise(photons=100).apply(nuclei((128, 128), rng), rng) for _ in range(8)]
    none = CameraPattern.calibrate(planes, planes, rng)[0]
    assert none.offset < 0.01
    assert none.gain < 0.1
    drawn = CameraPattern.calibrate(planes, planes[:1], rng)
    assert len({item.gain for item in drawn}) > 1
