"""Shipped samples: small fields that nothing was trained on, with the defect of each task."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from microscopygan.evaluate.metrics import psnr_affine
from microscopygan_bench.restoration import samples

SOURCES = {"neubias_neuron": "neuron", "neubias_bacteria_thick": "bacteria"}


def test_the_network_that_ships_was_trained_without_them() -> None:
    record = files("microscopygan") / "weights" / "generalist.json"
    trained_on = json.loads(record.read_text("utf-8"))["clean"]
    assert len(trained_on) > 100
    for name in samples.SAMPLES:
        assert not any(SOURCES.get(name, name) in image for image in trained_on)


@pytest.mark.parametrize("task", samples.DEFECTS)
def test_each_task_has_three_of_them(task: str) -> None:
    clean, spoilt = samples.clean(), samples.spoilt(task)
    assert spoilt.shape == clean.shape == (3, samples.SIDE, samples.SIDE)
    assert spoilt.dtype == np.float32
    assert np.array_equal(spoilt, samples.spoilt(task))
    for bad, good in zip(spoilt, clean, strict=True):
        assert 10 < psnr_affine(good, bad) < 35
