"""From the generalist to a laboratory's restorer: roles of images, and that nothing gets worse."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from microscopygan.datasets.folder import Dataset, Pair, Sample, load_dataset
from microscopygan.defects.composition import Composition
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.stripes import Stripes
from microscopygan.diagnosis import Finding
from microscopygan.gan.checkpoints import read_tensors
from microscopygan.gan.cin_gan import load_defects, synthesize
from microscopygan.gan.networks import defect_rows
from microscopygan.restoration.model import Restorer
from microscopygan.settings import COMMON, Settings, make_settings
from microscopygan.training import export_onnx, identification, validation
from microscopygan.training.fine_tuning import (
    DEFECTS,
    FEW,
    as_generalist,
    generalist,
    generator_for,
    validation_images,
)
from microscopygan.training.quantisation import TOLERANCE, quantised
from microscopygan.training.run_folder import summary
from microscopygan.training.split import Split, split_dataset
from microscopygan.training.stages import needs_defects, train
from microscopygan.training.validation import Validation, read_validations

SMALL = ("adaptation.fields=4", "adaptation.field=64", "specimens=2", "split.specimen_side=64")
SMALL += ("defects.patch=32", "defects.batch=2", "restorer.patch=32", "sampling.field=32")


def with_restorer(chosen: Settings, **changes: object) -> Settings:
    return chosen.changed({"restorer": changes})


def planes(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [nuclei((72, 80), rng) for _ in range(count)]


def split(names: tuple[str, ...], clean: list[np.ndarray], **changes: object) -> Split:
    none = {name: [] for name in names}
    fields = {"own_clean": none, "defective": none, "pairs": none, "validation_pairs": none}
    fields["validation_planes"] = none
    return Split(names, clean, **(fields | changes))  # type: ignore[arg-type]


def test_the_generalist_that_ships_is_one_network_in_two_forms() -> None:
    network, deployed = generalist().eval(), Restorer()
    assert deployed.card.hints == network.architecture.hints
    assert set(COMMON) <= set(deployed.card.hints)
    plane = planes(1)[0]
    with torch.no_grad():
        wanted = network(torch.from_numpy(plane)[None, None])[0, 0].numpy()
    rounded = deployed.restore_plane(plane, tile=500) - wanted
    assert np.sqrt(np.mean(rounded**2)) < TOLERANCE


def test_settings_take_the_architecture_that_ships(brief: Settings) -> None:
    other = with_restorer(brief, architecture={"channels": (4, 4, 4), "hints": ()})
    chosen = as_generalist(other)
    assert chosen.restorer.architecture == generalist().architecture
    assert chosen.restorer.steps == 10


def test_defects_start_as_they_are_simulated_and_rows_alone_train() -> None:
    known, _ = load_defects(DEFECTS)
    chosen = generator_for(split(("unheard", "axial"), []))
    rows = defect_rows(chosen)
    for name, value in chosen.state_dict().items():
        if name in rows:
            assert len(value) == 2
            assert not value.any()
        else:
            assert torch.equal(value, known.state_dict()[name])
    trained = {name for name, weight in chosen.named_parameters() if weight.requires_grad}
    assert trained == set(rows)


def test_pairs_held_back_validate_as_they_are(brief: Settings) -> None:
    clean = planes(2)
    pairs = [Pair(plane + 1, plane, str(k), str(k)) for k, plane in enumerate(clean)]
    some = split(("unheard",), planes(12), validation_pairs={"unheard": pairs})
    images = validation_images(some, brief, None)["unheard"]
    np.testing.assert_allclose(images.image, images.target + 1, rtol=1e-6)


def test_physics_makes_validation_images_where_there_are_no_pairs(brief: Settings) -> None:
    some = split(("noise",), planes(4), physics={"noise": [Noise(photons=20)]})
    images = validation_images(some, brief, None)["noise"]
    assert images.image.shape == images.target.shape == (8, 64, 64)
    assert (images.image - images.target).std() > 0.05


def test_few_pairs_held_back_get_synthetic_company(brief: Settings) -> None:
    clean = planes(2)
    pairs = [Pair(plane + 1, plane, str(k), str(k)) for k, plane in enumerate(clean)]
    held_back = {"noise": pairs}
    some = split(("noise",), planes(12), validation_pairs=held_back)
    assert set(validation_images(some, brief, None)["noise"].source) == {0, 1}
    some = split(
        ("noise",), planes(12), validation_pairs=held_back, physics={"noise": [Noise(photons=20)]}
    )
    images = validation_images(some, brief, None)["noise"]
    assert images.pairs == 2
    assert set(images.source) == {*range(FEW)}
    np.testing.assert_allclose(images.image[0], images.target[0] + 1, rtol=1e-6)
    assert (images.image[-1] - images.target[-1]).std() > 0.05


def test_a_defect_without_physics_is_validated_on_cin_gans_images(brief: Settings) -> None:
    """Where they resemble the real ones, which here it has made itself."""
    clean = planes(12)
    some = split(("unheard",), clean, validation_planes={"unheard": planes(6, 1)})
    generator = generator_for(some).requires_grad_(False)
    generator.rows[:, -3 * 24 - 5 * 8] = 0.2  # of the noise by pixel, as light
    noise = torch.Generator().manual_seed(0)
    bad = [synthesize(generator, plane[None], 0, noise)[0] for plane in clean]
    some = replace(some, defective={"unheard": bad})
    images = validation_images(some, brief, generator)["unheard"]
    assert not np.allclose(images.image, images.target)
    assert validation_images(some, brief, None) == {}
    generator.rows.zero_()  # it has learned nothing
    assert validation_images(some, brief, generator) == {}


class SeesFaintNoise:
    """Stands in for a diagnosis."""

    def __init__(self, *planes: object) -> None:
        self.findings = [Finding("noise", 0.9, {})]

    def draw(self, rng: np.random.Generator, temper: float = 1.0) -> Composition:
        return Composition(steps=(Noise(photons=300),))


@pytest.mark.slow
def test_a_defect_that_nothing_makes_is_left_to_what_ships(
    tmp_path: Path, brief: Settings, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow (about 10 s): both stages. The other defect is learned beside it."""
    monkeypatch.setattr(identification, "diagnose", SeesFaintNoise)
    data, run, rng = load_dataset(dataset), tmp_path / "run", np.random.default_rng(0)
    rows = [Stripes(gain=0.2, offset=0.1).apply(plane, rng) for plane in planes(4, 7)]
    unpaired = {"odd": [Sample(p, f"{k}", f"{k}") for k, p in enumerate(rows)]}
    unpaired["noise"] = data.defective["noise"]
    train(Dataset(data.clean, unpaired, {}, {}), run, brief, quiet=True)
    _, names = load_defects(run / "defects.safetensors")
    assert names == ("noise", "odd")
    about = json.loads((run / "run.json").read_text())["adaptation"]
    assert about["not_learned"] == ["odd"]
    assert list(about["judged_on"]) == ["noise"]
    assert "odd: not learned, and restored as by the network that ships" in summary(run)[-1]


@pytest.mark.slow
def test_a_name_without_physics_does_not_end_in_a_refusal(
    tmp_path: Path, brief: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow (about 5 s): CIN-GAN. Nothing is better, so what ships is kept, and it is said."""
    monkeypatch.setattr(identification, "diagnose", SeesFaintNoise)
    monkeypatch.setattr(export_onnx, "quantised", quantised)
    run, rng = tmp_path / "run", np.random.default_rng(0)
    bad = [Stripes(gain=0.2, offset=0.1).apply(plane, rng) for plane in planes(4, 7)]
    clean = [Sample(p, f"c{k}", f"c{k}") for k, p in enumerate(planes(4))]
    odd = {"odd": [Sample(p, f"{k}", f"{k}") for k, p in enumerate(bad)]}
    trained = train(Dataset(clean, odd, {}, {}), run, brief, quiet=True)
    assert trained.outcome is not None
    assert trained.outcome["kept_after_steps"] == 0
    said = summary(run)
    assert said[0].startswith("Kept: the network that ships")
    assert "add pairs/odd/input/ and pairs/odd/target/" in said[1]
    plane = planes(1, 9)[0]
    kept, shipped = Restorer(trained.model), Restorer()
    np.testing.assert_allclose(kept.restore_plane(plane), shipped.restore_plane(plane), atol=1e-5)


def noisy_dataset(pairs: int) -> Dataset:
    rng = np.random.default_rng(3)
    noise = Noise(photons=15)
    some = [
        Pair(noise.apply(plane, rng), plane, f"{k}", f"{k}")
        for k, plane in enumerate(planes(pairs, 5))
    ]
    return Dataset([], {}, {"noise": some}, {})


@pytest.mark.slow
def test_a_failed_adaptation_leaves_the_generalist(
    tmp_path: Path, brief: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow (about 10 s): both stages. Each validation is 100 dB worse than the one before."""
    truly, number = validation.Validation.gains, itertools.count()

    def worse(self: validation.Validation, network: torch.nn.Module) -> dict[str, np.ndarray]:
        loss = 100 * next(number)
        return {name: gain - loss for name, gain in truly(self, network).items()}

    monkeypatch.setattr(validation.Validation, "gains", worse)
    monkeypatch.setattr(export_onnx, "quantised", quantised)
    run = tmp_path / "run"
    train(noisy_dataset(10), run, brief, quiet=True)
    about = json.loads((run / "run.json").read_text())
    assert about["adaptation"]["kept_after_steps"] == 0
    assert about["adaptation"]["kept_gain_db"] == about["adaptation"]["generalist_gain_db"]
    assert about["adaptation"]["judged_on"] == {"noise": "3 held-back pairs and 1 synthetic image"}
    assert summary(run)[0].startswith("Kept: the network that ships, ")
    assert summary(run)[0].endswith("on 3 held-back pairs and 1 synthetic image: no better.")
    plane = planes(1, 9)[0]
    adapted, shipped = Restorer(run / "restorer.onnx"), Restorer()
    np.testing.assert_allclose(
        adapted.restore_plane(plane), shipped.restore_plane(plane), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "changes", "needed"),
    [
        ("noise", {}, False),
        ("unheard", {}, False),  # there are pairs
        ("unheard", {"alpha": 1.0}, True),
        ("noise", {"cin_gan": 0.1}, True),
        ("unheard", {"alpha": 0.0}, False),
    ],
)
def test_cin_gan_is_for_what_no_physics_describes(
    name: str, changes: dict[str, float], needed: bool, brief: Settings
) -> None:
    chosen = brief.model_copy(update=changes)
    data = noisy_dataset(6)
    images = split_dataset(Dataset([], {}, {name: data.pairs["noise"]}, {}), chosen)
    assert needs_defects(images, chosen) == needed


@pytest.mark.slow
def test_defects_that_physics_describes_need_no_cin_gan(
    tmp_path: Path, brief: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow (about 5 s). What is kept lies 0.85 of the way from the generalist to the average."""
    monkeypatch.setattr(validation, "kept_row", lambda rows, tolerance: rows[-1])
    run = tmp_path / "run"
    train(noisy_dataset(6), run, brief, quiet=True)
    assert (run / "physics.json").exists()
    assert not (run / "defects.safetensors").exists()
    _, kept = read_tensors(run / "restorer" / "kept.safetensors")
    _, state = read_tensors(run / "restorer" / "state.safetensors")
    for name, start in generalist().state_dict().items():
        average = state[f"average.{name}"]
        torch.testing.assert_close(kept[name], start.lerp(average, 0.85), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_an_adaptation_ends_in_time_and_resumes(tmp_path: Path, brief: Settings) -> None:
    """Slow (about 15 s): an adaptation within half a minute."""
    run = tmp_path / "run"
    chosen = with_restorer(brief, steps=10_000)
    train(noisy_dataset(6), run, chosen, minutes=0.1, quiet=True)
    about = json.loads((run / "run.json").read_text())
    assert sum(about["seconds"].values()) < 30
    steps = json.loads((run / "steps.json").read_text())
    assert 1 <= steps["restorer"] < 10_000
    before = (run / "restorer.onnx").read_bytes()
    train(noisy_dataset(6), run, chosen, resume=True, quiet=True)  # the time is known
    assert json.loads((run / "steps.json").read_text()) == steps
    assert (run / "restorer.onnx").read_bytes() == before
    with pytest.raises(ValueError, match=r"expected the 0\.1 minutes that it was begun with"):
        train(noisy_dataset(6), run, chosen, minutes=3, resume=True, quiet=True)


@pytest.mark.slow
def test_a_training_that_its_validation_ended_is_over(
    tmp_path: Path, brief: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow (about 5 s): a training. A run whose time was over, resumed, trains no further."""
    run, data = tmp_path / "run", noisy_dataset(6)
    with monkeypatch.context() as patch:
        patch.setattr(Validation, "__call__", ending_at(5, Validation.__call__))
        train(data, run, with_restorer(brief, steps=10), quiet=True)
    before, rows = (run / "restorer.onnx").read_bytes(), rows_of(run)
    assert json.loads((run / "steps.json").read_text()) == {"restorer": 5}
    train(data, run, with_restorer(brief, steps=10), resume=True, quiet=True)
    assert (run / "restorer.onnx").read_bytes() == before
    assert rows_of(run) == rows


def rows_of(run: Path) -> str:
    return (run / "restorer" / "judged_images.csv").read_text()


def ending_at(last: int, validate: Callable[..., bool]) -> Callable[..., bool]:
    def until(self: Validation, network: torch.nn.Module, step: int) -> bool:
        if not validate(self, network, step) and step >= last:
            self.ended_step = step
        return self.ended_step is not None

    return until


@pytest.mark.slow
def test_a_second_stage_begun_anew_forgets_the_first_try(tmp_path: Path, brief: Settings) -> None:
    """Slow (about 10 s): both stages, the second one twice."""
    run, data = tmp_path / "run", noisy_dataset(6)
    brief = brief.model_copy(update={"cin_gan": 0.5})
    train(data, run, brief, stage="defects", quiet=True)
    folder = run / "restorer"
    folder.mkdir()
    (folder / "judged.csv").write_text("step,noise\n0,1.0\n5,99.0\n")
    (run / "steps.json").write_text('{"minutes": 5, "defects": 10, "restorer": 700}')
    train(data, run, brief, stage="restorer", quiet=True)
    assert [row.step for row in read_validations(folder)] == [0, 5, 10]
    assert json.loads((run / "steps.json").read_text()) == {"defects": 10}
    assert Restorer(run / "restorer.onnx").card.training["steps"] <= 10


def test_cin_gan_needs_clean_images(tmp_path: Path, brief: Settings) -> None:
    noise = Dataset([], {"noise": [Sample(p, "a", "a") for p in planes(1)]}, {}, {})
    with pytest.raises(ValueError, match="CIN-GAN needs clean images"):
        train(noise, tmp_path / "run", brief, stage="defects", quiet=True)
    shutil.copy(DEFECTS, tmp_path / "defects.safetensors")
    with pytest.raises(ValueError, match="expected clean images"):
        train(noise, tmp_path / "run", brief, add_to=tmp_path, quiet=True)
    assert not (tmp_path / "run").exists()


def test_more_than_noise_needs_clean_images(dataset: Path, brief: Settings) -> None:
    data = load_dataset(dataset)
    blurred = Dataset([], {"lowres": data.defective["lowres"]}, {}, {})
    with pytest.raises(ValueError, match="only noise can be learned without them"):
        train(blurred, dataset / "run", brief, quiet=True)
    noise = Dataset([], {"noise": [Sample(p, "a", "a") for p in planes(1)]}, {}, {})
    scratch = make_settings("default", "scratch")
    with pytest.raises(ValueError, match="expected clean images"):
        train(noise, dataset / "run", scratch, quiet=True)
    assert not (dataset / "run").exists()


@pytest.mark.slow
def test_two_processes_adapt_in_time(tmp_path: Path, dataset: Path, launch) -> None:
    """Slow (about 20 s): two interpreters adapt for a few seconds; one times and validates."""
    run = tmp_path / "run"
    options = ("--minutes", 0.1, "--cin-gan", 0.5, "--quiet")
    for folder in (dataset, dataset / "pairs", dataset / "test"):
        shutil.rmtree(folder / "lowres")  # one defect is enough
    small = [word for change in SMALL for word in ("--set", change)]
    launch("-m", "microscopygan", "train", dataset, "-o", run, *options, *small)
    steps = json.loads((run / "steps.json").read_text())
    rows = read_validations(run / "restorer")
    assert len(rows) > 1
    assert rows[-1].step <= steps["restorer"]
    assert (run / "evaluation" / "scores.csv").exists()
