"""Who gets which images: fair draws, pairs that stay pairs, two defects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.intensity import percentile_map
from microscopygan_bench.restoration import protocol
from microscopygan_bench.restoration.cells import Bench
from microscopygan_bench.restoration.protocol import BenchmarkData

TRAIN, TEST = 7, 3  # images of a task


@settings(max_examples=10, deadline=None)
@given(st.integers(1, TRAIN), st.integers(1, TRAIN), st.integers(0, 5))
def test_fewer_pairs_are_the_first_of_more(
    benchmark_data: BenchmarkData, a: int, b: int, draw: int
) -> None:
    few, many = sorted((a, b))
    less, more = (
        protocol.training_images(benchmark_data, "noise", "A", n, draw) for n in (few, many)
    )
    everything = protocol.training_images(benchmark_data, "noise", "A", None, draw)
    for side, planes in less.items():
        assert np.array_equal(planes, more[side][:few])
        assert np.array_equal(more[side], everything[side][:many])
    assert len(everything["noise/input"]) == TRAIN


def test_draws_differ_and_pairs_stay_pairs(benchmark_data: BenchmarkData) -> None:
    draws = [
        protocol.training_images(benchmark_data, "noise", "A", None, draw) for draw in range(4)
    ]
    assert len({planes["noise/input"].tobytes() for planes in draws}) == 4
    known = {p.input.tobytes(): p.target for p in benchmark_data.pairs["noise"]}
    for planes in draws:
        for image, target in zip(planes["noise/input"], planes["noise/target"], strict=True):
            assert np.array_equal(known[image.tobytes()], target)


@pytest.mark.parametrize("draw", range(4))
def test_without_pairs_no_image_is_seen_in_both_states(
    benchmark_data: BenchmarkData, draw: int
) -> None:
    planes = protocol.training_images(benchmark_data, "noise", "B", 0, draw)
    pairs = benchmark_data.pairs["noise"]
    inputs = {p.input.tobytes(): p.image for p in pairs}
    targets = {percentile_map(p.target).apply(p.target).tobytes(): p.image for p in pairs}
    bad = {inputs[plane.tobytes()] for plane in planes["noise/input"]}
    clean = {targets[plane.tobytes()] for plane in planes["noise/target"]}
    assert not bad & clean
    assert (len(bad), len(clean)) == (TRAIN // 2, TRAIN - TRAIN // 2)


def test_more_pairs_than_there_are_is_one_line(benchmark_data: BenchmarkData) -> None:
    with pytest.raises(ValueError, match=r"^pairs: expected at most 7 \(noise\), got 8; try all$"):
        protocol.training_images(benchmark_data, "noise", "A", 8, 0)


def test_two_defects_are_kept_and_normalised(bench: Bench, tmp_path: Path) -> None:
    made = bench.composed["noise+lowres"]
    again = protocol.two_defects(bench.data, tmp_path / "two.npz")["noise+lowres"]
    assert np.array_equal(made, again)
    assert np.allclose([np.percentile(p, [1, 99.8]) for p in made], [[0, 1]] * TEST, atol=1e-4)
    assert bench.data.targets("noise+lowres") is bench.data.test["lowres"]
