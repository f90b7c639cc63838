"""Hot and dead pixels: as many as stated, counted again, and replaced."""

import numpy as np
import pytest

from microscopygan.defects.hotpixels import HotPixels
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, nuclei
from microscopygan.defects.statistics import outliers
from microscopygan.evaluate.metrics import psnr_affine


def test_as_many_pixels_as_stated_are_hot_or_dead() -> None:
    plane = np.full((400, 400), 0.5)
    truth = HotPixels(hot=0.02, dead=0.01, brightness=0.7)
    got = truth.apply(plane, np.random.default_rng(0))
    assert np.mean(got > 0.5) == pytest.approx(0.02, rel=0.1)
    assert np.mean(got == 0) == pytest.approx(0.01, rel=0.1)
    assert (got[got > 0.5] - 0.5).mean() == pytest.approx(0.7, rel=0.1)
    assert np.mean(got == np.float32(0.5)) == pytest.approx(0.97, abs=0.005)


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(HotPixels(hot=0).apply(plane, np.random.default_rng(0)), plane)


def test_single_pixels_stand_out_and_lines_do_not() -> None:
    plane = np.random.default_rng(0).normal(0, 0.01, (40, 40))
    plane[20] += 1
    plane[5, 5] += 1
    plane[9, 9] -= 1
    _, out = outliers(plane)
    assert out[5, 5]
    assert out[9, 9]
    assert out.sum() == 2


def test_unpaired_images_of_another_specimen_give_the_shares_away() -> None:
    rng = np.random.default_rng(0)
    truth = HotPixels(hot=0.005, dead=0.0, brightness=0.8)
    clean = [filaments((128, 128), rng) for _ in range(8)]
    planes = [Noise(photons=300).apply(nuclei((128, 128), rng), rng) for _ in range(8)]
    calibrated = HotPixels.calibrate(clean, [truth.apply(plane, rng) for plane in planes], rng)
    assert np.median([item.hot for item in calibrated]) == pytest.approx(0.005, rel=0.4)
    assert np.median([item.brightness for item in calibrated]) == pytest.approx(0.8, rel=0.4)
    none = HotPixels.calibrate(clean, planes, rng)
    assert np.median([item.hot for item in none]) < 5e-4


def test_the_classical_method_replaces_them() -> None:
    rng = np.random.default_rng(0)
    clean = nuclei((128, 128), rng)
    hot = HotPixels(hot=0.005, dead=0.002).apply(clean, rng)
    assert psnr_affine(clean, HotPixels.classical(hot)) > psnr_affine(clean, hot) + 8
