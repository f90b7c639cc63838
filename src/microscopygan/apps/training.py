"""Train from the command line and in the demo: the stages, then the scores of what they made."""

from __future__ import annotations

import os

import numpy as np

from ..datasets.folder import Pair
from ..training.run_folder import summary
from ..training.stages import Trained


def evaluate_run(trained: Trained) -> list[str]:
    """Score a run on its test pairs, or on those held back; return what a user should know.

    The scores go to ``evaluation/`` of the run. Where several processes trained, one of them
    does it and the others return nothing.
    """
    if int(os.environ.get("RANK", "0")) != 0:
        return []
    split, run = trained.split, trained.folder
    pairs = {name: split.test.get(name) or split.validation_pairs[name] for name in split.defects}
    pairs = {name: some for name, some in pairs.items() if some}
    (run / "evaluation").mkdir(exist_ok=True)
    if pairs and trained.model.exists():
        _score_restorer(trained, pairs)
    if (run / "draws.npz").exists():
        _score_defects(trained, pairs)
    return summary(run)


def _score_restorer(trained: Trained, pairs: dict[str, list[Pair]]) -> None:
    from ..evaluate.score_run import score_restorer
    from ..restoration.model import Restorer

    adapted = trained.settings.start == "generalist"
    restorers = {"generalist": Restorer().restore_plane} if adapted else {}
    restorers["restored"] = Restorer(trained.model).restore_plane
    score_restorer(trained.folder, pairs, restorers)


def _score_defects(trained: Trained, pairs: dict[str, list[Pair]]) -> None:
    from ..evaluate.score_run import score_defects

    split = trained.split
    with np.load(trained.folder / "draws.npz", allow_pickle=False) as file:
        draws = dict(file)
    real_pairs = {name: split.pairs[name] or pairs.get(name, []) for name in split.defects}
    score_defects(trained.folder, draws, split.defective, real_pairs, trained.settings.seed)
