"""The trees of a diagnosis: examples of virtual laboratories, boosting, and the file that ships.

Boosted trees (scikit-learn's histogram gradient boosting), an ensemble for each stage, weigh
measures and what the set encoder says. They need a hundredth of the laboratories that a network
does, since what betrays a defect is measured and need not be found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ..diagnosis.encoder import encoded
from ..diagnosis.features import scaled, set_features
from ..diagnosis.parameters import STAGES
from ..diagnosis.sessions import KEY
from ..diagnosis.trees import tree_inputs
from ..image.atomic import whole
from ..settings import StageTreeSettings
from .laboratories import FAINT, Laboratory

_SETS = (slice(None), slice(0, 1), slice(4, 7))  # of the images of a laboratory
_LEAF, _BRANCH = "LEAF", "BRANCH_LEQ"


class Examples(NamedTuple):
    """What trees learn from, a row for each set of images.

    Attributes
    ----------
    inputs
        (L, I), float32, of `diagnosis.trees.tree_inputs`.
    strength
        (L, S), dB, as of a `Laboratory`.
    """

    inputs: NDArray[np.float32]
    strength: NDArray[np.float32]


def examples(laboratory: Laboratory) -> Examples:
    """Measure a laboratory: all its images, one alone, and three.

    Parameters
    ----------
    laboratory
        With its images measured, see `LaboratorySettings.measured`.
    """
    squares = [scaled(image) for image in laboratory.defective]
    there = laboratory.alike.any(axis=(1, 2))
    clean = [scaled(image) for image in laboratory.alike[there]]
    clean_numbers = laboratory.alike_numbers[there]
    of_clean = set_features(clean) if clean else np.zeros(0, np.float32)
    rows = []
    for part in _SETS:
        some, numbers = squares[part], laboratory.numbers[part]
        if len(some):
            said = encoded(some, numbers, clean, clean_numbers).stages[0]
            of_set = set_features(some)
            rows.append(tree_inputs(numbers, of_set, clean_numbers, of_clean, said))
    return Examples(np.stack(rows), np.repeat(laboratory.strength[None], len(rows), 0))


def fit_trees(known: Examples, settings: StageTreeSettings) -> list[Any]:
    """Fit trees for each of `STAGES`.

    Stages that are there but faint count neither as there nor as absent.

    Parameters
    ----------
    known
        Of as many laboratories as can be drawn.
    settings
        Of the trees.

    Returns
    -------
    list of sklearn.ensemble.HistGradientBoostingClassifier
        In the order of `STAGES`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    found = []
    for strength in known.strength.T:
        there = strength < settings.faint
        counts = there | (strength >= FAINT)
        trees = HistGradientBoostingClassifier(
            max_iter=settings.trees,
            learning_rate=settings.rate,
            max_leaf_nodes=settings.leaves,
            min_samples_leaf=settings.samples_a_leaf,
            l2_regularization=settings.ridge,
            max_features=settings.share,
            early_stopping=False,
            random_state=settings.seed,
        )
        found.append(trees.fit(known.inputs[counts], there[counts]))
    return found


def export_trees(fitted: Sequence[Any], path: Path) -> None:
    """Write fitted trees as one ONNX file that gives the log odds of each of `STAGES`.

    Parameters
    ----------
    fitted
        A classifier for each stage, see :func:`fit_trees`.
    path
        The ``.onnx`` file, which appears whole or not at all.
    """
    trees = [
        (target, predictor.nodes)
        for target, classifier in enumerate(fitted)
        for (predictor,) in classifier._predictors
    ]
    sizes = [len(nodes) for _, nodes in trees]
    nodes = np.concatenate([nodes for _, nodes in trees])
    tree = np.repeat(np.arange(len(trees)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    leaf = nodes["is_leaf"].astype(bool)
    node = onnx.helper.make_node(
        "TreeEnsembleRegressor",
        ["inputs"],
        ["logits"],
        domain="ai.onnx.ml",
        n_targets=len(fitted),
        base_values=[float(classifier._baseline_prediction.item()) for classifier in fitted],
        nodes_treeids=tree,
        nodes_nodeids=place,
        nodes_modes=np.where(leaf, _LEAF, _BRANCH).tolist(),
        nodes_featureids=np.where(leaf, 0, nodes["feature_idx"]),
        nodes_values=np.where(leaf, 0, _below(nodes["num_threshold"])),
        nodes_truenodeids=np.where(leaf, 0, nodes["left"]),
        nodes_falsenodeids=np.where(leaf, 0, nodes["right"]),
        target_treeids=tree[leaf],
        target_nodeids=place[leaf],
        target_ids=np.repeat([target for target, _ in trees], sizes)[leaf],
        target_weights=nodes["value"][leaf].astype(np.float32),
    )
    number = onnx.TensorProto.FLOAT
    inputs = fitted[0].n_features_in_
    graph = onnx.helper.make_graph(
        [node],
        "stages",
        [onnx.helper.make_tensor_value_info("inputs", number, [None, inputs])],
        [onnx.helper.make_tensor_value_info("logits", number, [None, len(fitted)])],
    )
    versions = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=8)
    onnx.helper.set_model_props(model, {KEY: json.dumps(STAGES)})
    onnx.checker.check_model(model)
    with whole(path) as part:
        part.write_bytes(model.SerializeToString())


def _below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round down to single precision, which sorts single-precision inputs alike."""
    rounded = thresholds.astype(np.float32)
    lower = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, lower, rounded)
