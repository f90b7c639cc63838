"""The page about what is wrong: whole, self-contained, and it shows the worst part."""

import re

import numpy as np
import pytest

from microscopygan.defects.specimens import nuclei
from microscopygan.diagnosis.planes import Channel
from microscopygan.diagnosis.words import ImageDiagnosis, say
from microscopygan.evaluate.report.diagnosis_page import (
    marked,
    spectrum,
    worst_part,
    write_diagnosis,
)
from microscopygan.evaluate.report.pictures import Detail


@pytest.fixture
def plane() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.poisson(200 + 800 * nuclei((160, 200), rng)).astype(np.float32)


@pytest.fixture
def diagnosis(plane) -> ImageDiagnosis:
    channels = tuple(
        say(Channel(name, (plane.astype(np.uint16), np.minimum(plane, 700))), hints=("noise",))
        for name in ("<b>DNA</b>", "actin")
    )
    return ImageDiagnosis(("<i>a</i>.tif", "b.tif"), channels)


def test_the_page_is_whole_and_shows_every_channel(checked, diagnosis, tmp_path) -> None:
    path = write_diagnosis([diagnosis], tmp_path / "page.html")
    text, images = checked(path)
    assert images == 8
    assert "2 images of one laboratory" in text
    assert "&lt;b&gt;DNA&lt;/b&gt;" in text
    assert "&lt;i&gt;a&lt;/i&gt;.tif" in text
    assert "saturation: " in text
    assert text.count("<svg") == 8
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_nothing_is_replaced_unasked(diagnosis, tmp_path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        write_diagnosis([diagnosis], path)
    assert path.read_text() == "mine"
    write_diagnosis([diagnosis], path, overwrite=True)
    assert path.read_text() != "mine"


def test_the_worst_part_is_where_the_noise_is(plane) -> None:
    flat = np.full_like(plane, 100)
    flat[60:150, 100:190] += np.random.default_rng(0).normal(0, 9, (90, 90)).astype(np.float32)
    square = worst_part(flat)
    assert square.rows.start <= 60 + 6
    assert square.rows.stop >= 150 - 6
    assert square.columns.start >= 90
    assert square.cut(flat).shape == (96, 96)
    small = np.random.default_rng(0).random((32, 40)).astype(np.float32)
    assert worst_part(small).cut(small).shape == (32, 40)


def test_pixels_that_are_cut_off_or_hot_get_a_colour(plane) -> None:
    plane = np.minimum(plane, 900)
    plane[::40, ::40] = 5000
    square = Detail(slice(0, 96), slice(0, 96), plane.shape)
    shown = marked(plane, square)
    coloured = shown[..., 0] != shown[..., 2]
    assert coloured[40, 40]
    assert coloured.sum() == 9
    cut = np.minimum(plane, 600)
    assert (marked(cut, square)[..., 0] != marked(cut, square)[..., 2]).sum() == (
        np.count_nonzero(square.cut(cut) == 600)
    )


def test_waves_are_dots_in_the_spectrum(plane) -> None:
    rows = np.arange(128)[:, None]
    waves = np.broadcast_to(np.sin(2 * np.pi * rows / 8), (128, 128)).astype(np.float32)
    shown = spectrum(waves + np.random.default_rng(0).normal(0, 0.1, (128, 128)).astype(np.float32))
    assert shown[64 + 16, 64] == 255
    assert shown[64 - 16, 64] == 255
    assert shown[64, 64 + 16] < 200
