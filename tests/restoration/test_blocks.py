"""Blocks: a partition, of whole units, spanning stored chunks, no larger than allowed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.lazy import Blocks
from microscopygan.image.tiles import pieces, region_size, relative
from microscopygan.restoration.plan import plan_blocks

shapes = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 50), st.integers(1, 50))


@given(shapes, sizes)
@settings(max_examples=60, deadline=None)
def test_blocks_partition_the_array(shape, size) -> None:
    blocks, count = Blocks(shape, size), np.zeros(shape, int)
    for i in range(len(blocks)):
        assert all(part.start % n == 0 for part, n in zip(blocks[i], size, strict=True))
        count[blocks[i]] += 1
    assert (count == 1).all()
    assert len(list(blocks)) == len(blocks)


@given(shapes, sizes)
@settings(max_examples=60, deadline=None)
def test_pieces_partition_a_region(shape, longest) -> None:
    count = np.zeros([2 + n for n in shape], int)
    region = tuple(slice(2, 2 + n) for n in shape)
    for piece in pieces(region, longest):
        assert all(p.stop - p.start <= n for p, n in zip(piece, longest, strict=True))
        count[piece] += 1
    assert (count[region] == 1).all()
    assert count.sum() == count[region].sum()
    assert relative(region, region) == tuple(slice(0, n) for n in shape)


@given(
    shape=st.tuples(st.integers(1, 100), st.integers(1, 5000), st.integers(1, 5000)),
    unit=st.tuples(st.integers(1, 20), st.integers(1, 700), st.integers(1, 700)) | st.none(),
    chunks=st.tuples(st.integers(1, 70), st.integers(1, 5000), st.integers(1, 5000)) | st.none(),
    tile=st.integers(64, 1024),
    limit=st.integers(2**16, 2**24),
)
@settings(max_examples=200, deadline=None)
def test_planned_blocks_are_whole_units_and_limited(shape, unit, chunks, tile, limit) -> None:
    block = plan_blocks(shape, "ZYX", {"Y": tile, "X": tile}, limit, unit, chunks).block
    least = unit or (1, 1, 1)
    for size, one, length in zip(block, least, shape, strict=True):
        assert size == length or size % one == 0
        assert 1 <= size <= length
    alone = np.prod([min(a, b) for a, b in zip(least, shape, strict=True)])
    assert np.prod(block) <= max(limit, alone)


def test_a_block_spans_the_planes_of_stored_chunks() -> None:
    tile = {"Y": 1024, "X": 1024}
    block = plan_blocks((200, 4000, 4000), "ZYX", tile, 2**24, chunks=(64, 256, 256)).block
    assert block == (64, 512, 512)
    block = plan_blocks((4000, 4000, 200), "YXZ", tile, 2**24, chunks=(256, 256, 16)).block
    assert block == (1000, 1000, 16)


def test_small_planes_go_together() -> None:
    blocks = plan_blocks((4, 60, 256, 256), "TZYX", {"Y": 1024, "X": 1024}, 2**24)
    assert blocks.block == (1, 16, 256, 256)
    assert region_size(blocks[0]) == 2**20
