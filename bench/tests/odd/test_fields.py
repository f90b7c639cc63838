"""Fields: each serves one purpose; the images are the same ones each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microscopygan_bench.odd import families, fields
from microscopygan_bench.odd.families import FAMILIES, SIDE, Microscope
from microscopygan_bench.odd.fields import field_of, read_family, to_counts


def test_no_field_is_on_two_sides(whole_data: Path) -> None:
    images = read_family(whole_data, "columns")
    purposes = (images.defective, images.like, images.test)
    used = [{field_of(name) for name in planes} for planes in purposes]
    assert len(set.union(*used)) == sum(map(len, used))
    assert (len(images.defective), len(images.like), len(images.unlike)) == (100, 54, 54)
    assert len(images.test) == len(used[2]) == 24
    assert list(images.test) == list(images.test_targets)
    assert list(images.defective) == list(images.targets)
    assert len({field_of(name) for name in list(images.defective)[:10]}) == 10
    every = [*images.defective.values(), *images.like.values(), *images.unlike.values()]
    assert {plane.shape for plane in [*every, *images.test.values()]} == {(SIDE, SIDE)}


def test_images_are_the_same_each_time_and_known_by_their_pixels(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = read_family(data, "rows"), read_family(data, "rows")
    assert first.digest == again.digest
    assert first.digest != read_family(data, "jitter").digest
    other = replace(FAMILIES["rows"], build=lambda rng, maps: Microscope())
    monkeypatch.setitem(families.FAMILIES, "rows", other)
    assert read_family(data, "rows").digest != first.digest


def test_squares_do_not_overlap() -> None:
    plane = np.arange(500 * 480).reshape(500, 480)
    cut = fields.squares(plane)
    assert len(cut) == 9
    assert np.unique(np.concatenate([c.ravel() for c in cut])).size == 9 * SIDE**2


def test_counts_keep_the_intensities() -> None:
    plane = np.array([[-0.5, 0.0, 1.0, 6.0]])
    assert np.allclose((to_counts(plane).astype(float) - 5000) / 10_000, plane)


def test_missing_images_are_one_line(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ValueError, match=r"biosr_er_\*.tif: expected 6 images at least, got 0; "):
        read_family(tmp_path, "rows")
