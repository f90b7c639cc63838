"""From Python: arrays, images, paths; one session for many images."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

from microscopygan.image.formats import Image, write
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


def test_refusals(restorer, stack) -> None:
    with pytest.raises(ValueError, match=r"image: 5 dimensions \(2, 4, 3, 48, 70\)"):
        restore(stack, model=restorer)
    with pytest.raises(ValueError, match="expected integer or float pixels"):
        restore(stack > 3, model=restorer, axes="TZCYX")
    with pytest.raises(ValueError, match="expected one axis letter for each"):
        restore(stack, model=restorer, axes="ZYX")
    with pytest.raises(ValueError, match="pixel sizes"):
        restore(stack, model=restorer, axes="TZCYX", pixel_size={"X": 0})
    with pytest.raises(MemoryError, match="expected at least"):
        restore(stack, model=restorer, axes="TZCYX", memory=10**6)


def test_hints_and_strength_belong_to_the_opened_model(stack) -> None:
    plane = stack[0, 0, 0]
    blended = restore(plane, strength=0.5, defect="noise")
    opened = load(strength=0.5, defect=("noise",))
    assert np.array_equal(restore(plane, model=opened), blended)
    with pytest.raises(ValueError, match="open already"):
        restore(plane, model=opened, defect="noise")
    with pytest.raises(ValueError, match="open already"):
        load(opened, strength=0.2)


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
