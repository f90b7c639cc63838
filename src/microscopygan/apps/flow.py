"""What the commands do, room by room; shared by the command line and the demo."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.folder import Dataset
from ..datasets.names import stem_of
from ..image.axes import AXES, to_volumes
from ..image.formats import Image, read, write
from ..image.intensity import percentile_map, to_dtype
from ..settings import Settings
from .batch import outputs_of


def evaluate_run(run: Path, dataset: Dataset, chosen: Settings) -> None:
    """Score a run on its held-out pairs, or on those held back for validation."""
    from ..evaluate.score_run import score_defects, score_restorer
    from ..restoration.model import Restorer
    from ..training.split import gather

    material = gather(dataset, chosen)
    held = {name: dataset.test.get(name) or material.validation[name] for name in material.defects}
    held = {name: pairs for name, pairs in held.items() if pairs}
    (run / "evaluation").mkdir(exist_ok=True)
    if held and (run / "restorer.onnx").exists():
        restorers = {"generalist": Restorer().restore_plane} if chosen.start == "generalist" else {}
        restorers["restored"] = Restorer(run / "restorer.onnx").restore_plane
        score_restorer(run, held, restorers)
    if (run / "draws.npz").exists():
        with np.load(run / "draws.npz", allow_pickle=False) as file:
            draws = dict(file)
        real = material.defective
        pairs = {name: material.pairs[name] or held.get(name, []) for name in material.defects}
        score_defects(run, draws, real, pairs, chosen.seed)


def told_of(run: Path) -> list[str]:
    """Return what a user should know of a training: a line for each."""
    from ..defects import all_defects

    about = json.loads((run / "run.json").read_text())
    judged = about["adaptation"]
    if judged is None:
        return []
    kept, gains = judged["kept_after_steps"], ""
    if "kept_gain_db" in judged:
        gains = ", {kept_gain_db} dB over the input, the generalist {generalist_gain_db} dB"
    said = "The generalist was kept, no adaptation did better" if not kept else "Adapted"
    lines = [said + gains.format(**judged) + "."]
    places: dict[str, list[str]] = {}
    for defect, place in judged["judged_on"].items():
        places.setdefault(place, []).append(defect)
    judges = ", ".join(f"{place} ({', '.join(names)})" for place, names in places.items())
    lines.append(f"Judged on {judges}.")
    if not about["dataset"]["clean"]:
        lines.append("No clean image was given: the noise was learned from itself.")
    unknown = [name for name in judged["judged_on"] if name not in all_defects()]
    if unknown and about["dataset"]["alpha"] > 0:
        lines.append(
            f"No physics is known of {', '.join(unknown)}: CIN-GAN learned it from the images, and "
            "makes what it is judged on, held-back pairs apart. "
            f"If it is one of {', '.join(all_defects())}, name its folder so."
        )
    return lines


def synthesize_files(
    run: Path,
    clean: Sequence[Path],
    defect: str,
    output: Path,
    seed: int,
    draws: int,
    *,
    overwrite: bool,
) -> Iterator[Path]:
    """Put a learned defect into files, `draws` times each, yielding each output."""
    import torch

    from ..training.synthesis import Degrader

    degrader = Degrader(run, defect)
    chosen = outputs_of(clean, output, overwrite=True)
    named = [
        (source, _renamed(path, f"_{defect}{draw}"))
        for source, path in chosen
        for draw in range(1, draws + 1)
    ]
    for _, path in named:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; give --overwrite, or another output")
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    for source, path in named:
        made = _degraded(read(source), lambda planes: degrader(planes, rng, noise))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield write(path, made, overwrite=overwrite)


def _renamed(path: Path, end: str) -> Path:
    """Return the path with `end` before its suffix; ``.ome.tif`` is one."""
    stem = stem_of(path)
    return path.with_name(f"{stem}{end}{path.name[len(stem) :]}")


def _degraded(image: Image, degrade: Callable[[np.ndarray], np.ndarray]) -> Image:
    """Degrade each volume on an intensity scale of its own, as it is restored."""
    order = [image.axes.index(letter) for letter in AXES if letter in image.axes]
    made = []
    for volume in to_volumes(image.array, image.axes):
        scale = percentile_map(volume)
        made.append(scale.undo(degrade(scale.apply(volume))))
    ordered = np.stack(made).reshape([image.array.shape[k] for k in order])
    array = ordered.transpose(np.argsort(order))
    return replace(image, array=to_dtype(array, image.array.dtype))
