"""Stripes: their law, their calibration without pairs, and that one file is all there is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.defects import Symmetry, all_defects, symmetry_of
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import filaments, membranes, nuclei
from microscopygan.defects.stripes import Stripes, stripes
from microscopygan.evaluate.metrics import psnr_affine
from microscopygan.image.intensity import percentile_map

SOURCE = Path(__file__).parents[2] / "src" / "microscopygan"


def test_no_other_source_file_names_them() -> None:
    named = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(word in path.read_text("utf-8") for word in ("Stripes", '"stripes"', ".stripes"))
    ]
    assert named == ["defects/stripes.py"]
    assert all_defects()["stripes"] is Stripes
    assert symmetry_of("noise+stripes") is Symmetry.FLIPS


@settings(max_examples=10, deadline=None)
@given(
    gain=st.floats(0, 0.3),
    offset=st.floats(0, 0.2),
    length=st.sampled_from([0.0, 1.0, 3.0]),
    axis=st.sampled_from([0, 1]),
)
def test_lines_have_the_stated_spreads(
    gain: float, offset: float, length: float, axis: int
) -> None:
    rng = np.random.default_rng(0)
    plane = np.repeat([[0.0, 1.0]], 20000, axis=0)
    plane = plane if axis == 0 else plane.T
    got = stripes(plane, rng, gain=gain, offset=offset, length=length, axis=axis)
    dark, bright = got.T if axis == 0 else got
    tolerance = 0.02 + 0.02 * length
    assert dark.std() == pytest.approx(offset, rel=tolerance, abs=1e-6)
    assert (bright - dark).std() == pytest.approx(gain, rel=2 * tolerance, abs=1e-6)
    assert got.mean() == pytest.approx(plane.mean(), abs=0.01 * (1 + length))
    alike = float(np.corrcoef(dark[1:], dark[:-1])[0, 1]) if offset > 1e-3 else None
    if alike is not None:
        assert alike == pytest.approx(np.exp(-0.25 / length**2) if length else 0, abs=0.05)


def test_no_strength_is_no_change() -> None:
    plane = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    got = Stripes(gain=0).apply(plane, np.random.default_rng(1))
    assert np.array_equal(got, plane)


def _striped(truth: Stripes, specimen, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    planes = [Noise(photons=200).apply(specimen((128, 128), rng), rng) for _ in range(count)]
    planes = [truth.apply(plane, rng) for plane in planes]
    return [percentile_map(plane).apply(plane) for plane in planes]


@pytest.mark.parametrize("specimen", [filaments, nuclei, membranes])
@pytest.mark.parametrize(
    "truth",
    [
        Stripes(gain=0.2, offset=0.03, axis=0),
        Stripes(gain=0.0, offset=0.05, axis=1),
        Stripes(gain=0.0, offset=0.06, length=2.0, axis=0),
    ],
    ids=["gain", "offset", "broad"],
)
def test_ten_images_of_other_specimens_give_the_parameters_away(truth: Stripes, specimen) -> None:
    rng = np.random.default_rng(0)
    other = nuclei if specimen is filaments else filaments
    clean = [other((128, 128), rng) for _ in range(12)]
    calibrated = Stripes.calibrate(clean, _striped(truth, specimen, rng, 10), rng)
    gain, offset = (np.median([getattr(c, n) for c in calibrated]) for n in ("gain", "offset"))
    assert {item.axis for item in calibrated} == {truth.axis}
    assert calibrated[0].length == pytest.approx(truth.length, abs=1)
    assert offset == pytest.approx(truth.offset, rel=0.5)
    if truth.gain:
        assert gain == pytest.approx(truth.gain, rel=0.35)
    else:
        assert gain < 0.15


def test_one_image_is_enough_and_a_clean_one_has_none() -> None:
    rng = np.random.default_rng(1)
    clean = [membranes((128, 128), rng) for _ in range(8)]
    (one,) = Stripes.calibrate(clean, _striped(Stripes(gain=0.2), membranes, rng, 1), rng)
    assert one.axis == 0
    assert 0.1 <= one.gain <= 0.3
    none = Stripes.calibrate(clean, _striped(Stripes(gain=0), membranes, rng, 8), rng)
    assert np.median([item.offset for item in none]) < 0.01


@pytest.mark.parametrize("axis", [0, 1])
def test_the_classical_method_takes_strong_stripes_out_and_leaves_weak_ones(axis: int) -> None:
    rng = np.random.default_rng(0)
    clean = [nuclei((128, 128), rng) for _ in range(6)]

    def gain(truth: Stripes) -> float:
        noisy = [Noise(photons=200).apply(plane, rng) for plane in clean]
        planes = [truth.apply(plane, rng) for plane in noisy]
        pairs = list(zip(clean, planes, [Stripes.classical(p) for p in planes], strict=True))
        return float(np.mean([psnr_affine(c, r) - psnr_affine(c, p) for c, p, r in pairs]))

    assert gain(Stripes(gain=0, offset=0.06, axis=axis)) > 2
    assert gain(Stripes(gain=0.03, offset=0.01, axis=axis)) > -0.5


def test_words_name_the_lines() -> None:
    words = Stripes(gain=0.05, offset=0.02, length=3, axis=1).describe()
    assert "columns differ by 5 % in gain" in words
    assert "alike over 3 lines" in words
