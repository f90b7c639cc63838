"""Make the gallery: shipped images with a defect, restored out of the box, and clean.

``python scripts/gallery_pictures.py`` writes docs/images/gallery/ and the cases of docs/gallery.md
anew. The network that ships was trained on none of these images.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import microscopygan
from microscopygan.defects.axial import Axial
from microscopygan.defects.base import Defect
from microscopygan.defects.composition import Composition
from microscopygan.defects.haze import Haze
from microscopygan.defects.lowres import LowResolution
from microscopygan.defects.motion import Motion
from microscopygan.defects.noise import Noise
from microscopygan.defects.stripes import Stripes
from microscopygan.defects.uneven import UnevenIllumination
from microscopygan.evaluate.metrics import psnr_affine, ssim_affine
from microscopygan.evaluate.report.pictures import grey, window
from microscopygan.image.intensity import percentile_map

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLES = REPOSITORY / "src" / "microscopygan" / "samples" / "clean"
DOCS = REPOSITORY / "docs"
SIDE = 160  # of the squares that are shown, in pixels
KINDS = ("before", "after", "truth")


class Case(NamedTuple):
    """A sample, what is done to it, and the first row and column of what is shown."""

    title: str
    sample: str
    defect: Defect
    corner: tuple[int, int]
    words: str
    hint: tuple[str, ...] = ()  # what the network is told


CASES = {
    "noise": Case(
        "Noise",
        "neubias_neuron",
        Noise(photons=20, read_noise=1),
        (90, 0),
        "20 photons at the brightest. The branches come out; the grains in them do not.",
    ),
    "strong-noise": Case(
        "Hardly any light",
        "neubias_bacteria_thin",
        Noise(photons=6, read_noise=1),
        (60, 60),
        "6 photons at the brightest. The outlines are there, the fine threads are gone for good.",
    ),
    "low-resolution": Case(
        "Low resolution",
        "neubias_bacteria_thick",
        LowResolution(sigma=2, binning=2, photons=300),
        (40, 60),
        "A wide point spread function and pixels of twice the size.",
    ),
    "axial": Case(
        "Few planes along the axis",
        "dsb2018_124",
        Axial(sigma_z=1.5, step=4),
        (96, 0),
        "The axis runs downwards; every fourth plane was recorded.",
    ),
    "haze": Case(
        "Haze",
        "dsb2018_110",
        Composition(steps=(Haze(sigma=12, fraction=0.6), Noise(photons=200))),
        (60, 60),
        "Six tenths of the light come from outside the plane. Here the network was told so, "
        "`--defect haze,noise`; it takes less away where it has to look for itself.",
        ("haze", "noise"),
    ),
    "two-defects": Case(
        "Two at once",
        "dsb2018_095",
        Composition(steps=(LowResolution(sigma=1.5, binning=2), Noise(photons=25, read_noise=1))),
        (40, 40),
        "Low resolution and noise, with one network and in one go.",
    ),
    "stripes": Case(
        "Rows that differ, and noise",
        "dsb2018_168",
        Composition(steps=(Stripes(gain=0.12, offset=0.02), Noise(photons=60, read_noise=1))),
        (60, 60),
        "A laser that flickers from row to row.",
    ),
    "motion": Case(
        "Motion",
        "dsb2018_168",
        Motion(length=9, angle=0.35),
        (60, 60),
        "The stage moved. The network that ships hardly changes it; train it for more.",
    ),
    "uneven": Case(
        "Uneven light, which it does not mend",
        "dsb2018_124",
        UnevenIllumination(strength=0.8),
        (0, 0),
        "One corner is dark, and stays dark.",
    ),
}


def restored(case: Case) -> tuple[dict[str, np.ndarray], str]:
    """Return the square before, after and clean, (Y, X) uint8 on one grey scale, and the scores."""
    array = microscopygan.read(SAMPLES / f"{case.sample}.tif").array
    truth = percentile_map(array).apply(array)
    before = np.asarray(case.defect.apply(truth, np.random.default_rng(0)), np.float32)
    after = microscopygan.restore(before, axes="YX", defect=case.hint)
    y, x = case.corner
    cut = [plane[y : y + SIDE, x : x + SIDE] for plane in (before, after, truth)]
    scale = window(cut[-1])
    squares = {kind: grey(plane, *scale) for kind, plane in zip(KINDS, cut, strict=True)}
    psnr, ssim = (
        [f"{measure(truth, plane):{form}}" for plane in (before, after)]
        for measure, form in ((psnr_affine, ".1f"), (ssim_affine, ".2f"))
    )
    return squares, f"PSNR {psnr[0]} → {psnr[1]} dB, SSIM {ssim[0]} → {ssim[1]}."


def entry(name: str, case: Case, scores: str) -> str:
    """Return a case as the page shows it."""
    pictures = [f"![{case.title}: {kind}](images/gallery/{name}-{kind}.png)" for kind in KINDS]
    compared = "\n\n".join(pictures[:2])
    return (
        f"## {case.title}\n\n{case.words} {scores}\n\n:::{{container}} compare\n{compared}\n:::\n\n"
        f":::{{container}} truth\n{pictures[2]}\n:::\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Write the pictures and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=DOCS, help="folder of the page")
    folder = parser.parse_args(arguments).output
    (folder / "images" / "gallery").mkdir(parents=True, exist_ok=True)
    entries = []
    for name, case in CASES.items():
        squares, scores = restored(case)
        entries.append(entry(name, case, scores))
        for kind, pixels in squares.items():
            path = folder / "images" / "gallery" / f"{name}-{kind}.png"
            Image.fromarray(pixels).save(path, optimize=True)
    page = (DOCS / "gallery.md").read_text("utf-8")
    marks = r"(?<=<!-- cases -->\n).*(?=<!-- /cases -->)"
    page = re.sub(marks, lambda _: "\n".join(entries), page, flags=re.DOTALL)
    (folder / "gallery.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
