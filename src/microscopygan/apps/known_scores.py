"""How well a model restores, as far as it is known: of one that ships, or of a run."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from ..evaluate.score_table import score_table
from ..restoration.models import MODELS


def known_psnr(model: Path | str) -> Mapping[str, tuple[float, float]]:
    """Return the PSNR before and after a restoration, of images never trained on.

    Parameters
    ----------
    model
        The name of a model that ships, or ``restorer.onnx`` of a run, whose test pairs were scored.

    Returns
    -------
    dict
        By defect, means in dB after an affine fit; empty where nothing is known.

    Examples
    --------
    >>> known_psnr("generalist")["noise"]
    (18.43, 29.14)
    """
    if str(model) in MODELS:
        return MODELS[str(model)].psnr
    scores = Path(model).with_name("evaluation") / "scores.csv"
    if not scores.is_file():
        return {}
    with scores.open(newline="", encoding="utf-8") as file:
        table = score_table(list(csv.DictReader(file)))
    means = {
        defect: (methods["input"].mean, methods["restored"].mean)
        for defect, methods in table.items()
        if {"input", "restored"} <= methods.keys()
    }
    return {defect: pair for defect, pair in means.items() if all(map(math.isfinite, pair))}
