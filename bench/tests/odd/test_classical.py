"""Classical methods: each undoes what it is for; a program that is missing is a reason."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from microscopygan.evaluate.metrics import psnr_affine
from microscopygan_bench.odd import classical
from microscopygan_bench.odd.classical import (
    deconvolved,
    fixed_pattern,
    median_of_outliers,
    methods,
    restore_all,
)
from microscopygan_bench.odd.families import FAMILIES, blurred, path_kernel
from microscopygan_bench.odd.fields import read_family
from microscopygan_bench.peers.job import read_arrays

RNG = np.random.default_rng(0)
CLEAN = np.clip(ndimage.gaussian_filter(RNG.standard_normal((160, 160)), 3) * 8, 0, None)
CLEAN = CLEAN.astype(np.float32)


def test_outliers_go_and_the_rest_stays() -> None:
    noisy = CLEAN + 0.01 * RNG.standard_normal(CLEAN.shape).astype(np.float32)
    hot = noisy.copy()
    hot[::20, ::20] += 2
    mended = median_of_outliers(hot)
    assert psnr_affine(CLEAN, mended) > psnr_affine(CLEAN, hot) + 10
    assert np.mean(mended == hot) > 0.9


def test_deconvolution_undoes_the_true_kernel() -> None:
    kernel = path_kernel(7, 0.4, 0.0)
    image = blurred(CLEAN, kernel)
    before, few, more = (
        psnr_affine(CLEAN, p) for p in (image, *(deconvolved(image, kernel, n) for n in (5, 40)))
    )
    assert before + 1 < few < more


def test_a_shared_pattern_is_measured() -> None:
    gain, offset = 1 + 0.1 * RNG.standard_normal((2, 160, 160))
    images = [
        (np.roll(CLEAN, (7 * k, 11 * k), (0, 1)) * gain + offset - 1).astype(np.float32)
        for k in range(40)
    ]
    corrected = {name: restore(images[0]) for name, restore in fixed_pattern(images).items()}
    before = psnr_affine(CLEAN, images[0])
    assert psnr_affine(CLEAN, corrected["shared offsets"]) > before + 6
    assert psnr_affine(CLEAN, corrected["shared gains and offsets"]) > before + 8


def test_methods_are_those_that_apply(data: Path) -> None:
    images = read_family(data, "astigmatism+rows")
    names = methods(FAMILIES["astigmatism+rows"], images, path_kernel(7, 0.4, 0.0))
    assert {"non-local means", "classical: astigmatism", "classical: all"} <= set(names)
    assert sum(name.startswith("Richardson-Lucy") for name in names) == 4
    assert set(methods(FAMILIES["jitter"], images, None)) == {
        "non-local means",
        "classical: jitter",
    }


def test_a_missing_program_is_a_reason(data: Path, tmp_path: Path) -> None:
    family = replace(FAMILIES["rows"], stages=())
    images = read_family(data, "rows")
    results, said = restore_all(family, images, None, "cannot be installed: no network", tmp_path)
    assert said == "destripe, wavelet: cannot be installed: no network"
    assert list(results) == ["non-local means"]
    assert results["non-local means"].keys() == images.test.keys()


def test_a_dedicated_program_gets_its_images_and_no_target(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = tmp_path / "run_dedicated.py"
    stub.write_text(
        "import json, sys, numpy as np\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n"
        "test = np.load(folder / 'test.npz')['images']\n"
        "job = json.loads((folder / 'job.json').read_text())\n"
        "np.savez(folder / 'restored.npz', **{n: test + job['lines'] for n in job['methods']})\n"
    )
    monkeypatch.setattr(classical, "PEERS", tmp_path)
    images = read_family(data, "columns")
    family = replace(FAMILIES["columns"], stages=(), methods=("destripe",))
    results, said = restore_all(family, images, None, Path(sys.executable), tmp_path)
    assert said == ""
    assert all(np.array_equal(results["destripe"][n], p + 1) for n, p in images.test.items())
    folder = tmp_path / "dedicated"
    assert {p.name for p in folder.glob("*.npz")} == {"training.npz", "test.npz", "restored.npz"}
    assert len(read_arrays(folder / "training.npz")["images"]) == len(images.defective)
    stub.write_text("raise SystemExit('no such program')")
    with pytest.raises(RuntimeError, match="no such program"):
        restore_all(family, images, None, Path(sys.executable), tmp_path)
