"""Memory: sparse stores, the peak of a process, and the bar."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microscopygan.image.formats import missing_chunks, open_image
from microscopygan_bench import restoration_memory


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
def test_filled_chunks_are_whole_and_few(z: int, y: int, x: int) -> None:
    lengths, chunks = {"T": 3, "Z": z, "Y": y, "X": x}, (1, 1, 4, 3)
    filled = np.zeros(tuple(lengths.values()), int)
    for region in restoration_memory.filled_chunks(lengths, chunks):
        assert all(part.start % n == 0 for part, n in zip(region, chunks, strict=True))
        filled[region] += 1
    assert filled.max() == 1
    assert not filled[:2].any()
    assert np.array_equal(filled[2].any((1, 2)), np.full(z, True))
    assert filled[2, 0].sum() <= 12 * -(-y // 16) * -(-x // 12)


def test_sparse_store_opens_and_lacks_chunks(tmp_path: Path) -> None:
    store = tmp_path / "a.ome.zarr"
    restoration_memory.write_sparse(store, {"Y": 1500, "X": 1500})
    image = open_image(store)
    assert (image.array.shape, image.axes, image.array.dtype) == ((1500, 1500), "YX", np.uint16)
    assert missing_chunks(image) == 3
    assert image.array[0:1024, 0:1024].min() > 0
    assert not image.array[1024:1500, 0:1500].any()


def test_watched_sees_the_memory_of_the_process() -> None:
    small, large = (
        restoration_memory.watched([sys.executable, "-c", f"b'1' * {size}"]) for size in (1, 10**8)
    )
    assert 90e6 < large.memory - small.memory < 120e6


def test_watched_passes_on_the_last_line() -> None:
    with pytest.raises(SystemExit, match="out of luck"):
        restoration_memory.watched([sys.executable, "-c", "raise SystemExit('out of luck')"])


@pytest.mark.slow
def test_memory_stays_below_the_bar(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Starts two processes, one of which loads Dask."""
    pytest.importorskip("dask.array")
    command = f"--model {model} --sides 200 --huge 40 --threads 1"
    restoration_memory.main(command.split())
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert all(row.endswith("holds") for row in rows)
    assert "whole" in rows[0]
    assert "lazy" in rows[1]
