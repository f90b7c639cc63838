"""Intensity maps: the percentiles of the whole, in parts, sampled; scopes; refusals."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microscopygan.image.image import Image
from microscopygan.image.intensity import percentile_map
from microscopygan.restoration import intensity_maps
from microscopygan.restoration.intensity_maps import Scales, measure

WIDTHS = {"f2": 16, "f4": 32, "f8": 64}


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f2", "f4", "f8"]))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20)))
    elements = None
    if dtype in WIDTHS:
        elements = st.floats(-1e4, 1e4, width=WIDTHS[dtype])
    elif dtype == "i8":
        elements = st.integers(-(2**50), 2**50)
    return draw(arrays(dtype, shape, elements=elements))


def whole(array: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(0, length) for length in array.shape)


class Lazy:
    """An array that notes which of its pixels are read, and holds none."""

    def __init__(self, shape: tuple[int, ...], chunks: tuple[int, ...], value) -> None:
        self.shape, self.chunks, self.ndim = shape, chunks, len(shape)
        self.dtype = np.dtype(np.uint16)
        self.value, self.read = value, []

    def __getitem__(self, region):
        self.read.append(region)
        grid = np.ix_(*(np.arange(part.start, part.stop) for part in region))
        return np.broadcast_to(self.value(*grid), [g.size for g in grid]).astype(np.uint16)


@given(
    array=images(),
    chunks=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)) | st.none(),
    low=st.sampled_from([0, 0.3, 1, 49.9]),
    high=st.sampled_from([50, 77.7, 99.8, 100]),
)
@settings(deadline=None, max_examples=150)
def test_equals_the_map_of_the_whole_array(array, chunks, low, high) -> None:
    scale = measure(array, whole(array), low, high, chunks)
    assert scale.map == percentile_map(array, low, high)
    assert scale.constant == (array.min() == array.max())
    assert not scale.sampled


@given(part=st.integers(1, 60))
@settings(deadline=None, max_examples=20)
def test_reading_in_parts_reads_each_pixel_once(part) -> None:
    image = Lazy((3, 17, 23), (2, 5, 7), lambda z, y, x: z + y + x)
    region = (slice(1, 3), slice(0, 17), slice(4, 20))
    count = np.zeros(image.shape, int)
    for piece in intensity_maps._parts(region, image.chunks, part):
        count[piece] += 1
    assert (count[region] == 1).all()
    assert count.sum() == count[region].sum()


def test_a_sample_is_bounded_spread_of_whole_chunks_and_close(monkeypatch) -> None:
    monkeypatch.setattr(intensity_maps, "EXACT", 2**16)
    monkeypatch.setattr(intensity_maps, "STREAMED", 2**18)
    image = Lazy((20, 300, 300), (1, 32, 32), lambda z, y, x: 10 * z + x % 64 + y // 4)
    scale = measure(image, whole_of(image), 1, 99, image.chunks)
    assert scale.sampled
    assert not scale.constant
    assert sum(np.prod([p.stop - p.start for p in r]) for r in image.read) <= 2**16
    assert all(p.start % n == 0 for r in image.read for p, n in zip(r, (1, 32, 32), strict=True))
    assert len({r[0].start for r in image.read}) > 10  # planes
    assert len({r[1].start for r in image.read}) > 5  # rows of chunks
    exact = percentile_map(image[whole_of(image)], 1, 99)
    assert abs(scale.map.offset - exact.offset) < 0.1 * exact.scale
    assert abs(scale.map.scale - exact.scale) < 0.1 * exact.scale
    assert measure(image, whole_of(image), 1, 99, image.chunks) == scale


def whole_of(image: Lazy) -> tuple[slice, ...]:
    return tuple(slice(0, length) for length in image.shape)


def test_400_gigabytes_are_not_read(monkeypatch) -> None:
    monkeypatch.setattr(intensity_maps, "EXACT", 2**24)
    image = Lazy((2000, 10_000, 10_000), (1, 1024, 1024), lambda z, y, x: (y + x) % 500)
    scale = measure(image, whole_of(image), 1, 99.8, image.chunks)
    assert scale.sampled
    assert len(image.read) == 16
    assert abs(scale.map.scale - 493) < 10


@pytest.mark.parametrize(
    ("scope", "covers"),
    [("volume", "TC"), ("frame", "TCZ"), ("image", "C")],
)
@pytest.mark.parametrize("axes", ["TZCYX", "CTZYX", "ZTCYX"])
def test_scopes(stack, scope, covers, axes) -> None:
    array = stack.transpose(["TZCYX".index(letter) for letter in axes])
    scales = Scales(Image(array, axes), scope, 1, 99)
    lengths = {"T": 2, "Z": 4, "C": 3}
    assert len(scales) == len(list(scales)) == np.prod([lengths[letter] for letter in covers])
    place = {"T": 1, "Z": 3, "C": 2}
    part = array[tuple(place[a] if a in covers else slice(None) for a in axes)]
    assert scales.of(place).map == percentile_map(part, 1, 99)


def test_no_map_leaves_intensities(stack) -> None:
    scales = Scales(Image(stack, "TZCYX"), "none", 1, 99)
    assert list(scales) == [()]
    assert scales.of({"T": 0, "Z": 1, "C": 1}).map.apply(stack[0, 1, 1, 0]).tolist() == [
        *stack[0, 1, 1, 0]
    ]


def test_maps_are_measured_once_and_travel(stack) -> None:
    class Counting:
        shape, dtype, ndim, reads = stack.shape, stack.dtype, stack.ndim, 0

        def __getitem__(self, region):
            type(self).reads += 1
            return stack[region]

    scales = Scales(Image(Counting(), "TZCYX"), "image", 1, 99, channels=(2, 0, 2))
    assert list(scales) == [(0,), (2,)]
    first = dict(scales)
    reads = Counting.reads
    assert reads > 0
    assert dict(scales) == first
    assert scales.of({"T": 1, "C": 1, "Z": 0}) is None
    scales._image = None
    assert pickle.loads(pickle.dumps(scales))[(2,)] == first[(2,)]
    assert Counting.reads == reads


def test_refusals(stack) -> None:
    with pytest.raises(ValueError, match="intensity: expected one of volume, frame, image, none"):
        Scales(Image(stack, "TZCYX"), "plane", 1, 99)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_statistics_are_those_of_the_finite_pixels(bad) -> None:
    plane = np.random.default_rng(0).normal(100, 9, (30, 40)).astype(np.float32)
    spoilt = plane.copy()
    spoilt[:5] = bad
    whole = (slice(0, 30), slice(0, 40))
    scale = measure(spoilt, whole, 1, 99)
    assert scale.masked
    assert scale.map == measure(plane[5:], (slice(0, 25), slice(0, 40)), 1, 99).map
    nothing = measure(np.full((30, 40), bad, np.float32), whole, 1, 99)
    assert (nothing.constant, nothing.masked) == (True, True)
