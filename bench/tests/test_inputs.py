"""What the speed scripts work on: the same network each time, images with shot noise."""

import argparse

import numpy as np
import pytest
import torch

from microscopygan_bench import inputs


def test_network_is_the_same_each_time() -> None:
    image = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        first, second = inputs.network()(image), inputs.network()(image)
    assert torch.equal(first, second)
    assert not torch.equal(first, image)


def test_specimen_has_shot_noise() -> None:
    counts = inputs.specimen((2, 300, 40))
    assert counts.shape == (2, 300, 40)
    assert counts.dtype == np.uint16
    dark = counts[counts < np.percentile(counts, 20)]
    assert np.unique(dark).size > 10


@pytest.mark.parametrize(("text", "lengths"), [("20x30", (20, 30)), ("1x16x17", (1, 16, 17))])
def test_size_reads(text: str, lengths: tuple[int, ...]) -> None:
    assert inputs.size(text) == lengths


@pytest.mark.parametrize("text", ["", "20", "20x", "20x8", "0x20x20", "1x2x16x16", "20x-20"])
def test_size_refuses_in_one_line(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"^expected .*; try 2048x2048$"):
        inputs.size(text)
