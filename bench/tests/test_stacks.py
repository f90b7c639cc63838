"""Stacks with noise: what neighbours gain, and that a movie of one scene stays quiet."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from microscopygan.image.formats import Image, write
from microscopygan.restoration.model import Restorer
from microscopygan_bench import stacks
from microscopygan_bench.stacks import FINE_BAR, Flicker, Gain, flicker, flicker_rows, gain_row


@pytest.fixture
def stack() -> np.ndarray:
    """Structures that are as long along Z as across."""
    noise = np.random.default_rng(0).normal(size=(11, 48, 52))
    return ndimage.gaussian_filter(noise, 2.0, mode="wrap")


def test_the_tables_are_printed(
    stack: np.ndarray, deep_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "some.ome.tif", Image((stack * 9000 + 3000).astype(np.uint16), "ZYX"))
    stacks.main([str(tmp_path), "--model", str(deep_model)])
    printed = capsys.readouterr().out
    assert re.search(
        r"^some +0\.9\d .* z [+-]\d\.\d\d, bar \+0\.80: (holds|MISSED)$", printed, re.M
    )
    assert re.search(r"^some, 1 of 5 +0\.\d\d .* none \+0\.00, bar -0\.05: holds$", printed, re.M)
    assert (
        len(re.findall(r"^ +(none|t) +\d\.\d{3} +\d+\.\d\d  (holds|MISSED)$", printed, re.M)) == 2
    )


def test_light_is_that_of_the_percentiles(tmp_path: Path) -> None:
    array = np.arange(4 * 40 * 50, dtype=np.uint16).reshape(4, 40, 50)
    light = stacks.light_of(write(tmp_path / "a.ome.tif", Image(array, "ZYX")))
    assert light.min() == 0
    assert np.isclose(np.percentile(light, 99.8), 1)


def test_only_models_of_three_planes(model: Path, tmp_path: Path, stack: np.ndarray) -> None:
    write(tmp_path / "a.ome.tif", Image(stack.astype(np.float32), "ZYX"))
    for arguments in ([tmp_path, "--model", model], [tmp_path / "none", "--model", model]):
        with pytest.raises(SystemExit) as end:
            stacks.main(list(map(str, arguments)))
        assert end.value.code == 2


def test_bars_are_those_of_what_users_get() -> None:
    scores = {"input": 20.0, "none": 30.0, "z": 30.9}
    assert gain_row("a", Gain(0.9, "z", scores, scores), FINE_BAR).endswith(
        "z +0.90, bar +0.80: holds"
    )
    assert gain_row("a", Gain(0.3, "none", scores, scores), FINE_BAR).endswith("+0.80: MISSED")
    steady, uneasy = Flicker(0.1, 3.0), Flicker(0.3, 3.0)
    rows = list(flicker_rows("a", {"input": Flicker(0.2, 9.0), "none": uneasy, "t": steady}))
    assert [row.split()[-1] for row in rows[1:]] == ["MISSED", "holds"]


def test_a_movie_of_one_scene_varies_by_its_noise(stack: np.ndarray, deep_model: Path) -> None:
    light = np.clip(stack / stack.max(), 0, None)
    found = flicker(light, 5.0, Restorer(deep_model, strength=0.0), np.random.default_rng(0))
    for how in ("none", "t"):
        assert np.allclose(found[how], found["input"], rtol=1e-4)
