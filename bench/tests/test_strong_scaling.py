"""Strong scaling: several workers write the same bytes."""

from pathlib import Path

import pytest

from microscopygan_bench import strong_scaling


def test_stored_chunks_tell_images_apart(tmp_path: Path) -> None:
    for name, side in (("a", 40), ("b", 40), ("c", 41)):
        strong_scaling.write_image(tmp_path / f"{name}.ome.zarr", side, 16)
    first, same, other = (strong_scaling.chunks_of(tmp_path / f"{n}.ome.zarr") for n in "abc")
    assert len(first) == 9
    assert first == same != other


@pytest.mark.slow
def test_scaling_gives_equal_bytes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Starts the program twice, once with two workers."""
    command = f"--model {model} --side 600 --chunk 128 --repeats 1 --workers 1 2"
    strong_scaling.main(command.split())
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert all(row.endswith("byte-equal") for row in rows)
