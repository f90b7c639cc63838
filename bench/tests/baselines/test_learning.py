"""What the GAN baselines learn within seconds, on small planes."""

import numpy as np
import pytest

from microscopygan.defects.specimens import membranes, nuclei
from microscopygan_bench.baselines import cyclegan, deblurgan, pix2pix


def specimens(kind, count: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [kind((64, 64), rng)[:side, :side] for _ in range(count)]


def psnr(images: list[np.ndarray], targets: list[np.ndarray]) -> float:
    """Mean over images, for a range of 0..1."""
    errors = [np.mean((a - b) ** 2) for a, b in zip(images, targets, strict=True)]
    return float(np.mean(-10 * np.log10(errors)))


def flat(targets: list[np.ndarray]) -> list[np.ndarray]:
    """Return the best images without any content."""
    return [np.full_like(target, target.mean()) for target in targets]


@pytest.mark.slow
def test_pix2pix_learns_to_remove_noise() -> None:
    """120 updates."""
    clean = specimens(membranes, 14, 64)
    rng = np.random.default_rng(1)
    noisy = [(x + rng.normal(0, 0.3, x.shape)).astype(np.float32) for x in clean]
    trained = pix2pix.train(noisy[:10], clean[:10], seconds=1e9, steps=120, seed=0, width=8)
    restored = trained.restore(np.stack(noisy[10:]))
    assert psnr(restored, clean[10:]) > psnr(noisy[10:], clean[10:]) + 4
    assert psnr(restored, clean[10:]) > psnr(flat(clean[10:]), clean[10:]) + 2


@pytest.mark.slow
def test_deblurgan_learns_to_remove_background_light() -> None:
    """50 updates with VGG and five of the critic each."""
    clean = specimens(membranes, 14, 32)
    bright = [x + np.float32(0.5) for x in clean]
    trained = deblurgan.train(bright[:10], clean[:10], seconds=1e9, steps=50, seed=0, width=8)
    restored = trained.restore(np.stack(bright[10:]))
    assert psnr(restored, clean[10:]) > psnr(bright[10:], clean[10:]) + 2
    kept = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(restored, clean[10:], strict=True)
    ]
    assert min(kept) > 0.95


@pytest.mark.slow
def test_cyclegan_learns_the_intensities_of_the_clean_images_and_keeps_content() -> None:
    """100 updates of four networks."""
    clean = specimens(nuclei, 14, 32)
    faded = [0.4 * x + np.float32(0.5) for x in clean]
    trained = cyclegan.train(faded[:5], clean[5:10], seconds=1e9, steps=100, seed=0, width=8)
    restored = trained.restore(np.stack(faded[10:]))
    gap = abs(np.mean(restored) - np.mean(clean[5:10]))
    assert gap < 0.2 * abs(np.mean(faded[10:]) - np.mean(clean[5:10]))
    assert psnr(restored, clean[10:]) > psnr(faded[10:], clean[10:]) + 4
    assert psnr(restored, clean[10:]) > psnr(flat(clean[10:]), clean[10:]) + 0.5
