import numpy as np
import pytest

from microscopygan.diagnosis import encoder
from microscopygan.diagnosis.encoder import read_set
from microscopygan.diagnosis.parameters import STAGES, parameters


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


@pytest.mark.parametrize(
    ("images", "squares", "largest"),
    [(1, 6, 1), (3, 18, 3), (10, 20, 5), (24, 24, 8), (100, 24, 8)],
)
def test_the_more_images_the_fewer_squares_of_each(
    monkeypatch, images: int, squares: int, largest: int
) -> None:
    """At most 24 squares in all, so that a diagnosis takes as long for ten images as for a folder.

    Sets are of one size, or differ by one.
    """
    shapes, outputs = [], len(STAGES) + sum(parameter.bins for parameter in parameters())

    class Session:
        def run(self, wanted: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            shapes.append(feed["images"].shape)
            return [np.zeros((len(feed["images"]), outputs), np.float32)]

    monkeypatch.setattr(encoder, "session", lambda name: Session())
    planes = [np.random.default_rng(k).random((400, 300)) for k in range(images)]
    encoder.read_set(planes, [], np.random.default_rng(0))
    assert sum(places * number for places, number, *_ in shapes) == squares
    assert {number for _, number, *_ in shapes} == {largest}
