import numpy as np

from microscopygan.diagnosis.encoder import read_set
from microscopygan.diagnosis.parameters import parameters


def test_a_reading_has_each_stage_and_normalised_parameters() -> None:
    rng = np.random.default_rng(0)
    images = [rng.random((200, 150)) for _ in range(3)]
    reading = read_set(images, [], np.random.default_rng(1))
    assert reading.stages.shape[1] == len(reading.names)
    assert set(reading.parameters) == {(p.stage, p.name) for p in parameters()}
    for logs in reading.parameters.values():
        assert len(logs) == len(reading.stages)
        assert np.allclose(np.exp(logs).sum(axis=1), 1)


def test_clean_images_are_looked_at() -> None:
    rng = np.random.default_rng(0)
    images, clean = [rng.random((128, 128))], [np.ones((64, 64)).cumsum(axis=0)]
    alone = read_set(images, [], np.random.default_rng(1)).stages
    beside = read_set(images, clean, np.random.default_rng(1)).stages
    assert not np.allclose(alone, beside)
