"""Neighbouring planes: any blocking gives the whole; bounded reading; movies do not flicker."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

from microscopygan.apps.preview import Preview
from microscopygan.image.formats import Image, read, write
from microscopygan.image.intensity import percentile_map
from microscopygan.image.lazy import Blocks, plain_region
from microscopygan.model_card import KEY, ModelCard
from microscopygan.restoration import job
from microscopygan.restoration.api import restore, restore_file
from microscopygan.restoration.job import BlockRestorer
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.neighbours import plane_correlation
from microscopygan.restoration.tasks import Options, choose_task

MEAN = np.full((1, 3, 5, 5), 1 / 75, np.float32)
CENTRE = np.zeros((1, 3, 5, 5), np.float32)
CENTRE[0, 1, 2, 2] = 1
SIDES = np.random.default_rng(3).random((1, 3, 5, 5), np.float32) / 40  # no two planes alike


def network(path: Path, weights: np.ndarray, **changes: object) -> Path:
    """Write a network of one convolution over neighbouring planes."""
    planes = weights.shape[1]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", planes, "y", "x"])
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 1, "y", "x"])
    node = helper.make_node("Conv", ["image", "weights"], ["mean"], pads=[2] * 4)
    kept = [numpy_helper.from_array(weights, "weights")]
    graph = helper.make_graph([node], "planes", [image], [mean], kept)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    about = {"program": "0", "halo": (2, 2), "multiple": 4, "defects": ("noise", "axial")}
    card = ModelCard(**(about | {"planes": planes} | changes))
    helper.set_model_props(model, {KEY: card.model_dump_json()})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def mean(folder: Path) -> Restorer:
    return Restorer(network(folder / "mean.onnx", MEAN), threads=1)


@pytest.fixture(scope="module")
def sides(folder: Path) -> Restorer:
    return Restorer(network(folder / "sides.onnx", SIDES), threads=1)


def by_hand(restorer: Restorer, array: np.ndarray, axis: int) -> np.ndarray:
    """Restore (..., Y, X) plane by plane with its neighbours, on the network's own scale."""
    ends = [(0, 0)] * array.ndim
    ends[axis] = (1, 1)
    padded = np.moveaxis(np.pad(array, ends, mode="edge"), axis, 0)
    triples = np.stack([padded[:-2], padded[1:-1], padded[2:]], -3)
    rows, columns = (-n % 4 for n in array.shape[-2:])
    ends = [(0, 0)] * (triples.ndim - 2) + [(0, rows), (0, columns)]
    windows = np.pad(triples, ends, mode="reflect").astype(np.float32)
    done = restorer.run_windows(windows.reshape(-1, *windows.shape[-3:]))
    done = done[:, 0, : array.shape[-2], : array.shape[-1]]
    return np.moveaxis(done.reshape(np.moveaxis(array, axis, 0).shape), 0, axis)


class Guarded:
    """An array of which only what is asked for can be read; reads of each plane are counted."""

    def __init__(self, array: np.ndarray, lead: int) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.reads, self.lead = np.zeros(array.shape[:lead]), lead

    def __getitem__(self, key):
        region, dropped = plain_region(key, self.shape)
        for part, length in zip(region, self.shape, strict=True):
            assert 0 <= part.start < part.stop <= length
        read = self.array[region]
        area = np.prod(self.shape[self.lead :])
        self.reads[region[: self.lead]] += np.prod(read.shape[self.lead :]) / area
        return read.copy().squeeze(dropped)


def restored(restorer, image, options, block, tile=1000) -> np.ndarray:
    """Restore block by block."""
    task = choose_task(image, restorer, options)
    source = Guarded(image.array, 1)
    work = BlockRestorer(restorer, task, source, dict.fromkeys(task.tiled, tile))
    result = np.zeros(task.shape, task.dtype)
    for region in Blocks(task.shape, block):
        result[region] = work(region)
    return result


@given(
    shape=st.tuples(*(st.integers(1, n) for n in (3, 6, 40, 40))),
    block=st.tuples(*(st.integers(1, n) for n in (3, 6, 40, 40))),
    tile=st.integers(16, 50),
    axes=st.permutations("TZYX").map("".join),
    along=st.sampled_from("zt"),
)
@settings(deadline=None, max_examples=40)
def test_any_blocks_and_tiles_give_the_whole(sides, shape, block, tile, axes, along) -> None:
    block = tuple(max(n, length // 4) for n, length in zip(block, shape, strict=True))
    order = ["TZYX".index(letter) for letter in axes]
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    image = Image(array.transpose(order), axes)
    options = Options(intensity="none", neighbours=along)
    whole = restored(sides, image, options, image.array.shape)
    if min(shape[2:]) > 3:
        expected = by_hand(sides, array, "TZYX".index(along.upper()))
        np.testing.assert_allclose(whole, expected.transpose(order), rtol=0, atol=1e-5)
    parts = restored(sides, image, options, tuple(block[k] for k in order), tile)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("neighbours", ["z", "auto"])
def test_a_volume_has_one_map(mean, neighbours) -> None:
    array = smooth(np.random.default_rng(0), (8, 60, 64), along=3) * 500 + 100
    scale = percentile_map(array)
    expected = scale.undo(by_hand(mean, scale.apply(array), 0))
    found = restore(array, model=mean, axes="ZYX", neighbours=neighbours)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_planes_alone_are_their_own_neighbours(mean, sides) -> None:
    array = np.random.default_rng(0).random((5, 40, 44), np.float32)
    alone = np.stack([restore(plane, model=sides, intensity="none") for plane in array])
    for plane, one in zip(array, alone, strict=True):
        assert np.array_equal(sides.restore_plane(plane), one)
    options = {"model": sides, "axes": "ZYX", "intensity": "none"}
    assert np.array_equal(restore(array, neighbours="none", **options), alone)
    assert not np.array_equal(restore(array, neighbours="z", **options), alone)
    single = restore(array[:1], neighbours="z", **options)
    assert np.array_equal(single, alone[:1])


def test_the_axial_task_takes_each_plane_by_itself(mean, folder) -> None:
    flat = Restorer(network(folder / "flat.onnx", MEAN.sum(1, keepdims=True)), threads=1)
    array = np.random.default_rng(0).random((5, 40, 44), np.float32)
    image = Image(array, "ZYX", {"Z": 0.6, "Y": 0.2, "X": 0.2})
    both = [restore(image, model=model, task="axial").array for model in (mean, flat)]
    np.testing.assert_allclose(*both, rtol=0, atol=1e-5)


def test_strength_mixes_with_the_middle_plane(mean) -> None:
    array = np.random.default_rng(0).random((4, 20, 24), np.float32)
    options = {"axes": "ZYX", "intensity": "none", "neighbours": "z"}
    whole = restore(array, model=mean, **options)
    half = restore(array, model=mean.with_hint(strength=0.5), **options)
    np.testing.assert_allclose(half, (array + whole) / 2, rtol=0, atol=1e-6)
    same = restore(array, model=mean.with_hint(strength=0.0), **options)
    assert np.array_equal(same, array)


def test_channels_and_frames_keep_to_themselves(sides) -> None:
    array = np.random.default_rng(0).random((4, 3, 24, 28), np.float32)
    image = Image(array * [[[[1.0]], [[10.0]], [[100.0]]]], "ZCYX")
    options = {"model": sides, "neighbours": "z"}
    everything = restore(image, **options).array
    for c in range(3):
        alone = restore(image.array[:, c], axes="ZYX", **options)
        np.testing.assert_array_equal(everything[:, c], alone)
    some = restore(image, channels=(0, 2), **options).array
    assert np.array_equal(some[:, 1], image.array[:, 1])
    assert np.array_equal(some[:, 2], everything[:, 2])


def test_nan_of_a_neighbour_is_the_middle_plane(mean) -> None:
    array = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    array[2, :8] = np.nan
    found = restore(array, model=mean, axes="ZYX", intensity="none", neighbours="z")
    assert np.array_equal(np.isnan(found), np.isnan(array))
    filled = array.copy()
    filled[2, :8] = array[1, :8]
    expected = restore(filled, model=mean, axes="ZYX", intensity="none", neighbours="z")
    np.testing.assert_allclose(found[:2], expected[:2], rtol=0, atol=1e-6)
    blocks = restored(mean, Image(array, "ZYX"), Options(neighbours="z"), (1, 16, 16), 16)
    whole = restored(mean, Image(array, "ZYX"), Options(neighbours="z"), (3, 32, 32))
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("intensity", ["volume", "frame", "image"])
def test_a_movie_does_not_flicker(mean, intensity) -> None:
    rng = np.random.default_rng(0)
    scene = np.repeat(smooth(rng, (1, 64, 64), along=1), 24, 0) * 40 + 2
    movie = rng.poisson(scene).astype(np.float32)
    found = restore(movie, model=mean, axes="TYX", intensity=intensity, neighbours="t")
    assert found.mean((1, 2)).std() <= movie.mean((1, 2)).std()
    assert (found.std(0) < movie.std(0)).mean() > 0.99
    exact = by_hand(mean, movie, 0)  # maps that differ in time do not come through
    inner = (slice(1, -1), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(found[inner], exact[inner], rtol=1e-3)


@pytest.mark.parametrize("dropped", ["empty", "dark", "flash"])
def test_dropped_frames_and_flashes_are_no_neighbours(mean, dropped) -> None:
    rng = np.random.default_rng(0)
    movie = rng.poisson(np.repeat(smooth(rng, (1, 40, 44), 1), 6, 0) * 400 + 50).astype(np.float32)
    other = movie.copy()
    other[3] = {"empty": 0, "dark": rng.normal(0, 2, (40, 44)), "flash": 5 * movie[3]}[dropped]
    found = restore(other, model=mean, axes="TYX", neighbours="t")
    for k in (2, 4):
        alike = movie.copy()
        alike[3] = alike[k]
        expected = restore(alike, model=mean, axes="TYX", neighbours="t")
        np.testing.assert_allclose(found[k], expected[k], rtol=1e-5)
    parts = restored(mean, Image(other, "TYX"), Options(neighbours="t"), (1, 20, 22), 20)
    np.testing.assert_allclose(parts, found, rtol=1e-4, atol=1e-3)


def smooth(rng: np.random.Generator, shape: tuple[int, ...], along: float) -> np.ndarray:
    """Draw structures of about 0..1, some pixels wide and `along` planes long."""
    frequencies = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    widths = (along, 2.5, 2.5)
    damping = sum((f * w) ** 2 for f, w in zip(frequencies, widths, strict=True))
    field = np.fft.ifftn(np.fft.fftn(rng.normal(size=shape)) * np.exp(-20 * damping)).real
    return (field - field.min()) / np.ptp(field)


@pytest.mark.parametrize(
    ("axes", "shape", "along", "together"),
    [
        ("ZYX", (12, 96, 96), 3.0, "Z"),
        ("ZYX", (12, 96, 96), 0.3, ""),
        ("TYX", (12, 96, 96), 3.0, "T"),
        ("YX", (96, 96), 0.0, ""),
    ],
)
def test_auto_goes_by_what_correlates(mean, tmp_path, axes, shape, along, together) -> None:
    rng = np.random.default_rng(0)
    light = smooth(rng, (12, 96, 96), along) if len(shape) == 3 else smooth(rng, (1, 96, 96), 1)[0]
    source = write(tmp_path / "in.tif", Image(rng.poisson(light * 40).astype(np.uint16), axes))
    done = restore_file(source, tmp_path / "out.tif", mean)
    notes = [note for note in done.notes if "eighbour" in note]
    about = read(tmp_path / "out.tif").provenance["restoration"].get("neighbours", {})
    assert about.get("along") == (together or None)
    assert len(notes) == len(shape) - 2
    if len(shape) == 3:
        assert about["correlation"] == pytest.approx(0.9 if together else 0.1, abs=0.15)
        assert f"along {axes[0]} {'correlate' if together else 'hardly'}" in notes[0]
    again = restore(source, model=mean, neighbours=together.lower() or "none", dtype="same")
    assert np.array_equal(read(tmp_path / "out.tif").array, again)
    assert restore(read(source), model=mean).notes[-1:] == tuple(notes)


def test_auto_takes_t_where_there_is_one_plane_along_z(mean) -> None:
    array = np.ones((5, 1, 20, 20), np.float32)
    task = choose_task(Image(array, "TZYX"), mean, Options())
    assert task.neighbours.candidate == "T"
    both = choose_task(Image(array.repeat(2, 1), "TZYX"), mean, Options())
    assert both.neighbours.candidate == "Z"


def test_each_plane_is_read_a_bounded_number_of_times(sides) -> None:
    array = np.zeros((24, 300, 320), np.uint16)
    for memory, most in ((2 * 10**9, 1.5), (180 * 10**6, 3.5)):
        source = Guarded(array, 1)
        options = {"intensity": "none", "neighbours": "z", "dtype": "same"}
        restore(Image(source, "ZYX"), model=sides, memory=memory, hot_pixels="keep", **options)
        assert source.reads.min() >= 1
        assert np.median(source.reads) <= most
        assert source.reads.max() <= 2 * most + 1  # at the blocks' ends; hot pixels are looked for


def test_files_workers_and_resumed_runs_are_the_same(folder, tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    array = (smooth(rng, (40, 70, 80), 3.0) * 900).astype(np.uint16)
    source = write(tmp_path / "in.ome.tif", Image(array, "ZYX", {"X": 0.1}))
    model = network(folder / "sides.onnx", SIDES)
    expected = restore(source, model=model)
    restore_file(source, tmp_path / "one.zarr", model)
    restore_file(source, tmp_path / "two.zarr", model, workers=2)
    written = []

    def stop(self, index, pixels, before=job.Job.write):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(index)
        before(self, index, pixels)

    parted, options = tmp_path / "three.zarr", {"memory": 165 * 10**6}
    with monkeypatch.context() as patch:
        patch.setattr(job.Job, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            restore_file(source, parted, model, **options)
    assert written == [0]
    options["resume"] = True
    with pytest.raises(ValueError, match=r"resume: .*got neighbour"):
        restore_file(source, parted, model, neighbours="none", **options)
    restore_file(source, parted, model, **options)
    for name in ("one", "two", "three"):
        found = read(tmp_path / f"{name}.zarr")
        assert np.array_equal(found.array, expected), name
        assert found.provenance["restoration"]["neighbours"]["along"] == "Z"


def test_dask_gives_the_same_and_reads_what_it_needs(sides) -> None:
    da = pytest.importorskip("dask.array")
    array = smooth(np.random.default_rng(0), (9, 64, 70), 3.0).astype(np.float32)
    noted = Guarded(array, 1)
    for neighbours in ("z", "auto"):
        lazy = da.from_array(array, chunks=(2, 40, 35))
        options = {"model": sides, "axes": "ZYX", "neighbours": neighbours}
        result = restore(lazy, **options)
        assert np.array_equal(result.compute(), restore(array, **options))
    lazy = da.from_array(noted, chunks=(1, 64, 70), name="noted", asarray=False)
    result = restore(lazy, model=sides, axes="ZYX", neighbours="z", intensity="none")
    noted.reads[:] = 0
    result[4].compute(scheduler="synchronous")
    assert np.flatnonzero(noted.reads).tolist() == [3, 4, 5]


def test_the_preview_is_the_result(sides) -> None:
    array = smooth(np.random.default_rng(0), (7, 60, 64), 3.0)
    image, options = Image(array, "ZYX"), Options()
    preview = Preview(image, sides, options)
    region = preview.region({"Z": 3, "Y": 30, "X": 30})
    assert np.array_equal(preview.restore(region)[0], restore(image, model=sides).array[3])


def test_zarr_chunks_along_the_neighbours(sides, tmp_path) -> None:
    array = smooth(np.random.default_rng(0), (9, 64, 64), 3.0).astype(np.float32)
    stored = zarr.create_array(tmp_path / "in.zarr", data=array, chunks=(4, 32, 32))
    found = restore(stored, model=sides, axes="ZYX", neighbours="z", memory=160 * 10**6)
    assert np.array_equal(found, restore(array, model=sides, axes="ZYX", neighbours="z"))


def test_refusals(restorer, mean, folder) -> None:
    stack = Image(np.zeros((3, 8, 8), np.float32), "ZYX", {"Z": 2.0, "Y": 1.0, "X": 1.0})
    for model, options, message in (
        (restorer, Options(neighbours="z"), "the model sees single planes, got 'z'"),
        (mean, Options(neighbours="t"), "expected an image with axis T, got ZYX"),
        (mean, Options(neighbours="z", task="axial"), "expected auto or none for the axial task"),
        (mean, Options(neighbours="y"), "neighbours: expected 'auto' or 'z' or 't' or 'none'"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_task(stack, model, options)
    assert choose_task(stack, restorer, Options(neighbours="none")).neighbours is None
    for planes, weights in ((3, MEAN[:, :1]), (2, MEAN[:, :2])):
        path = network(folder / "wrong.onnx", weights, planes=planes)
        with pytest.raises(ValueError, match="expected a model of an odd number of planes"):
            Restorer(path)
    flat = replace(stack, array=np.zeros((3, 2, 2), np.float32))
    assert choose_task(flat, mean, Options()).neighbours.axis == ""


def specimen(rng: np.random.Generator, shape: tuple[int, ...], along: float) -> np.ndarray:
    """Structures of some pixels, `along` planes long, on a mean of 1."""
    light = ndimage.gaussian_filter(rng.normal(size=shape), (along, 1.5, 1.5), mode="wrap")
    return np.clip(1 + 0.3 * light / light.std(), 0, None)


@pytest.mark.parametrize("photons", [3, 30, 3000])
@pytest.mark.parametrize("along", [0.0, 0.8, 1.5, 4.0])
def test_correlation_is_that_of_the_structures(photons, along) -> None:
    rng = np.random.default_rng(0)
    light = specimen(rng, (9, 200, 220), along)
    expected = np.exp(-1 / (4 * along**2)) if along else 0.0  # of a Gaussian with itself, moved
    seen = rng.poisson(photons * light).astype(np.uint16)
    found = plane_correlation(Image(seen, "ZYX"), "Z")
    assert found == pytest.approx(expected, abs=0.08 if photons > 3 else 0.15)


def test_light_and_camera_patterns_are_no_structures() -> None:
    rng = np.random.default_rng(0)
    light = specimen(rng, (9, 200, 220), 0.0)
    ramp = np.linspace(0.2, 3, 220) * np.linspace(1, 2, 200)[:, None]
    pattern = rng.normal(0, 20, (200, 220))
    assert plane_correlation(Image(rng.poisson(30 * light * ramp) + pattern, "ZYX"), "Z") < 0.2
    noise = Image(rng.poisson(30, (9, 200, 220)) + pattern, "ZYX")
    assert plane_correlation(noise, "Z") == 0


def test_correlation_along_the_axis_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    movie = np.repeat(specimen(rng, (6, 64, 70), 0.0)[None, :, None], 5, 0)  # (T, Z, C, Y, X)
    movie = np.concatenate([movie, rng.random(movie.shape)], 2)
    image = Image(movie.transpose(4, 1, 0, 2, 3), "XZTCY")
    assert plane_correlation(image, "T", channels=(0,)) > 0.95
    assert plane_correlation(image, "Z", channels=(0,)) < 0.2
    assert plane_correlation(image, "T", channels=(1,)) < 0.2


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 1, 90), (4, 33, 3)])
def test_correlation_of_small_flat_and_masked_planes(shape) -> None:
    rng = np.random.default_rng(0)
    assert 0 <= plane_correlation(Image(rng.random(shape), "ZYX"), "Z") <= 1
    assert plane_correlation(Image(np.ones(shape), "ZYX"), "Z") == 0
    light = np.repeat(specimen(rng, (1, 96, 96), 0.0), 4, 0)
    light[:, :40] = np.nan
    assert plane_correlation(Image(light, "ZYX"), "Z") == pytest.approx(1)
    assert plane_correlation(Image(np.full((3, 40, 40), np.nan), "ZYX"), "Z") == 0


def test_correlation_reads_a_few_fields() -> None:
    class Endless:
        shape, dtype, ndim, read = (9000, 40_000, 40_000), np.dtype(np.uint8), 3, 0

        def __getitem__(self, region):
            sides = [part.stop - part.start for part in region]
            self.read += np.prod(sides)
            return np.zeros(sides, np.uint8)

    endless = Endless()
    plane_correlation(Image(endless, "ZYX"), "Z")
    assert endless.read == 6 * 2 * 512 * 512
