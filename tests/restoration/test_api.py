"""From Python: arrays, images, paths, lazy arrays; one session for many images."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

from microscopygan.image.formats import Image, write
from microscopygan.restoration import intensity_maps
from microscopygan.restoration.api import load, restore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dask.array as da


def test_arrays_images_and_paths_agree(restorer, stack, tmp_path) -> None:
    array = restore(stack, model=restorer, axes="TZCYX")
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == (stack.shape, stack.dtype)
    image = restore(Image(stack, "TZCYX", {"X": 0.1}), model=restorer)
    assert np.array_equal(image.array, array)
    assert (image.axes, image.pixel_size) == ("TZCYX", {"X": 0.1})
    path = write(tmp_path / "a.npy", Image(stack, "TZCYX"))
    assert np.array_equal(restore(str(path), model=restorer, axes="TZCYX"), array)
    assert np.array_equal(restore(path, model=restorer, axes="TZCYX"), array)
    stored = zarr.create_array({}, data=stack, chunks=(1, 2, 1, 30, 50))
    assert np.array_equal(restore(stored, model=restorer, axes="TZCYX"), array)
    plane = stack[0, 0, 0].tolist()
    assert restore(plane, model=restorer).shape == (48, 70)


def test_the_pixel_size_of_a_stack(restorer, stack) -> None:
    image = Image(stack[0, :, 0], "ZYX")
    sizes = {"Z": 1.0, "Y": 0.5, "X": 0.5}
    isotropic = restore(image, model=restorer, task="axial", pixel_size=sizes)
    assert isotropic.array.shape == (7, 48, 70)
    assert isotropic.pixel_size == {"Z": 0.5, "Y": 0.5, "X": 0.5}
    array = restore(image.array, model=restorer, axes="ZYX", task="axial", pixel_size=sizes)
    assert np.array_equal(array, isotropic.array)
    kept = restore(image, model=restorer, task="axial", pixel_size=sizes, keep_sampling=True)
    assert kept.array.shape == image.array.shape


def test_progress_counts_all_pixels(restorer, stack) -> None:
    seen = []
    restore(
        stack, model=restorer, axes="TZCYX", progress=lambda done, total: seen.append((done, total))
    )
    assert seen[0] == (0, stack.size)
    assert seen[-1] == (stack.size, stack.size)
    assert seen == sorted(seen)


def test_one_session_many_images_many_threads(model, stack) -> None:
    restorer = load(model, threads=1)
    assert load(restorer) is restorer
    images = [stack[t, z, :, : 30 + z] for t in range(2) for z in range(4)]
    expected = [restore(image, model=model, axes="CYX") for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda a: restore(a, model=restorer, axes="CYX"), images))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("intensity", ["volume", "frame", "image", "none"])
def test_dask_in_dask_out(restorer, stack, intensity) -> None:
    options = {"model": restorer, "axes": "TZCYX", "intensity": intensity, "dtype": "float32"}
    lazy = da.from_array(stack, chunks=(1, 3, 2, 20, (30, 33, 7)))
    restored = restore(lazy, **options)
    assert isinstance(restored, da.Array)
    assert (restored.chunks, restored.dtype) == (lazy.chunks, np.float32)
    expected = restore(stack, **options)
    assert np.array_equal(restored.compute(), expected)
    part = restored[1, 1:3, 2, 5:30, 40:].compute(scheduler="synchronous")
    assert np.array_equal(part, expected[1, 1:3, 2, 5:30, 40:])


def test_a_lazy_stack_becomes_isotropic(restorer, stack) -> None:
    options = {"model": restorer, "axes": "ZYX", "task": "axial"}
    options["pixel_size"] = {"Z": 1.0, "Y": 0.5, "X": 0.5}
    restored = restore(da.from_array(stack[0, :, 0], chunks=(2, 30, 40)), **options)
    assert restored.chunks == ((7,), (30, 18), (40, 30))
    assert np.array_equal(restored.compute(), restore(stack[0, :, 0], **options))


class Huge:
    """400 GB of which the chunks that are read are noted."""

    shape, dtype, ndim = (2, 1000, 10_000, 10_000), np.dtype(np.uint16), 4

    def __init__(self) -> None:
        self.read: list[tuple[int, ...]] = []

    def __getitem__(self, region):
        place = tuple(part.start for part in region)
        sides = [part.stop - part.start for part in region]
        if all(sides):  # Dask asks for none to learn the type
            self.read.append(place)
        return np.random.default_rng(place).integers(0, 5000, sides, np.uint16)


def test_a_part_of_400_gigabytes_reads_that_part(restorer, monkeypatch) -> None:
    monkeypatch.setattr(intensity_maps, "EXACT", 2**22)
    huge = Huge()
    lazy = da.from_array(huge, chunks=(1, 1, 1000, 1000), name="huge")
    restored = restore(lazy, model=restorer, axes="CZYX")
    assert huge.read == []
    part = restored[1, 500, 5010:5020, 2600:2620].compute(scheduler="synchronous")
    assert part.shape == (10, 20)
    assert len(huge.read) == 4 + 9  # the sample, then one chunk and its neighbours
    assert {place[0] for place in huge.read} == {1}
    huge.read.clear()
    restored[1, 400, 1000:1020, :9].compute(scheduler="synchronous")
    chunks = sorted((z, y // 1000, x // 1000) for _, z, y, x in huge.read)
    assert chunks == [(400, y, x) for y in (0, 1, 2) for x in (0, 1)]


def test_refusals(restorer, whole_model, stack) -> None:
    with pytest.raises(ValueError, match=r"image: 5 dimensions \(2, 4, 3, 48, 70\)"):
        restore(stack, model=restorer)
    with pytest.raises(ValueError, match="expected integer or float pixels"):
        restore(stack > 3, model=restorer, axes="TZCYX")
    with pytest.raises(ValueError, match="expected one axis letter for each"):
        restore(stack, model=restorer, axes="ZYX")
    with pytest.raises(ValueError, match="pixel sizes"):
        restore(stack, model=restorer, axes="TZCYX", pixel_size={"X": 0})
    lazy = da.from_array(stack, chunks=(1, 1, 1, 20, 70))
    with pytest.raises(ValueError, match="expected one chunk along each axis of a plane"):
        restore(lazy, model=whole_model, axes="TZCYX")
    with pytest.raises(MemoryError, match="expected at least"):
        restore(stack, model=restorer, axes="TZCYX", memory=10**6)


def test_a_model_for_whole_planes(whole_model, stack) -> None:
    lazy = da.from_array(stack, chunks=(1, 2, 1, 48, 70))
    restored = restore(lazy, model=whole_model, axes="TZCYX").compute()
    assert np.array_equal(restored, restore(stack, model=whole_model, axes="TZCYX"))


def test_hints_and_strength_belong_to_the_opened_model(stack) -> None:
    plane = stack[0, 0, 0]
    blended = restore(plane, strength=0.5, defect="noise")
    opened = load(strength=0.5, defect=("noise",))
    assert np.array_equal(restore(plane, model=opened), blended)
    with pytest.raises(ValueError, match="open already"):
        restore(plane, model=opened, defect="noise")
    with pytest.raises(ValueError, match="open already"):
        load(opened, strength=0.2)
    lazy = da.from_array(stack[0, 0], chunks=(2, 30, 70))
    hinted = restore(lazy, axes="ZYX", defect="noise")
    assert hinted.name != restore(lazy, axes="ZYX").name
    assert np.array_equal(hinted.compute(), restore(stack[0, 0], axes="ZYX", defect="noise"))


@pytest.mark.parametrize("shape", [(1, 48, 70), (1, 1, 48, 70), (2, 1, 48, 70), (48, 70, 1)])
def test_axes_of_length_1_need_no_names(restorer, stack, shape) -> None:
    array = np.resize(stack, shape)
    restored = restore(array, model=restorer)
    assert restored.shape == shape
    if shape[0] == 1:
        plane = restore(array.reshape(48, 70), model=restorer)
        assert np.array_equal(restored.reshape(48, 70), plane)


def test_an_array_of_one_dimension_is_no_image(restorer) -> None:
    with pytest.raises(ValueError, match=r"image: expected 2 to 5 dimensions, got shape \(70,\)"):
        restore(np.zeros(70), model=restorer)


def test_levels_of_a_pyramid_are_one_clear_line(restorer, stack) -> None:
    levels = [stack[0, 0, 0], stack[0, 0, 0, ::2, ::2]]
    for given in (levels, tuple(da.from_array(level) for level in levels)):
        with pytest.raises(ValueError, match=r"got 2 of the shapes .*pyramid.*image\[0\]"):
            restore(given, model=restorer)
