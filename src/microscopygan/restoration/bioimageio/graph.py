"""The network with all that `restore` does around it, as one ONNX graph.

::

    image ─ intensity map ─ mirrored to the grid ─ network ─ cropped ─ map undone ─ restored
            (B, 1, Y, X) in units of the image, any size, in and out

Percentiles and maps are float64, as they are in `image/intensity.py`, so that large offsets cost no
precision. `Graph` adds one node at a time; a value is its name.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.compose import add_prefix_graph
from onnx.utils import Extractor

from ...image.intensity import AffineMap
from ...model_card import ModelCard

INPUT, OUTPUT = "image", "restored"
NEWEST_OPSET = 18  # that the runtime of deepImageJ is known to take
_ONE = np.array([1], np.int64)


class Graph:
    """Nodes and constants of a graph, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, operation: str, *inputs: str | np.ndarray | np.generic, **how: Any) -> str:
        """Add a node; return the name of its first output.

        Parameters
        ----------
        operation
            Of ONNX's own.
        inputs
            Names of values; arrays become constants.
        how
            Attributes of the node.
        """
        name = f"{operation.lower()}_{len(self.nodes)}"
        outputs = [name, f"{name}_places"] if operation == "TopK" else [name]
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append(helper.make_node(operation, names, outputs, **how))
        return name

    def constant(self, value: np.ndarray | np.generic) -> str:
        """Add a constant; return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


class Map(NamedTuple):
    """The intensity map of each image: names of (B, 1, 1, 1) float64, and of a condition."""

    offset: str
    scale: str
    constant: str | None = None  # all pixels of the image are the same


def restoring_model(
    network: onnx.ModelProto,
    card: ModelCard,
    hint: tuple[str, ...] = (),
    strength: float = 1.0,
    scale: AffineMap | None = None,
) -> onnx.ModelProto:
    """Return a model that takes images of any size in their own units, and gives them restored.

    Parameters
    ----------
    network
        A restorer's file, as `microscopygan train` writes it.
    card
        Its card.
    hint
        Defects of ``card.hints`` that the images are said to have.
    strength
        0 gives the input back, 1 the network's result.
    scale
        One intensity map for all images; that of each image's own percentiles where not given.

    Returns
    -------
    onnx.ModelProto
        From ``image`` to ``restored``, both (B, 1, Y, X) float32, finite, B, Y and X free.

    Raises
    ------
    ValueError
        The network has a newer opset than other programs take.
    """
    opset = max(each.version for each in network.opset_import if each.domain == "")
    if opset > NEWEST_OPSET:
        raise ValueError(
            f"{card.name}: expected a model of opset {NEWEST_OPSET} or lower, got {opset}; export "
            "it again"
        )
    add = Graph()
    shape = add("Shape", INPUT)
    y, x = (add("Slice", shape, _ints(k), _ints(k + 1)) for k in (2, 3))
    to = _percentile_map(add, card) if scale is None else _fixed_map(add, scale)
    exact = add("Sub", add("Cast", INPUT, to=TensorProto.DOUBLE), to.offset)
    scaled = add("Cast", add("Div", exact, to.scale), to=TensorProto.FLOAT)
    window = _mirrored(add, _mirrored(add, scaled, y, 2, card.multiple), x, 3, card.multiple)
    result = _through(add, network, card, window, hint)
    if strength < 1:
        change = add("Mul", add("Sub", result, window), np.float32(strength))
        result = add("Add", window, change)
    cropped = add("Slice", result, _ints(0, 0), add("Concat", y, x, axis=0), _ints(2, 3))
    exact = add("Mul", add("Cast", cropped, to=TensorProto.DOUBLE), to.scale)
    undone = add("Cast", add("Add", exact, to.offset), to=TensorProto.FLOAT)
    if to.constant is not None:
        undone = add("Where", to.constant, INPUT, undone)
    add.nodes.append(helper.make_node("Identity", [undone], [OUTPUT]))
    graph = helper.make_graph(
        add.nodes,
        "restoring",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 1, "y", "x"])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 1, "y", "x"])],
        add.constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=network.opset_import,
        ir_version=network.ir_version,
        producer_name="microscopygan",
    )
    onnx.checker.check_model(model)
    return model


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _fixed_map(add: Graph, scale: AffineMap) -> Map:
    return Map(add.constant(np.float64(scale.offset)), add.constant(np.float64(scale.scale)))


def _percentile_map(add: Graph, card: ModelCard) -> Map:
    """`percentile_map` of each image, one that is constant excepted."""
    pixels = add("Reshape", INPUT, _ints(0, -1))
    last = add("Sub", add("Shape", pixels, start=1), _ONE)
    bottom = _percentile(add, pixels, last, card.low, from_top=False)
    top = _percentile(add, pixels, last, card.high, from_top=True)
    darkest, brightest = (
        add("Cast", add(operation, pixels, axes=[1]), to=TensorProto.DOUBLE)
        for operation in ("ReduceMin", "ReduceMax")
    )
    same = add("Equal", bottom, top)
    bottom, top = add("Where", same, darkest, bottom), add("Where", same, brightest, top)
    constant = add("Equal", darkest, brightest)
    scale = add("Where", constant, np.float64(1), add("Sub", top, bottom))
    as_image = _ints(-1, 1, 1, 1)
    return Map(*(add("Reshape", each, as_image) for each in (bottom, scale, constant)))


def _percentile(add: Graph, pixels: str, last: str, percentile: float, *, from_top: bool) -> str:
    """Percentile of each row of (B, N), (B, 1) float64, as `numpy.percentile` interpolates it.

    Parameters
    ----------
    last
        N - 1, the rank of the brightest pixel.
    from_top
        Order the brightest pixels only, else the darkest.
    """
    place = add("Mul", add("Cast", last, to=TensorProto.DOUBLE), np.float64(percentile / 100))
    floor = add("Floor", place)
    rank = add("Cast", floor, to=TensorProto.INT64)
    next_rank = add("Min", add("Add", rank, _ONE), last)
    near, far = rank, next_rank
    if from_top:
        near, far = add("Sub", last, next_rank), add("Sub", last, rank)
    ordered = add("TopK", pixels, add("Add", far, _ONE), axis=1, largest=int(from_top))
    below, above = (
        add("Cast", add("Gather", ordered, each, axis=1), to=TensorProto.DOUBLE)
        for each in ((far, near) if from_top else (near, far))
    )
    step, weight = add("Sub", above, below), add("Sub", place, floor)
    rest = add("Sub", np.float64(1), weight)
    return add(
        "Where",
        add("GreaterOrEqual", weight, np.float64(0.5)),
        add("Sub", above, add("Mul", step, rest)),
        add("Add", below, add("Mul", step, weight)),
    )


def _mirrored(add: Graph, plane: str, length: str, axis: int, multiple: int) -> str:
    """Mirror an axis at its end up to the network's grid, as `pad_plane` does."""
    cells = add("Div", add("Add", length, _ints(multiple - 1)), _ints(multiple))
    stop = add("Squeeze", add("Mul", cells, _ints(multiple)))
    read = add("Range", np.int64(0), stop, np.int64(1))
    period = add("Max", add("Mul", add("Sub", length, _ONE), _ints(2)), _ONE)
    folded = add("Mod", read, period)
    return add("Gather", plane, add("Min", folded, add("Sub", period, folded)), axis=axis)


def _through(
    add: Graph, network: onnx.ModelProto, card: ModelCard, window: str, hint: tuple[str, ...]
) -> str:
    """Add the network, from its window to the output that the card calls the mean."""
    inputs = [each.name for each in network.graph.input]
    mean = network.graph.output[card.outputs.index("mean")].name
    part = add_prefix_graph(Extractor(network).extract_model(inputs, [mean]).graph, "network_")
    planes = add("Concat", *[window] * card.planes, axis=1)  # a plane is its own neighbour
    given = {part.input[0].name: planes}
    if card.hints:
        row = np.array([[float(name in hint) for name in card.hints]], np.float32)
        batch = add("Slice", add("Shape", INPUT), _ints(0), _ints(1))
        given[part.input[1].name] = add("Expand", row, add("Concat", batch, _ints(1), axis=0))
    for node in part.node:
        node.input[:] = [given.get(name, name) for name in node.input]
    add.nodes.extend(part.node)
    add.constants.extend(part.initializer)
    return str(part.output[0].name)
