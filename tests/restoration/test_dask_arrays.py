"""Lazy arrays: Dask in, Dask out; a part of the result reads that part."""

import warnings

import numpy as np
import pytest

from microscopygan.restoration import intensity_maps
from microscopygan.restoration.api import restore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dask.array as da


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


def test_a_model_for_whole_planes_takes_whole_chunks(whole_model, stack) -> None:
    lazy = da.from_array(stack, chunks=(1, 2, 1, 48, 70))
    restored = restore(lazy, model=whole_model, axes="TZCYX").compute()
    assert np.array_equal(restored, restore(stack, model=whole_model, axes="TZCYX"))
    lazy = da.from_array(stack, chunks=(1, 1, 1, 20, 70))
    with pytest.raises(ValueError, match="expected one chunk along each axis of a plane"):
        restore(lazy, model=whole_model, axes="TZCYX")


def test_hints_are_part_of_the_name(stack) -> None:
    lazy = da.from_array(stack[0, 0], chunks=(2, 30, 70))
    hinted = restore(lazy, axes="ZYX", defect="noise")
    assert hinted.name != restore(lazy, axes="ZYX").name
    assert np.array_equal(hinted.compute(), restore(stack[0, 0], axes="ZYX", defect="noise"))
