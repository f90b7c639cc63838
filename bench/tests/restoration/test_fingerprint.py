"""Published results stay valid: what they depend on is the same, whatever today's settings are."""

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from microscopygan_bench.restoration import fingerprint
from microscopygan_bench.restoration.cells import Bench
from microscopygan_bench.restoration.fingerprint import conditions, digest_of_weights
from microscopygan_bench.restoration.methods import METHODS
from microscopygan_bench.restoration.protocol import BenchmarkData
from microscopygan_bench.restoration.published import former_weights, read_published

PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / "benchmark"
TABLE = PUBLISHED / "table.md"
TASKS = ("noise", "axial", "lowres")


def bench_of(folder: Path) -> Bench:
    """A benchmark of the data, the time and the threads that published tables name; no images."""
    digest = (folder / "data.txt").read_text().strip()
    text = (folder / "table.md").read_text("utf-8")
    minutes, threads = re.findall(r"^Each training ([\d.]+) min on (\d+) threads", text, re.M)[0]
    data = BenchmarkData({task: [] for task in TASKS}, {}, digest)
    return Bench(data, {}, folder, round(60 * float(minutes), 3), int(threads), {})


@pytest.mark.parametrize("folder", [PUBLISHED, PUBLISHED / "gpu"], ids=["cpu", "gpu"])
def test_a_run_of_today_takes_the_published_rows(folder: Path) -> None:
    published = read_published(folder, bench_of(folder))
    assert len(published.cells) > 20
    assert {row["method"] for row in published.costs} > {"default", "careamics", "cyclegan"}


def test_other_data_and_times_are_refused() -> None:
    bench = bench_of(PUBLISHED)
    for other in (
        Bench(BenchmarkData(bench.data.pairs, {}, "other"), {}, PUBLISHED, 300, 2, {}),
        Bench(bench.data, {}, PUBLISHED, 299, 2, {}),
        Bench(bench.data, {}, PUBLISHED, 300, 1, {}),
    ):
        with pytest.raises(ValueError, match="got others for"):
            read_published(PUBLISHED, other)


def test_settings_may_move_and_may_be_constants_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"defects": {"generator": "compact", "steps": 400}, "cin_gan": 0.5}
    apart = {"architecture": {"network": "compact"}, "steps": 400, "zoom": 0.1}
    monkeypatch.setitem(fingerprint._CONSTANTS, "defects.zoom", 0.1)
    one, other = ({"seed": 0, "settings": settings} for settings in (before, {"cin_gan": 0.5}))
    other["settings"] |= {"defects": apart}  # type: ignore[operator]
    assert fingerprint.fingerprint("data", one) == fingerprint.fingerprint("data", other)
    apart["zoom"] = 0.2
    assert conditions(one) != conditions(other)
    apart["zoom"], apart["steps"] = 0.1, 401
    assert conditions(one) != conditions(other)


def test_weights_are_the_same_whatever_else_the_file_says(tmp_path: Path) -> None:
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros(1, np.float32)}
    files = [tmp_path / f"{name}.safetensors" for name in "abc"]
    save_file(tensors, files[0])
    save_file(dict(reversed(tensors.items())), files[1], {"more": "about it"})
    save_file(tensors | {"a": np.ones(1, np.float32)}, files[2])
    one, same, other = map(digest_of_weights, files)
    assert one == same != other


def test_settings_of_a_cin_gan_that_is_not_trained_change_nothing() -> None:
    def job(cin_gan: float, steps: int) -> dict[str, object]:
        return {"settings": {"cin_gan": cin_gan, "defects": {"steps": steps, "physics": True}}}

    assert conditions(job(0.0, 300)) == conditions(job(0.0, 400))
    assert conditions(job(0.5, 300)) != conditions(job(0.5, 400))


def test_results_from_weights_that_shipped_before_are_said_to_be_such() -> None:
    bench = bench_of(PUBLISHED)
    costs = read_published(PUBLISHED, bench).costs
    former = {row["method"] for row in costs if former_weights(row, bench)}
    assert former < set(METHODS)
    assert not former & {"input", "care", "scratch"}  # which start from none
    said = re.findall(r"Started from the first generalist: (.*)\.", TABLE.read_text("utf-8"))
    assert bool(said) == bool(former)
    assert all(METHODS[str(name)].title in said[0] for name in former)
