"""A preview is a part of the whole result, to the bit."""

import dask.array
import numpy as np
import pytest

from microscopygan import Cancelled, load, restore
from microscopygan.apps.preview import Preview
from microscopygan.image.formats import Image
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.tasks import Options

SIZES = {"Z": 0.3, "Y": 0.1, "X": 0.1}


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return load()


@pytest.fixture
def stack() -> Image:
    pixels = np.random.default_rng(0).integers(0, 999, (2, 5, 60, 72), np.uint16)
    return Image(pixels, "CZYX", SIZES)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("task", ["plane", "axial"])
def test_a_preview_is_a_part_of_the_result(restorer, stack, task, lazy) -> None:
    whole = restore(stack, model=restorer, task=task).array
    array = dask.array.from_array(stack.array, chunks=(1, 2, 60, 72)) if lazy else stack.array
    preview = Preview(Image(array, "CZYX", SIZES), restorer, Options(task=task))
    region = preview.region({"C": 1, "Z": 3, "Y": 30, "X": 36})
    shown = preview.restore(region)
    assert shown.shape == (1, 1, 60, 72)
    assert np.array_equal(shown, whole[region])
    assert region[1].start == (9 if task == "axial" else 3)


@pytest.mark.parametrize("place", [0, 700, 1499])
def test_of_a_large_plane_a_field_around_the_place(restorer, place) -> None:
    image = Image(np.zeros((1500, 80), np.uint16), "YX")
    y, x = Preview(image, restorer, Options()).region({"Y": place, "X": 5})
    assert (y.stop - y.start, x) == (1024, slice(0, 80))
    assert y.start <= place < y.stop


def test_a_preview_can_be_stopped(restorer, stack) -> None:
    def stop(pixels: int) -> None:
        raise Cancelled("stop")

    preview = Preview(stack, restorer, Options())
    with pytest.raises(Cancelled):
        preview.restore(preview.region({}), stop)


def test_one_session_serves_all_hints_and_strengths(restorer, stack) -> None:
    plane = stack.array[0, 0]
    other = restorer.with_hint("noise", 0.5)
    assert (other.hint, other.strength, restorer.strength) == (("noise",), 0.5, 1.0)
    expected = restore(plane, model=load(defect="noise", strength=0.5))
    assert np.array_equal(restore(plane, model=other), expected)
    with pytest.raises(ValueError, match="expected some of"):
        restorer.with_hint("dust")
