"""Intensity maps: the percentiles of the whole, in parts, sampled; scopes. Hot pixels."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microscopygan.image.formats import Image, read, write
from microscopygan.image.intensity import cut_off, percentile_map
from microscopygan.restoration import intensity_maps
from microscopygan.restoration.api import restore, restore_file
from microscopygan.restoration.intensity_maps import (
    Mended,
    Scales,
    measure,
    rounding_loss,
    without_hot_pixels,
)

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


Y, X = np.mgrid[:128, :128]


def cells(seed: int, hot: float = 0.003) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dim camera frame, its clean values, and which pixels are hot."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(20, 108, (4, 2))
    clean = 100 + 25 * sum(np.exp(-((Y - y) ** 2 + (X - x) ** 2) / 200) for y, x in places)
    mask = rng.random(clean.shape) < hot
    frame = rng.poisson(clean - 100) + rng.normal(100, 2, clean.shape)
    frame[mask] += rng.uniform(500, 2000, int(mask.sum()))
    return np.rint(frame).astype(np.uint16), clean, mask


@pytest.mark.parametrize("seed", range(4))
def test_hot_pixels_are_found_and_nothing_else(seed) -> None:
    frame, _, hot = cells(seed)
    found = without_hot_pixels(Image(frame, "YX"), "auto")
    mask, stored = found.array.hot((slice(0, 128), slice(0, 128)))
    assert np.array_equal(stored, frame)
    assert (mask & hot).sum() > 0.9 * hot.sum()
    assert not (mask & ~hot).any()
    assert "were taken out before the network" in found.notes[0]


def spots(width: float, photons: float) -> np.ndarray:
    """Single molecules as optics of this width (standard deviation, in pixels) show them."""
    rng = np.random.default_rng(0)
    places = rng.uniform(5, 120, (40, 2))
    light = sum(np.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * width**2)) for y, x in places)
    return rng.poisson(20 + photons * light).astype(np.uint16)


@pytest.mark.parametrize("width", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("photons", [100, 4000])
def test_what_optics_show_is_no_hot_pixel(width, photons) -> None:
    image = Image(spots(width, photons), "YX")
    assert without_hot_pixels(image, "auto") is image


@pytest.mark.parametrize("light", [0.02, 0.3, 3, 300])
def test_noise_is_no_hot_pixel(light) -> None:
    counts = np.random.default_rng(0).poisson(light, (4, 128, 128)).astype(np.uint16)
    image = Image(counts, "ZYX")
    assert without_hot_pixels(image, "auto") is image


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_regions_are_those_of_the_whole_plane(data) -> None:
    frame, _, _ = cells(1, hot=0.01)
    stack = np.stack([frame, frame[::-1]])
    axes = data.draw(st.sampled_from(["ZYX", "YXZ", "XZY"]))
    array = np.transpose(stack, ["ZYX".index(letter) for letter in axes])
    mended = Mended(array, axes, 100.0, keep=False)
    spans = [sorted(data.draw(st.tuples(*[st.integers(1, n)] * 2))) for n in array.shape]
    region = tuple(
        slice(a, max(b, a + 1)) if a < n else slice(n - 1, n)
        for (a, b), n in zip(spans, array.shape, strict=True)
    )
    assert np.array_equal(mended[region], mended[...][region])
    assert np.array_equal(mended[0], mended[...][0])


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_hot_pixels_do_no_harm_around_them(restorer, tmp_path, suffix) -> None:
    frame, clean, hot = cells(0)
    write(tmp_path / f"a.{suffix}", Image(frame, "YX"))

    unspoilt = frame.copy()
    unspoilt[hot] = clean[hot]
    wanted = restore(unspoilt, model=restorer, dtype="float32")

    restored = {}
    for how in ("auto", "mend", "keep"):
        output = tmp_path / f"{how}.{suffix}"
        done = restore_file(tmp_path / f"a.{suffix}", output, restorer, hot_pixels=how)
        assert "Hot pixels" in done.notes[0]
        restored[how] = read(output).array
    assert np.array_equal(restored["auto"], restored["mend"])
    assert np.abs(restored["auto"] - wanted)[~hot].mean() < 2
    kept = restored["keep"] != restored["auto"]
    assert np.array_equal(restored["keep"][kept], frame[kept])
    assert kept.sum() > 0.9 * hot.sum()
    assert np.array_equal(restore(frame, model=restorer), restored["auto"])
    tiled = restore(frame, model=restorer, memory=190 * 10**6)
    assert np.array_equal(tiled, restored["auto"])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
@pytest.mark.parametrize("top", [90, 180, 1000])
def test_the_part_that_is_cut_off_is_that_of_the_pixels(dtype: str, top: int) -> None:
    """Counted from histograms, from sorted pixels, and by `cut_off` from the array."""
    light = np.random.default_rng(0).gamma(3, 20, (3, 64, 70))
    array = np.clip(light, 0, min(top, np.iinfo(dtype).max if dtype != "float32" else top))
    stack = Image(array.astype(dtype), "ZYX")
    scale = Scales(stack, "volume", 1, 99.8)[()]
    assert scale.cut_off == cut_off(stack.array, "highest")
    assert (scale.cut_off > 0) == (top < 1000)


@pytest.mark.parametrize(
    ("light", "spots", "low", "high"),
    [(0.3, 0, 0.9, 1.0), (0.3, 60, 0.1, 0.3), (10.4, 0, 0.0, 0.005), (200, 0, 0.0, 0.001)],
)
def test_rounding_costs_the_light_of_dark_counts(light, spots, low, high):
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:256, :256]
    places = rng.integers(0, 256, (20, 2))
    shape = sum(np.exp(-((y - b) ** 2 + (x - a) ** 2) / 20) for b, a in places)
    counts = rng.poisson(light + spots * shape).astype(np.uint16)
    assert low <= rounding_loss(Image(counts, "YX")) <= high


def test_rounding_costs_nothing_where_nothing_is_or_counts_are_large():
    assert rounding_loss(Image(np.zeros((3, 5, 4), np.uint8), "ZYX")) == 0
    assert rounding_loss(Image(np.full((9, 20), 7, np.int16), "YX")) == 0
