"""Score a run: its restorer on pairs, its synthetic defects against real ones.

Both functions write what `report` shows into ``run/evaluation``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..datasets.folder import Pair
from ..defects.statistics import noise_curve, noise_curve_from_pairs
from ..image.atomic import whole, write_text
from .classical import classical
from .folders import write_csv
from .metrics import score
from .realism import realism

Plane = np.ndarray
Rows = list[dict[str, str | float]]

_EXAMPLES = 4  # pictures of each defect in the report


def score_restorer(
    run: Path, pairs: dict[str, list[Pair]], restorers: Mapping[str, Callable[[Plane], Plane]]
) -> Rows:
    """Score the input, a classical method and restorers on pairs never trained on.

    Parameters
    ----------
    run
        Gets ``evaluation/scores.csv`` and ``evaluation/examples.npz``.
    pairs
        By defect; planes (Y, X) float32 on about 0..1.
    restorers
        Plane to plane, by their names: ``restored`` for the run's own.

    Returns
    -------
    A row for each defect, image and method, with the metrics of `score`.
    """
    rows: Rows = []
    pictures: dict[str, Plane] = {}
    for defect, some in pairs.items():
        for number, pair in enumerate(some):
            images = {
                "input": pair.input,
                "classical": classical(pair.input, defect),
                **{name: restore(pair.input) for name, restore in restorers.items()},
            }
            for method, plane in images.items():
                about: dict[str, str | float] = {
                    "defect": defect,
                    "image": pair.name,
                    "method": method,
                }
                rows.append({**about, **score(pair.target, plane)})
            if number < _EXAMPLES:
                planes = images | {"clean": pair.target}
                pictures |= {f"{defect}/{number}/{key}": p for key, p in planes.items()}
    if rows:
        write_csv(rows, run / "evaluation" / "scores.csv", overwrite=True)
        _save_pictures(run / "evaluation" / "examples.npz", pictures)
    return rows


def score_defects(
    run: Path,
    draws: dict[str, Plane],
    real: dict[str, list[Plane]],
    pairs: dict[str, list[Pair]],
    seed: int,
    seen: dict[str, list[Plane]] | None = None,
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Measure how realistic synthetic defects are, beside those of simpler models.

    Parameters
    ----------
    run
        Gets ``evaluation/realism.json`` and ``evaluation/synthetic.npz``.
    draws
        ``DEFECT/KIND`` to (N, Y, X) float32; KIND is clean, synthetic1, synthetic2 and, where
        CIN-GAN made these, physics: what it made them of.
    real
        Real defective planes by defect.
    pairs
        Real pairs by defect for the noise curve; blind estimates stand in where there are none.
    seed
        Of the classifier's splits and of the Gaussian noise.
    seen
        Real defective planes that the training saw, by defect, where `real` are others: the
        Gaussian noise takes its standard deviation from them, as CIN-GAN took what it knows.

    Returns
    -------
    ``[defect][cin-gan | physics | gaussian][spectrum | noise_curve | noise_curve_largest |
    classifier]``.
    """
    measures: dict[str, dict[str, dict[str, float | None]]] = {}
    pictures: dict[str, Plane] = {}
    for defect in sorted({key.partition("/")[0] for key in draws}):
        clean, planes = draws[f"{defect}/clean"], real[defect]
        synthetic = {"physics": draws[f"{defect}/synthetic1"]}
        if f"{defect}/physics" in draws:
            synthetic = {"cin-gan": synthetic["physics"], "physics": draws[f"{defect}/physics"]}
        synthetic["gaussian"] = _gaussian(clean, (seen or real)[defect], seed)
        real_pairs = pairs.get(defect, [])
        measures[defect] = {
            source: _measure(planes, real_pairs, some, clean, seed)
            for source, some in synthetic.items()
        }
        for number in range(min(_EXAMPLES, len(clean))):
            for kind in ("clean", "synthetic1", "synthetic2"):
                pictures[f"{defect}/{number}/{kind}"] = draws[f"{defect}/{kind}"][number]
            pictures[f"{defect}/{number}/real"] = planes[number % len(planes)]
    text = json.dumps(measures, indent=2) + "\n"
    write_text(run / "evaluation" / "realism.json", text, overwrite=True)
    _save_pictures(run / "evaluation" / "synthetic.npz", pictures)
    return measures


def _measure(
    real: Sequence[Plane], pairs: list[Pair], synthetic: Plane, clean: Plane, seed: int
) -> dict[str, float | None]:
    if pairs:
        theirs = noise_curve_from_pairs([p.input for p in pairs], [p.target for p in pairs])
        ours = noise_curve_from_pairs(list(synthetic), list(clean))
    else:
        theirs, ours = noise_curve(list(real)), noise_curve(list(synthetic))
    if len(real) < 2:
        return {"noise_curve": None, "spectrum": None, "classifier": None}
    rng = np.random.default_rng(seed)
    measures = realism(
        _same_size(real), list(synthetic), rng, real_curve=theirs, synthetic_curve=ours
    )
    return {
        "spectrum": measures.spectrum,
        "noise_curve": measures.noise_curve,
        "noise_curve_largest": measures.noise_curve_largest,
        "classifier": measures.classifier,
    }


def _same_size(planes: Sequence[Plane], size: int = 128) -> list[Plane]:
    """Cut planes to their middle, so that spectra compare at equal frequencies."""
    cut = []
    for plane in planes:
        y, x = (max(0, (length - size) // 2) for length in plane.shape)
        cut.append(plane[y : y + size, x : x + size])
    return cut


def _gaussian(clean: Plane, real: Sequence[Plane], seed: int) -> Plane:
    """Clean planes with Gaussian noise of one standard deviation, the real images' mean one."""
    variance = float(np.mean(noise_curve(list(real))[1]))
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    return np.asarray(clean + np.sqrt(variance) * noise, np.float32)


def _save_pictures(path: Path, pictures: dict[str, Plane]) -> None:
    with whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **pictures)  # type: ignore[arg-type]
