"""The benchmark of restoration: statistics, tables, the methods and their training in time."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects.axial import axial_subsampling
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.settings import Settings
from microscopygan_bench.peers import job as jobs
from microscopygan_bench.peers.job import Trained
from microscopygan_bench.restoration import (
    command,
    methods,
    ours,
    protocol,
    run_method,
    scores,
    tables,
)
from microscopygan_bench.restoration.cells import ALL
from microscopygan_bench.restoration.interpolation import cubic, measured_rows
from microscopygan_bench.restoration.methods import METHODS, PEERS
from microscopygan_bench.restoration.microssim import micro_ssim
from microscopygan_bench.restoration.statistics import paired_difference

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS = {"spots": Noise(photons=30), "stripes": LowResolution(sigma=1.5, binning=2)}


def given_images(setting: str) -> jobs.Arrays:
    """What two tasks without a physical model, which need no calibration, are trained on."""
    rng = np.random.default_rng(0)
    images: jobs.Arrays = {}
    for name, defect in TASKS.items():
        clean = np.stack([nuclei((40, 40), rng) for _ in range(8)])
        count = len(clean) if setting == "A" else 3
        bad = np.stack([defect.apply(plane, rng) for plane in clean[:count]])
        targets = clean if setting == "A" else clean[count:]
        images |= {f"{name}/input": bad, f"{name}/target": targets.astype(np.float32)}
    return images


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.integers(0, 99))
def test_a_constant_difference_is_certain(shift: float, seed: int) -> None:
    theirs = {str(k): v for k, v in enumerate(np.random.default_rng(seed).normal(25, 3, 20))}
    ours = {name: value + shift for name, value in theirs.items()}
    found = paired_difference({0: ours}, {0: theirs}, {name: name for name in theirs})
    assert np.allclose(found, shift, atol=1e-9)


def test_the_interval_is_that_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.5, 1.0, 400)
    ours = {0: {str(k): 20 + v for k, v in enumerate(noise)}}
    theirs = {draw: {str(k): 20.0 + draw for k in range(400)} for draw in (-1, 0, 1)}
    found = paired_difference(ours, theirs, {str(k): str(k) for k in range(400)})
    half = 1.96 * noise.std() / 20
    assert np.allclose(found, [noise.mean(), noise.mean() - half, noise.mean() + half], atol=0.015)
    assert found == paired_difference(ours, theirs, {str(k): str(k) for k in range(400)})


def test_planes_of_one_source_count_as_one() -> None:
    values = np.random.default_rng(1).normal(0, 1, 15)
    zero = {str(k): 0.0 for k in range(60)}
    four = {str(k): values[k // 4] for k in range(60)}
    once = paired_difference(
        {0: {k: four[k] for k in list(four)[::4]}},
        {0: {k: 0.0 for k in list(four)[::4]}},
        {k: k for k in zero},
    )
    assert np.allclose(
        paired_difference({0: four}, {0: zero}, {k: str(int(k) // 4) for k in zero}), once
    )


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected scores of the same images, got 1 and 1"):
        paired_difference({0: {"a": 1.0}}, {0: {"b": 1.0}}, {"a": "a", "b": "b"})


def rows_of(method: str, setting: str, pairs: str, means: list[float]) -> list[scores.Row]:
    """Scores of three images with these means, a draw each."""
    return [
        {"method": method, "setting": setting, "pairs": pairs, "draw": float(draw), "task": "noise"}
        | {"image": str(k), "source": str(k)}
        | {measure: mean + k for measure in tables.MEASURES}
        for draw, mean in enumerate(means)
        for k in range(3)
    ]


def cost(method: str, task: str) -> scores.Row:
    """What a cell of 10 pairs took."""
    named = {"method": method, "setting": "A", "pairs": "10", "draw": 0.0, "cell": task}
    figures = {"training_seconds": 300.0, "inference_seconds": 6.0, "images": 60.0}
    return named | figures | {"parameters": 9.0, "steps": 7.0, "machine": "here", "pace": 0.25}


def test_tables_hold_the_figures() -> None:
    results = tables.Results(
        rows_of("input", "A", "0", [10.0])
        + rows_of("care", "A", "10", [17.0, 19.0])
        + rows_of("default", "A", "10", [18.0, 20.0])
        + rows_of("default", "B", "0", [16.0, 16.0])
        + rows_of("oracle", "A", "all", [20.0]),
        [],
    )
    assert results.groups == [("A", "10"), ("B", "0")]
    overview, psnr, _, details = tables.sheets(results, ("A", "10"))
    titles = [METHODS[name].title for name in ("input", "care", "default", "oracle")]
    assert [row[0] for row in overview.rows] == titles
    assert [row[1].split(" /")[0] for row in overview.rows] == [
        "11.00",
        "19.00 ± 1.41",
        "20.00 ± 1.41",
        "21.00",
    ]
    assert overview.best == {(2, 1)}
    assert "| **20.00 ± 1.41 /" in overview.markdown()
    assert [row[1] for row in psnr.rows] == [
        "+9.00 [+9.00, +9.00]",
        "+1.00 [+1.00, +1.00]",
        "-1.00 [-1.00, -1.00]",
    ]
    share = details.head.index("of the oracle's gain")
    assert [row[share] for row in details.rows] == ["0%", "80%", "90%", "100%"]
    costs = tables.Results([], [cost("care", task) for task in ("noise", "lowres")])
    once = tables._cost_texts(costs, ("care", "A", "10"), "noise")
    assert once == ["300", "0.100", "9", "7", "0.250"]
    both = tables._cost_texts(costs, ("care", "A", "10"), "noise+lowres")
    assert both == ["600", "0.200", "18", "14", "0.250"]  # two networks, one after the other
    without = tables.differences(results, ("B", "0"), "psnr_affine")
    assert without.rows[-1] == ["CARE (CSBDeep), 10 pairs of each task", "-2.00 [-2.00, -2.00]"]


def test_methods_of_several_numbers_of_pairs_are_set_side_by_side() -> None:
    results = tables.Results(
        [row for n, mean in enumerate((13.0, 11.0, 12.0, 10.0))
         for row in rows_of("care", "A", ("all", "3", "30", "1")[n], [mean])]
        + rows_of("care", "B", "0", [9.0])
        + rows_of("default", "A", "10", [18.0, 20.0]),
        [],
    )  # fmt: skip
    assert [[row[0], row[1].split(" /")[0]] for row in tables.by_pairs(results).rows] == [
        ["CARE (CSBDeep), 1 pair", "11.00"],
        ["CARE (CSBDeep), 3 pairs", "12.00"],
        ["CARE (CSBDeep), 30 pairs", "13.00"],
        ["CARE (CSBDeep), all pairs", "14.00"],
    ]
    assert not tables.by_pairs(tables.Results(rows_of("default", "A", "10", [18.0]), [])).rows


def test_variants_are_compared_in_draws_that_both_have() -> None:
    results = tables.Results(
        rows_of("default", "A", "10", [18.0, 30.0])
        + rows_of("care", "A", "10", [17.0])
        + rows_of("content", "A", "10", [16.0]),
        [],
    )
    overview, others, _, parts, _, details = tables.sheets(results, ("A", "10"))
    assert [len(sheet.rows) for sheet in (overview, others, parts, details)] == [2, 1, 1, 3]
    assert others.rows == [["CARE (CSBDeep)", "+1.00 [+1.00, +1.00]"]]
    assert parts.rows == [["with content loss", "+2.00 [+2.00, +2.00]"]]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_start(name: str) -> None:
    method = METHODS[name]
    started = method.command(Path("python"))
    assert started[0] == ("python" if method.peer else sys.executable)
    assert set(method.settings) <= set(protocol.SETTINGS)
    if method.peer:
        assert (PEERS / f"{method.peer}.txt").exists()
        assert Path(started[1]).exists()
    if method.options.get("kind") == "baseline":
        module = PEERS.parent / "baselines" / f"{method.options['module']}.py"
        assert module.exists()


def test_methods_are_chosen_by_name_and_group() -> None:
    assert methods.choose("oracle,input,reference") == ["oracle", "input", "classical", "cubic"]
    with pytest.raises(ValueError, match=r"^methods: expected some of .*; got 'dinner'$"):
        methods.choose("input,dinner")


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 8), st.integers(0, 7), st.integers(0, 99))
def test_measured_rows_are_found(step: int, phase: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = nuclei((96, 40), rng) + 0.1 * rng.random((96, 40), np.float32)
    phase %= step
    found = measured_rows(axial_subsampling(plane, sigma_z=0.5, step=step, phase=phase))
    assert found is not None
    assert np.array_equal(found, np.arange(phase, 96, step))


def test_cubic_is_exact_on_a_cubic() -> None:
    z = np.linspace(-1, 1, 61)[:, None] * np.ones((1, 3))
    plane = (z**3 - 0.5 * z).astype(np.float32)
    coarse = axial_subsampling(plane, sigma_z=0, step=6)
    assert np.abs(coarse - plane).max() > 0.005
    assert np.allclose(cubic(coarse), plane, atol=1e-5)
    assert np.array_equal(cubic(plane), plane)  # no pattern, no change


def test_micro_ssim_agrees_with_its_authors_package() -> None:
    y, x = np.mgrid[:48, :40]
    target = np.exp(-((y - 20) ** 2 + (x - 15) ** 2) / 60)
    target += 0.5 * np.exp(-((y - 35) ** 2 + (x - 30) ** 2) / 20)
    restored = 2 * target + 0.3 + 0.2 * np.sin(x * 1.3) * np.cos(y * 0.9)
    (found,) = micro_ssim([target], [restored])
    assert found == pytest.approx(0.591588, abs=3e-4)  # microssim 0.0.5
    (again,) = micro_ssim([100 * target + 7], [0.01 * restored - 3])
    assert again == pytest.approx(found, abs=1e-6)


def test_a_baseline_gets_its_task_alone(tmp_path: Path) -> None:
    seen = {}

    class Baseline:
        @staticmethod
        def train(
            inputs: list[np.ndarray], targets: list[np.ndarray], *, seconds: float, seed: int
        ) -> Trained:
            seen.update(inputs=inputs, targets=targets, seconds=seconds, seed=seed)
            return Trained(lambda planes: planes.swapaxes(1, 2), 5, 6)

    told = {"task": "stripes", "seconds": 2.0, "seed": 4}
    images = given_images("A")
    trained = run_method._baseline(Baseline)(told, images, tmp_path)
    assert np.array_equal(seen["inputs"], images["stripes/input"])
    assert np.array_equal(seen["targets"], images["stripes/target"])
    assert (seen["seconds"], seen["seed"]) == (2.0, 4)
    planes = images["stripes/input"]
    assert np.array_equal(trained.restore(planes), planes.swapaxes(1, 2))
    assert (trained.parameters, trained.steps) == (5, 6)


TINY = {"batch": 3, "patch": 32, "log_every": 1}
OPTIONS = {
    "kind": "ours",
    "start": "scratch",
    "defects": TINY | {"architecture": {"channels": 4, "blocks": 1}},
    "restorer": TINY | {"architecture": {"channels": (4, 4, 4)}},
}


def tiny_job(setting: str, **options: object) -> jobs.Job:
    """A job of few channels and seconds."""
    chosen = methods.settings_of(OPTIONS | options, setting, 3).model_dump(mode="json")
    told = {"options": OPTIONS | options, "settings": chosen, "tasks": list(TASKS)}
    told |= {"task": ALL, "setting": setting}
    return told | {"seconds": 1.0, "seed": 3, "threads": 1}


@pytest.mark.parametrize("setting", ["A", "B"])
def test_each_image_gets_its_role(setting: str) -> None:
    job, images = tiny_job(setting), given_images(setting)
    chosen = Settings.model_validate(job["settings"])
    assert chosen.seed == 3
    assert chosen.restorer.architecture.channels == (4, 4, 4)
    found = ours.gather_given(job, images, chosen)
    for task in job["tasks"]:
        inputs, targets = images[f"{task}/input"], images[f"{task}/target"]
        assert np.array_equal(found.defective[task], inputs)
        assert np.array_equal(found.own_clean[task], targets)
        assert len(found.pairs[task]) == (0 if setting == "B" else len(inputs))
        assert not found.validation[task]
    assert (chosen.alpha == 1) == (setting == "B")


def test_ablations_change_what_they_say() -> None:
    def chosen(name: str) -> Settings:
        return methods.settings_of(METHODS[name].options, "A", 0)

    default = chosen("default")
    assert chosen("content").restorer.content_weight > 0
    assert chosen("adversarial").restorer.adversarial_weight > 0
    assert not chosen("no-physics").defects.physics
    assert chosen("alpha-0").alpha == 0
    assert chosen("paper").preset == "paper"
    assert (default.cin_gan, chosen("cin-gan").cin_gan) == (0.0, 0.5)
    assert chosen("oracle").restorer.steps == 10 * default.restorer.steps
    assert (default.start, chosen("scratch").start) == ("generalist", "scratch")


def test_ours_trains_and_restores(tmp_path: Path) -> None:
    job, images = tiny_job("B"), given_images("B")
    trained = ours.train_ours(job, images, tmp_path)
    planes = images["spots/input"][:1]
    assert trained.restore(planes).shape == planes.shape
    assert trained.steps >= 1
    assert trained.parameters > 100


def test_the_page_names_options_and_methods_that_exist() -> None:
    text = (REPOSITORY / "docs" / "benchmark.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        command.main(["--help"])
    parser_options = set(re.findall(r'"(--[a-z-]+)"', Path(command.__file__).read_text()))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= parser_options
    table = re.findall(r"^\| `([\w.…-]+)` \|", text, re.MULTILINE)[1:]  # less its head
    assert set(table) == {name for name in METHODS if not name.startswith("alpha-")} | {"alpha-…"}
    assert "<!-- figures -->" in text


def test_the_page_shows_the_figures_of_the_published_tables() -> None:
    docs = REPOSITORY / "docs"
    text = (docs / "benchmark.md").read_text(encoding="utf-8")
    figures = text[text.index("<!-- figures -->") : text.index("<!-- /figures -->")]
    sheets = (docs / "benchmark").rglob("table.md")
    published = {line for path in sheets for line in path.read_text("utf-8").splitlines()}
    shown = [line for line in figures.splitlines() if re.match(r"\| [^|]+ \| [\d.+–-]", line)]
    assert shown
    assert set(shown) <= published


def test_the_short_page_repeats_published_figures() -> None:
    docs = REPOSITORY / "docs"
    text = (docs / "figures.md").read_text(encoding="utf-8")
    figures = text[text.index("<!-- figures -->") : text.index("<!-- /figures -->")]
    rows = [line.strip("| ").split(" | ") for line in figures.splitlines() if "±" in line]
    pages = [docs / "benchmark.md", docs / "generalist.md"]
    published = "".join(path.read_text("utf-8").replace("*", "") for path in pages)
    assert len(rows) == 3
    for cell in (cell.strip("*") for row in rows for cell in row[1:]):
        pattern = rf"\| {re.escape(cell)}(?= [/±])"
        assert re.search(pattern, published), cell
