import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve

from microscopygan.image.tiles import (
    cut,
    margin,
    mirror,
    pad_plane,
    pieces,
    plan_tiles,
    relative,
    take,
)

KERNEL = np.random.default_rng(3).normal(size=(5, 5))
FACTOR = 4
HALO = 2 + FACTOR * 2 + FACTOR + 2  # fine, coarse, one cell of the grid, fine


def network(plane: np.ndarray) -> np.ndarray:
    """Convolve with zero padding, on a fine and a down-sampled grid, as a U-Net does."""
    assert plane.shape[0] % FACTOR == plane.shape[1] % FACTOR == 0
    fine = np.tanh(convolve(plane, KERNEL, mode="constant"))
    height, width = (n // FACTOR for n in plane.shape)
    coarse = fine.reshape(height, FACTOR, width, FACTOR).max(axis=(1, 3))
    coarse = np.tanh(convolve(coarse, KERNEL, mode="constant"))
    up = coarse.repeat(FACTOR, 0).repeat(FACTOR, 1)
    return convolve(fine + up, KERNEL, mode="constant")


def tiled(plane: np.ndarray, tile: int) -> np.ndarray:
    padded = pad_plane(plane, FACTOR)
    result = np.full_like(plane, np.nan)
    for t in plan_tiles(plane.shape, tile, HALO, FACTOR):
        result[t.core] = network(padded[t.read])[t.crop]
    return result


shapes = st.tuples(st.integers(1, 70), st.integers(1, 70))


@given(shapes, st.integers(1, 80), st.integers(0, 20), st.sampled_from([1, 2, 3, 4, 8]))
@settings(max_examples=60, deadline=None)
def test_cores_partition_and_windows_fit(shape, tile, halo, multiple):
    tile = max(tile, 6)
    padded = pad_plane(np.zeros(shape), multiple)
    count = np.zeros(shape, int)
    for t in plan_tiles(shape, tile, halo, multiple):
        count[t.core] += 1
        for core, read, crop, length in zip(t.core, t.read, t.crop, padded.shape, strict=True):
            assert core.stop - core.start == crop.stop - crop.start > 0
            assert read.start % multiple == 0 == read.stop % multiple
            assert 0 <= read.start < read.stop <= length
            assert read.start + crop.start == core.start
            assert core.start - halo - multiple < read.start <= max(0, core.start - halo)
            assert min(core.stop + halo, length) <= read.stop < core.stop + halo + multiple
            if core.start % multiple == 0:
                assert read.start == max(0, core.start - margin(halo, multiple))
    assert (count == 1).all()


@given(shapes, st.integers(5, 80), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_tiled_equals_whole(shape, tile, seed):
    plane = np.random.default_rng(seed).normal(size=shape)
    whole = network(pad_plane(plane, FACTOR))[: shape[0], : shape[1]]
    assert np.allclose(tiled(plane, tile), whole, rtol=0, atol=1e-12)


@given(shapes, st.integers(5, 80), st.data())
@settings(max_examples=40, deadline=None)
def test_a_part_of_a_plane_shows_what_the_plane_shows(shape, tile, data):
    plane = np.random.default_rng(0).normal(size=shape)
    starts = [data.draw(st.integers(0, n - 1)) for n in shape]
    stops = [data.draw(st.integers(a + 1, n)) for a, n in zip(starts, shape, strict=True)]
    within = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
    padded, count = pad_plane(plane, FACTOR), np.zeros(shape, int)
    for t in plan_tiles(shape, tile, HALO, FACTOR, within=within):
        count[t.core] += 1
        rows, columns = (mirror(read, n) for read, n in zip(t.read, shape, strict=True))
        assert np.array_equal(plane[np.ix_(rows, columns)], padded[t.read])
        assert np.array_equal(padded[t.read][t.crop], plane[t.core])
        for core, read in zip(t.core, t.read, strict=True):
            assert core.start - read.start < HALO + FACTOR
            assert read.stop - core.stop < HALO + FACTOR
    assert (count[within] == 1).all()
    assert count.sum() == count[within].sum()


@given(st.integers(0, 50), st.integers(1, 300), st.integers(1, 120), st.sampled_from([1, 4, 8]))
@settings(deadline=None)
def test_cuts_are_about_equal(start, length, longest, multiple):
    parts = cut(slice(start, start + length), longest, multiple)
    assert parts[0].start == start
    assert parts[-1].stop == start + length
    assert all(a.stop == b.start for a, b in pairwise(parts))
    sizes = [p.stop - p.start for p in parts]
    assert max(sizes) <= longest
    assert len(set(sizes[:-1])) <= 1
    if multiple == 1:
        assert len(parts) == -(-length // longest)


@given(shapes, st.integers(0, 20), st.sampled_from([1, 4, 8]))
@settings(max_examples=30, deadline=None)
def test_one_large_tile_reads_the_whole_padded_plane(shape, halo, multiple):
    (only,) = plan_tiles(shape, 1000, halo, multiple)
    padded = pad_plane(np.ones(shape), multiple)
    assert padded[only.read].shape == padded.shape


@given(st.tuples(st.integers(1, 12), st.integers(2, 12), st.integers(2, 12)), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_padding_mirrors_like_numpy_up_to_the_grid(shape, multiple):
    planes = np.arange(math.prod(shape)).reshape(shape)
    after = [(0, -n % multiple) for n in shape[1:]]
    assert np.array_equal(
        pad_plane(planes, multiple), np.pad(planes, [(0, 0), *after], mode="reflect")
    )


def test_a_single_pixel_is_repeated():
    assert np.array_equal(pad_plane(np.full((1, 1), 7), 4), np.full((4, 4), 7))


def test_a_short_halo_shows():
    plane = np.random.default_rng(0).normal(size=(64, 64))
    padded = pad_plane(plane, FACTOR)
    pieces = {
        tile: np.concatenate(
            [
                network(padded[t.read])[t.crop].ravel()
                for t in plan_tiles((64, 64), tile, 4, FACTOR)
                if t.core[0].start == 0
            ]
        )[:16]
        for tile in (16, 64)
    }
    assert not np.allclose(pieces[16], pieces[64][:16], atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "tile", "halo", "multiple"),
    [((0, 4), 8, 1, 1), ((4, 4), 0, 1, 1), ((4, 4), 8, -1, 1), ((4, 4), 8, 1, 0)],
)
def test_wrong_plans(shape, tile, halo, multiple):
    with pytest.raises(ValueError, match="expected a"):
        plan_tiles(shape, tile, halo, multiple)


@pytest.mark.parametrize(("shape", "multiple"), [((0, 3), 1), ((2, 3), 0)])
def test_wrong_paddings(shape, multiple):
    with pytest.raises(ValueError, match="plane with pixels"):
        pad_plane(np.zeros(shape), multiple)


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    start=st.integers(0, 5),
    stop=st.integers(6, 40),
)
def test_taking_a_window_is_indexing(shape, start, stop):
    plane = np.arange(shape[0] * shape[1]).reshape(shape)
    rows, columns = (mirror(slice(start, stop), n) for n in shape)
    assert np.array_equal(take(plane, rows, columns), plane[np.ix_(rows, columns)])


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 50), st.integers(1, 50)),
)
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
