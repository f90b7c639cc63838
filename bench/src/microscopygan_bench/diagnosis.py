"""How well a diagnosis finds stages and parameters in laboratories that nothing was trained on.

``microscopygan-bench diagnosis CLEAN`` draws virtual laboratories from those images of the folder
CLEAN that the training held out, and from simulated specimens, and diagnoses each from 1, 4 or 10
images. For each stage it prints how many of those that are there are found, by how strong they are,
how many are reported where there is none, and F1; and how often the 90 % intervals of the
parameters hold the true value. Then it says in how many clean images a defect is reported, source
by source: `--sources` names more folders of clean images.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from microscopygan.diagnosis import Diagnosis, diagnose
from microscopygan.diagnosis.findings import PRESENT
from microscopygan.diagnosis.parameters import STAGES, parameters
from microscopygan.image.axes import to_planes
from microscopygan.image.formats import list_images, read
from microscopygan.settings import LaboratorySettings, PretrainingSettings
from microscopygan.training.laboratories import FAINT, Laboratory, Specimens, draw_laboratory
from microscopygan.training.pretraining import sorts_of
from microscopygan_bench import machine
from microscopygan_bench.trust import held_out_images

BANDS = {"strong": (0.0, 26.0), "middling": (26.0, 36.0), "weak": (36.0, 44.0)}  # PSNR in dB
_SEED = 2026


class Case(NamedTuple):
    """A laboratory, and what a diagnosis says of it."""

    laboratory: Laboratory
    found: Diagnosis


def main(arguments: list[str] | None = None) -> None:
    """Diagnose, print the tables."""
    options = _options(arguments)
    settings = LaboratorySettings(images=options.images, alike=4, stacks=0.0)
    planes = [_plane(path) for path in held_out_images(options.clean)]
    specimens = Specimens(sorts_of(planes, PretrainingSettings()), settings)
    cases = [
        _case(draw_laboratory(specimens, settings, np.random.default_rng([_SEED, index])))
        for index in range(options.laboratories)
    ]
    print(f"{machine()}; {options.laboratories} laboratories of {options.images} images")
    for line in (*stage_table(cases), "", *interval_table(cases)):
        print(line)
    print(clean_row(options.clean.name, held_out_images(options.clean)))
    for folder in options.sources:
        print(clean_row(folder.name, list_images([folder])))


def _case(laboratory: Laboratory) -> Case:
    clean = [plane for plane in laboratory.alike if plane.any()]
    return Case(laboratory, diagnose(list(laboratory.defective), clean))


def stage_table(cases: Sequence[Case]) -> list[str]:
    """Return lines: stage by stage the share found in each band, false reports, F1."""
    lines = [
        f"| stage | {' | '.join(f'found, {band}' for band in BANDS)} | reported in vain | F1 |"
    ]
    lines.append("|---" * (len(BANDS) + 3) + "|")
    totals = np.zeros(3)
    for stage in STAGES:
        row, counts = _stage_row(cases, stage)
        totals += counts
        lines.append(row)
    lines.append(f"| all | {' | '.join('' for _ in BANDS)} | | {f1(*totals):.2f} |")
    return lines


def _stage_row(cases: Sequence[Case], stage: str) -> tuple[str, np.ndarray]:
    index = STAGES.index(stage)
    strength = np.array([case.laboratory.strength[index] for case in cases])
    hit = np.array([case.found.probability(stage) >= PRESENT for case in cases])
    cells = []
    for low, high in BANDS.values():
        there = (strength >= low) & (strength < high)
        cells.append(f"{hit[there].sum()} of {there.sum()}")
    absent, there = strength >= FAINT, strength < BANDS["middling"][1]
    counts = np.array([(hit & there).sum(), (hit & absent).sum(), (~hit & there).sum()])
    vain = f"{(hit & absent).sum()} of {absent.sum()}"
    return f"| {stage} | {' | '.join(cells)} | {vain} | {f1(*counts):.2f} |", counts


def f1(hits: float, in_vain: float, missed: float) -> float:
    """Return the harmonic mean of precision and recall; 1 where there was nothing to find.

    Examples
    --------
    >>> f1(8, 2, 2)
    0.8
    """
    return 2 * hits / (2 * hits + in_vain + missed) if hits + in_vain + missed else 1.0


def interval_table(cases: Sequence[Case]) -> list[str]:
    """Return lines: how often 90 % intervals of stages that were found hold the truth."""
    held: dict[str, list[bool]] = defaultdict(list)
    for laboratory, found in cases:
        findings = {finding.stage: finding for finding in found.present}
        for parameter, position in zip(parameters(), laboratory.position, strict=True):
            if parameter.bins <= 2 or parameter.stage not in findings or np.isnan(position):
                continue
            posterior = findings[parameter.stage].parameters[parameter.name]
            low, high = (parameter.position(value) for value in posterior.interval(0.9))
            slack = 0.5 / parameter.bins if parameter.range.spacing == "integer" else 1e-6
            held[parameter.stage].append(bool(low - slack <= position <= high + slack))
    shares = [f"{stage} {np.mean(some):.2f}" for stage, some in held.items()]
    every = [each for some in held.values() for each in some]
    return [f"90 % intervals hold {100 * np.mean(every or [False]):.0f} %: {', '.join(shares)}"]


def clean_row(source: str, images: Sequence[Path]) -> str:
    """Return a line: in how many clean images of a source a defect is reported, and how fast."""
    named: dict[str, int] = defaultdict(int)
    some, seconds = 0, []
    for path in images:
        plane, begun = _plane(path), time.perf_counter()
        present = diagnose([plane]).present
        seconds.append(time.perf_counter() - begun)
        some += bool(present)
        for finding in present:
            named[finding.stage] += 1
    said = ", ".join(f"{stage} {count}" for stage, count in named.items()) or "none"
    share = f"a defect in {some} of {len(images)} clean images ({said})"
    return f"{source}: {share}, {np.median(seconds):.2f} s an image"


def _plane(path: Path) -> np.ndarray:
    image = read(path)
    return np.asarray(to_planes(image.array, image.axes)[0][0], np.float32)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clean", type=Path)
    parser.add_argument("--laboratories", type=int, default=300)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--sources", type=Path, nargs="*", default=())
    return parser.parse_args(arguments)
