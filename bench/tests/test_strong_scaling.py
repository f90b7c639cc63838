"""Strong scaling: several workers write the same bytes, also when parts of a cluster are killed."""

import json
import re
from pathlib import Path

import pytest
import zarr

from microscopygan_bench import strong_scaling
from microscopygan_bench.strong_scaling import Run


def test_stored_chunks_tell_images_apart(tmp_path: Path) -> None:
    for name, side in (("a", 40), ("b", 40), ("c", 41)):
        strong_scaling.write_image(tmp_path / f"{name}.ome.zarr", (side, side), 16)
    first, same, other = (strong_scaling.chunks_of(tmp_path / f"{n}.ome.zarr") for n in "abc")
    assert len(first) == 9
    assert first == same != other


def test_a_stack_is_written_a_row_of_chunks_at_once(tmp_path: Path) -> None:
    strong_scaling.write_image(tmp_path / "a.ome.zarr", (20, 40, 40), 16)
    array = zarr.open_array(tmp_path / "a.ome.zarr" / "0", mode="r")
    assert (array.shape, array.chunks, array.dtype) == ((20, 40, 40), (16, 16, 16), "uint16")
    assert len({array[z, y].tobytes() for z in range(20) for y in range(40)}) == 20 * 40


@pytest.mark.parametrize("wrong", ["0", "dask", "dask-2-killed", "2-worker-killed", "dask-2-"])
def test_a_run_that_is_none_is_one_line(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        strong_scaling.main(["--runs", wrong])
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"got {wrong!r}")


def test_the_table_holds_medians_of_all_runs() -> None:
    runs = [(Run(True, "worker", 12), 8.0), *((Run(False, "", 2), s) for s in (2.0, 9.0, 4.0))]
    about = {"equal": True, "blocks": "", "machine": "here"}
    every = json.loads(json.dumps([{"run": run, "seconds": s} | about for run, s in runs]))
    lines = strong_scaling.table(every, (2000, 1000))
    assert lines[0] == "2000 × 1000 uint16, here, medians of 1/3:"
    assert lines[-2:] == [
        "| 2 workers | 4.0 | 0.50 | 1.00 | byte-equal | – |",
        "| Dask, 12 workers, one of them killed | 8.0 | 0.25 | 0.50 | byte-equal | – |",
    ]


def test_runs_of_other_images_are_not_mixed(model: Path, tmp_path: Path) -> None:
    strong_scaling.prepared(tmp_path, (40, 40), 16, model)
    with pytest.raises(SystemExit, match=r"expected runs of chunk 32, got some of 16; choose"):
        strong_scaling.prepared(tmp_path, (40, 40), 32, model)


@pytest.mark.slow
def test_scaling_gives_equal_bytes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slow: starts the program twice, once with two workers."""
    command = f"--model {model} --size 600x600 --chunk 128 --repeats 1 --folder {tmp_path} --runs"
    assert strong_scaling.main([*command.split(), "1"]) == 0
    assert strong_scaling.main([*command.split(), "2"]) == 0
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 1 worker", "| 2 workers"]
    assert all(row.endswith("| byte-equal | – |") for row in rows)


@pytest.mark.slow
def test_killing_parts_of_a_cluster_changes_no_byte(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slow: starts three clusters, and the program four times."""
    pytest.importorskip("distributed")
    runs = "1 dask-2-worker-killed dask-1-scheduler-killed"
    command = f"--model {model} --size 96x256x256 --chunk 128 --repeats 1 --runs {runs}"
    assert strong_scaling.main(command.split()) == 0
    scheduler, worker = sorted(capsys.readouterr().out.splitlines()[-2:])
    assert re.search(
        r"1 worker, scheduler .* \| byte-equal \| \d of 6 before; [3-6] not", scheduler
    )
    assert re.search(r"2 workers, one of .* \| byte-equal \| [3-6] of 6 before \|", worker)
