"""The benchmarks of restoring: their parts keep their laws, and tiny runs print whole tables."""

import argparse
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from microscopygan.apps.cli import app
from microscopygan.gan.networks import UNetRestorer
from microscopygan.image.formats import missing_chunks, open_image
from microscopygan.model_card import ModelCard
from microscopygan.settings import RestorerArchitecture
from microscopygan.training.export_onnx import export_restorer, receptive_field
from microscopygan_bench import (
    inputs,
    machine,
    restoration_memory,
    restoration_speed,
    strong_scaling,
)
from microscopygan_bench.frames import field_of
from microscopygan_bench.restoration_speed import Case, Worker, take_turns, window_shape

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = REPOSITORY / "bench" / "src" / "microscopygan_bench" / "peers"
DASK = {"--port", "--nworkers", "--nthreads", "--lifetime", "--lifetime-stagger", "--gres"}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer of few channels."""
    path = tmp_path_factory.mktemp("model") / "restorer.onnx"
    network = UNetRestorer(RestorerArchitecture(channels=(4, 4, 4), blocks=1))
    halo = receptive_field(network, network.multiple)
    export_restorer(network, path, ModelCard(program="0", halo=halo, multiple=4, defects=("a",)))
    return path


def test_network_is_the_same_each_time() -> None:
    image = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        first, second = inputs.network()(image), inputs.network()(image)
    assert torch.equal(first, second)
    assert not torch.equal(first, image)


def test_specimen_has_shot_noise() -> None:
    counts = inputs.specimen((2, 300, 40))
    assert counts.shape == (2, 300, 40)
    assert counts.dtype == np.uint16
    dark = counts[counts < np.percentile(counts, 20)]
    assert np.unique(dark).size > 10


@pytest.mark.parametrize(("text", "lengths"), [("20x30", (20, 30)), ("1x16x17", (1, 16, 17))])
def test_size_reads(text: str, lengths: tuple[int, ...]) -> None:
    assert inputs.size(text) == lengths


@pytest.mark.parametrize("text", ["", "20", "20x", "20x8", "0x20x20", "1x2x16x16", "20x-20"])
def test_size_refuses_in_one_line(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"^expected .*; try 2048x2048$"):
        inputs.size(text)


@given(st.tuples(st.integers(1, 70), st.integers(16, 300), st.integers(16, 300)))
def test_window_has_the_area_of_the_image(shape: tuple[int, int, int]) -> None:
    rows, columns = window_shape(shape)
    assert rows % 4 == columns % 4 == 0
    assert 0 <= rows * columns - math.prod(shape) < 16
    assert window_shape(shape[1:]) == tuple(-(-n // 4) * 4 for n in shape[1:])


def test_window_of_the_stack_is_nearly_square() -> None:
    assert window_shape((60, 256, 256)) == (1920, 2048)


def test_frames_of_one_field_belong_together() -> None:
    assert field_of(Path("w2s_003_1_noisy.tif")) == field_of(Path("w2s_003_2_noisy.tif")) == "003"
    with pytest.raises(ValueError, match="rename it"):
        field_of(Path("a_noisy.tif"))


def test_turns_alternate_and_the_first_does_not_count() -> None:
    calls: list[str] = []
    times = {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([0.0, 4.0, 4.0, 7.0])}

    def contender(name: str) -> restoration_speed.Run:
        def run(job: dict[str, str]) -> float:
            calls.append(name)
            return next(times[name])

        return run

    found = take_turns({"a": contender("a"), "b": contender("b"), "c": "not there"}, {}, 3)
    assert found == {"a": 2.0, "b": 4.0, "c": "not there"}
    assert calls == ["a", "b"] * 4


def test_a_contender_that_fails_becomes_a_reason() -> None:
    def run(job: dict[str, str]) -> float:
        raise RuntimeError("out of luck")

    assert take_turns({"a": run, "b": lambda job: 1.0}, {}, 2) == {"a": "out of luck", "b": 1.0}


@pytest.mark.parametrize(
    ("name", "seconds", "end"),
    [
        (restoration_speed.OURS, 2.0, "2.000     2.000     1.00×"),
        (restoration_speed.BARE, 1.7, "1.700     2.353     0.85×  holds"),
        (restoration_speed.BARE, 1.6, "1.600     2.500     0.80×  MISSED"),
        ("CARE of CSBDeep", 6.5, "6.500     0.615     3.25×  holds"),
        ("CARE of CSBDeep", "left out", "left out"),
    ],
)
def test_speed_row(name: str, seconds: float | str, end: str) -> None:
    row = restoration_speed.speed_row(Case("x", {}, 4_000_000), name, seconds, 2.0)
    assert row.endswith(end)
    assert name in row


def test_start_up_row() -> None:
    assert restoration_speed.start_up_row("import", 0.1).endswith("0.100     0.15  holds")
    assert restoration_speed.start_up_row("--help", 0.5).endswith("0.500     0.40  MISSED")


def worker(tmp_path: Path, body: str) -> Worker:
    script = tmp_path / "script.py"
    script.write_text(f"from serve import serve\n{body}\nserve(prepare)\n")
    env = {"PYTHONPATH": str(PEERS), "PATH": os.environ["PATH"]}
    return Worker([sys.executable, str(script)], tmp_path, env)


def test_worker_times_what_it_prepared(tmp_path: Path) -> None:
    body = "import time\ndef prepare(job):\n    print('noise')\n    time.sleep(0.2)\n"
    started = worker(tmp_path, f"{body}    return lambda: time.sleep(float(job['s']))")
    seconds = [started({"s": s}) for s in ("0.01", "0.05")]
    started.close()
    assert 0.01 <= seconds[0] < 0.2
    assert seconds[1] >= 0.05


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def prepare(job): raise KeyError('x')", "KeyError: 'x'"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_worker_tells_why_it_failed(tmp_path: Path, body: str, reason: str) -> None:
    started = worker(tmp_path, body)
    with pytest.raises(RuntimeError, match=reason):
        started({})
    started.close()


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


def test_stored_chunks_tell_images_apart(tmp_path: Path) -> None:
    for name, side in (("a", 40), ("b", 40), ("c", 41)):
        strong_scaling.write_image(tmp_path / f"{name}.ome.zarr", side, 16)
    first, same, other = (strong_scaling.chunks_of(tmp_path / f"{n}.ome.zarr") for n in "abc")
    assert len(first) == 9
    assert first == same != other


def test_speed_prints_all_that_is_there(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"--model {model} --sizes 32x40 --repeats 1"
    restoration_speed.main(command.split())
    rows = capsys.readouterr().out.splitlines()
    timed = [row for row in rows if re.match(r"32x40 .*\d\.\d{3} +\d+\.\d{3} +\d+\.\d\d×", row)]
    assert len(timed) == 5
    assert sum("left out; give --peers" in row for row in rows) == 2
    assert sum(bool(re.search(r"  (holds|MISSED)$", row)) for row in rows[-3:]) == 3


def test_scaling_gives_equal_bytes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"--model {model} --side 600 --chunk 128 --repeats 1 --workers 1 2"
    strong_scaling.main(command.split())
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert all(row.endswith("byte-equal") for row in rows)


def test_memory_stays_below_the_bar(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dask.array")
    command = f"--model {model} --sides 200 --huge 40 --threads 1"
    restoration_memory.main(command.split())
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert all(row.endswith("holds") for row in rows)
    assert "whole" in rows[0]
    assert "lazy" in rows[1]


@pytest.mark.parametrize("script", sorted(PEERS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_of_peers_compile(script: Path) -> None:
    compile(script.read_text(), script.name, "exec")


@pytest.mark.parametrize("name", restoration_speed.CARE.values())
def test_peers_are_pinned(name: str) -> None:
    lists = "".join(path.read_text() for path in sorted(PEERS.glob(f"{name}*.txt")))
    assert re.search(r"^(csbdeep|careamics)==\d", lists, re.MULTILINE)
    assert (PEERS / f"run_{name}.py").exists()


def test_a_peer_that_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    (tmp_path / "care").mkdir()
    (tmp_path / "care" / "installed").write_text((PEERS / "care.txt").read_text())
    python = tmp_path / "care" / "bin" / "python"
    assert restoration_speed.install_peer("care", tmp_path) == python


def test_the_page_on_clusters_names_options_that_exist() -> None:
    text = (REPOSITORY / "docs" / "cluster.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(code, "cluster.md", "exec")
    restore = get_command(app).commands["restore"]  # type: ignore[attr-defined]
    options = {name for parameter in restore.params for name in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert {"--scheduler", "--memory", "--resume"} <= named
    assert named - DASK <= options


def test_machine_names_the_gpu_that_the_driver_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA T4'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert ", NVIDIA T4, commit " in machine()
    driver.write_text("#!/bin/sh\necho 'no driver'; exit 9\n")
    assert "no driver" not in machine()
