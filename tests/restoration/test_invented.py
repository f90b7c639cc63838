"""The generalist invents no structure, on simulated images whose truth is known."""

import numpy as np
import pytest

from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, vesicles
from microscopygan.evaluate.structures import structure_errors
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration.api import restore
from microscopygan.restoration.model import Restorer

CONTRAST = 0.1  # of the specimen's range, that makes a structure


@pytest.fixture(scope="module")
def generalist() -> Restorer:
    return Restorer()


@pytest.mark.parametrize("photons", [300, 30, 8])
@pytest.mark.parametrize("level", [0.0, 0.2])
def test_nothing_appears_on_pure_background(
    generalist: Restorer, photons: float, level: float
) -> None:
    truth = np.full((256, 256), level, np.float32)
    image = Noise(photons=photons, read_noise=2.0).apply(truth, np.random.default_rng(0))
    restored = restore(image, model=generalist)
    assert structure_errors(restored, truth, CONTRAST).false == 0
    # even on the stretched scale of the noise itself, where nothing but noise spans 0 to 1
    scale = percentile_map(image)
    found = structure_errors(scale.apply(restored), scale.apply(truth), CONTRAST).false
    assert found < 0.1 * structure_errors(scale.apply(image), scale.apply(truth), CONTRAST).false
    assert restored.std() < 0.25 * image.std()


@pytest.mark.parametrize(("photons", "contrast"), [(300, CONTRAST), (30, CONTRAST), (8, 0.2)])
@pytest.mark.parametrize("specimen", [vesicles, filaments], ids=["beads", "lines"])
def test_beads_and_lines_are_neither_invented_nor_lost(
    generalist: Restorer, specimen, photons: float, contrast: float
) -> None:
    # what makes a structure has to stand out: of 8 photons, 0.2 is three standard deviations
    rng = np.random.default_rng(1)
    before, after = [], []
    for _ in range(4):
        truth = specimen((256, 256), rng)
        image = Noise(photons=photons, read_noise=1.0).apply(truth, rng)
        before.append(structure_errors(image, truth, contrast))
        after.append(structure_errors(restore(image, model=generalist), truth, contrast))
    (false_before, missed_before, there), (false, missed, _) = np.mean((before, after), axis=1)
    assert there > 0.3
    assert false <= false_before
    assert false < 0.02 * there
    assert missed <= missed_before + 0.05 * there
