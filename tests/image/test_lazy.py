"""Pixels on disk: indexed as arrays are, read by slicing only, sent to other processes."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.formats import Image, open_image, read, write
from microscopygan.image.lazy import Blocks, LazyArray, MappedArray, Recoded, Reordered

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (40, 50), dtype=np.uint16)
STACK = RNG.integers(0, 4000, (6, 64, 64), dtype=np.uint16)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 50), st.integers(1, 50))


@st.composite
def indexed(draw):
    """A shape, and an index of it: integers, slices, perhaps an ellipsis."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    parts = [
        draw(st.integers(-n, n - 1) | st.slices(n).filter(lambda s: (s.step or 1) > 0))
        for n in shape[: draw(st.integers(0, 3))]
    ]
    if draw(st.booleans()):
        parts.append(...)
    return shape, tuple(parts)


@given(indexed(), st.permutations(range(3)))
@settings(max_examples=60, deadline=None)
def test_views_are_indexed_as_numpy_arrays_are(case, order):
    shape, key = case
    array = RNG.integers(0, 200, shape).astype(np.uint8)
    moved = array.transpose(order)
    key = tuple(part for part, _ in zip(key, shape, strict=False))
    try:
        expected = moved[key]
    except IndexError:  # the other order is too short along that axis
        return
    assert np.array_equal(Reordered(array, tuple(order))[key], expected)
    recoded = Recoded(array, -1, 255, np.dtype(np.uint8))
    assert np.array_equal(Reordered(recoded, tuple(order))[key], 255 - expected)
    written = array.copy()
    Reordered(written, tuple(order))[key] = 7
    moved[key] = 7
    assert np.array_equal(written, array)


@given(shapes, sizes)
@settings(max_examples=60, deadline=None)
def test_blocks_partition_the_array(shape, size) -> None:
    blocks, count = Blocks(shape, size), np.zeros(shape, int)
    for i in range(len(blocks)):
        assert all(part.start % n == 0 for part, n in zip(blocks[i], size, strict=True))
        count[blocks[i]] += 1
    assert (count == 1).all()
    assert len(list(blocks)) == len(blocks)


def test_memory_that_does_not_suffice(tmp_path, monkeypatch):
    def greedy(mapped: MappedArray, key: object) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(MappedArray, "__getitem__", greedy)
    np.save(tmp_path / "a.npy", PLANE)
    with pytest.raises(ValueError, match="fits into memory"):
        read(tmp_path / "a.npy")


def unreadable(*args: object) -> np.ndarray:
    raise OSError("no medium")


def test_pixels_are_read_by_slicing_only(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", STACK)
    write(tmp_path / "a.tif", Image(STACK, "ZYX"))
    write(tmp_path / "a.zarr", Image(STACK, "ZYX"))
    monkeypatch.setattr(LazyArray, "_read", unreadable)
    for name in ("a.npy", "a.tif", "a.zarr"):
        image = open_image(tmp_path / name, axes="ZYX")
        assert (image.array.shape, image.array.dtype) == (STACK.shape, STACK.dtype)
        assert image.header.shape == STACK.shape
        with pytest.raises(OSError, match="no medium"):
            image.array[0]


def test_lazy_pixels_can_be_sent_to_another_process(tmp_path):
    np.save(tmp_path / "a.npy", STACK.astype(">u2"))
    write(tmp_path / "a.tif", Image(STACK, "ZYX"))
    write(tmp_path / "a.zarr", Image(STACK, "ZYX"))
    for name in ("a.npy", "a.tif", "a.zarr"):
        array = open_image(tmp_path / name, axes="ZYX").array
        array[0]  # opened before it is sent
        again = pickle.loads(pickle.dumps(array))
        assert again.dtype.isnative
        assert np.array_equal(again[2:, 5], STACK[2:, 5])
