"""CIN-GAN as a corrector: a defect that simulation lacks is put in, or the simulation is left."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.defects.stripes import Stripes
from microscopygan.gan.cin_gan import CinGan, synthesize
from microscopygan.gan.networks import Corrector, choose_rows, train_rows
from microscopygan.settings import Settings, make_settings
from microscopygan.training.batches import DefectBatches
from microscopygan.training.correction import compare, keep_corrections, start_codes
from microscopygan.training.loop import run_loop
from microscopygan.training.split import Split, to_fit, to_judge

STRIPES = Stripes(gain=0.0, offset=0.08, length=0.0, axis=0)
SMALL = {"architecture": {"channels": 16, "blocks": 2}, "batch": 8, "patch": 48, "steps": 50}


@pytest.fixture
def settings() -> Settings:
    return make_settings("default", "scratch", defects=SMALL | {"row_rate": 1e-2})


def split_of(real: list[np.ndarray], clean: list[np.ndarray]) -> Split:
    """Rows differ in what is real; noise alone is simulated."""
    none: dict[str, list] = {"rows": []}
    noise = {"rows": [Noise(photons=200.0)]}
    return Split(("rows",), clean, none, {"rows": real}, none, none, physics=noise)


def images(count: int, seed: int, stripes: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    planes = [nuclei((96, 96), rng) for _ in range(count)]
    noisy = [Noise(photons=200.0).apply(plane, rng) for plane in planes]
    return [STRIPES.apply(plane, rng) for plane in noisy] if stripes else noisy


def fitted(split: Split, settings: Settings, folder: Path) -> Corrector:
    torch.manual_seed(0)
    generator = Corrector(settings.defects.architecture, 1)
    train_rows(generator)
    start_codes(generator, split, settings)
    gan = CinGan(settings.defects, split.defects, Accelerator(cpu=True), 0, start=generator)
    batches = DefectBatches(split, settings)
    accelerator, chosen = Accelerator(cpu=True), settings.defects
    trained = run_loop(gan, batches, folder, chosen, seed=0, accelerator=accelerator, quiet=True)
    assert isinstance(trained, Corrector)
    return trained


def row_spread(planes: np.ndarray) -> float:
    """Spread of the mean difference of neighbouring rows."""
    return float(np.diff(planes.mean(2), axis=1).std())


@pytest.mark.slow
def test_stripes_that_simulation_lacks_are_learned_from_ten_images(
    tmp_path: Path, settings: Settings
) -> None:
    """Slow (about 5 s): 50 updates of the rows."""
    clean = [nuclei((96, 96), np.random.default_rng(k)) for k in range(100, 130)]
    split = split_of(images(10, 0, stripes=True), clean)
    generator = fitted(split, settings, tmp_path)
    simulated, real = (np.stack(images(20, 50, stripes)) for stripes in (False, True))
    made = synthesize(generator, simulated, 0, torch.Generator().manual_seed(0))
    spreads = [row_spread(planes) for planes in (simulated, made, real)]
    assert spreads[0] < 0.3 * spreads[2]
    assert spreads[1] == pytest.approx(spreads[2], rel=0.5)
    kept = keep_corrections(generator, split, settings)["rows"]
    assert kept.kept
    assert kept.corrected < 0.7 * kept.simulated
    assert generator.rows.any()


def test_a_correction_that_comes_no_nearer_is_taken_back(settings: Settings) -> None:
    clean = [nuclei((96, 96), np.random.default_rng(k)) for k in range(100, 110)]
    split = split_of(images(8, 0, stripes=False), clean)
    generator = Corrector(settings.defects.architecture, 1)
    torch.nn.init.normal_(generator.rows, std=0.1)
    assert not compare(generator, split, settings, "rows", 0).kept
    keep_corrections(generator, split, settings)
    assert not generator.rows.any()
    simulated = np.stack(images(2, 5, stripes=False))
    made = synthesize(generator, simulated, 0, torch.Generator().manual_seed(0))
    assert np.array_equal(made, simulated)


def test_a_defect_starts_from_the_laboratory_that_is_most_like_it(settings: Settings) -> None:
    """Here one of its codes makes stripes, and others something else."""
    clean = [nuclei((96, 96), np.random.default_rng(k)) for k in range(100, 110)]
    split = split_of(images(6, 0, stripes=True), clean)
    generator = Corrector(settings.defects.architecture, 1)
    first = generator.rows.shape[1] - 3 * 24 - 5 * 8  # light's mixture of noise maps
    generator.map.data.zero_()
    for code, (noise, size) in enumerate(((2, 0.05), (0, 0.3), (4, 0.3), (6, 0.3))):
        generator.map.data[code, first + noise] = size  # by row; by pixel, by column, coarse
        generator.laboratories[code, code] = 1.0
    choose_rows(generator, [None])
    start_codes(generator, split, settings)
    assert generator.code.data[0].argmax() == 0
    assert generator.code.data.sum() == 1


def test_images_that_judge_are_not_fitted() -> None:
    planes = [np.full((2, 2), k) for k in range(10)]
    fit, judge = ({int(p[0, 0]) for p in part} for part in (to_fit(planes), to_judge(planes)))
    assert fit | judge == set(range(10))
    assert not fit & judge
    assert len(judge) == 2
    assert len(to_judge(planes[:2])) == len(to_fit(planes[:2])) == 2
