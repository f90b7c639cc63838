"""The graph does what `restore` does around the network: maps, mirroring, cropping, hints."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.image.intensity import AffineMap, percentile_map
from microscopygan.model_card import KEY, ModelCard
from microscopygan.restoration.api import restore
from microscopygan.restoration.bioimageio.graph import NEWEST_OPSET, restoring_model
from microscopygan.restoration.model import Restorer


def session_of(restorer: Restorer, scale: AffineMap | None = None) -> onnxruntime.InferenceSession:
    network = onnx.load_from_string(restorer.content())
    model = restoring_model(network, restorer.card, restorer.hint, restorer.strength, scale)
    return onnxruntime.InferenceSession(model.SerializeToString())


def run(session: onnxruntime.InferenceSession, *planes: np.ndarray) -> np.ndarray:
    return session.run(None, {"image": np.stack(planes)[:, None].astype(np.float32)})[0][:, 0]


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * max(np.ptp(expected), 1e-12)


@pytest.fixture(scope="module")
def session(restorer: Restorer) -> onnxruntime.InferenceSession:
    return session_of(restorer)


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["counts", "far offset", "float", "few bright", "constant"]),
)
@settings(deadline=None, max_examples=60)
def test_any_image_is_restored_as_by_restore(
    restorer, session, height: int, width: int, seed: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    shape = (height, width)
    plane = {
        "counts": lambda: rng.poisson(3, shape).astype(np.uint8),
        "far offset": lambda: (rng.poisson(90, shape) + 60_000).astype(np.uint16),
        "float": lambda: rng.normal(1e4, 1e-1, shape).astype(np.float32),
        "few bright": lambda: (rng.random(shape) > 0.9995).astype(np.uint16) * 500,
        "constant": lambda: np.full(shape, 7, np.uint16),
    }[kind]()
    expected = percentile_map(plane)
    if np.ptp(plane) == 0:
        assert np.array_equal(run(session, plane)[0], plane)
    else:
        wanted = expected.undo(restorer.restore_plane(expected.apply(plane)))
        assert_same(run(session, plane)[0], wanted)


@pytest.mark.parametrize("defect", [(), "noise", ("axial", "haze")])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_hint_and_strength_are_part_of_it(defect, strength: float) -> None:
    restorer = Restorer(defect=defect, strength=strength)
    plane = np.random.default_rng(0).poisson(20, (61, 75)).astype(np.uint16)
    expected = restore(plane, model=restorer, dtype="float32", hot_pixels="keep")
    assert_same(run(session_of(restorer), plane)[0], expected)


def test_each_image_of_a_batch_has_its_own_map(session) -> None:
    rng = np.random.default_rng(0)
    planes = [rng.random((45, 33)) * gain + offset for gain, offset in ((1, 0), (90, 7), (0, 5))]
    alone = np.concatenate([run(session, plane) for plane in planes])
    for found, expected in zip(run(session, *planes), alone, strict=True):
        assert_same(found, expected)
    assert np.array_equal(alone[2], np.full((45, 33), 5, np.float32))


def test_one_map_for_all_does_not_look_at_the_image(restorer) -> None:
    scale = AffineMap(100.0, 3900.0)
    session = session_of(restorer, scale)
    plane = np.random.default_rng(0).random((90, 70)) * 3000
    expected = scale.undo(restorer.restore_plane(scale.apply(plane)))
    assert_same(run(session, plane)[0], expected)
    reach = -(-max(restorer.card.halo) // 4) * 4  # of a tile's border, on the network's grid
    tile = run(session, plane[:, :68])[0]
    assert_same(tile[:, : 68 - reach], expected[:, : 68 - reach])


def test_a_network_with_statistics_of_the_plane(whole_model) -> None:
    restorer = Restorer(whole_model, threads=1)
    assert not restorer.card.tileable
    plane = np.random.default_rng(0).random((50, 43), dtype=np.float32)
    expected = restore(plane, model=restorer, hot_pixels="keep")
    assert_same(run(session_of(restorer), plane)[0], expected)


def test_the_mean_alone_is_taken_of_several_outputs(restorer) -> None:
    wide = onnx.load_from_string(restorer.content())
    doubled = onnx.helper.make_node("Add", ["mean", "mean"], ["upper"])
    wide.graph.node.append(doubled)
    output = onnx.ValueInfoProto()
    output.CopyFrom(wide.graph.output[0])
    output.name = "upper"
    wide.graph.output.insert(0, output)
    card = restorer.card.model_copy(update={"outputs": ("upper", "mean")})
    model = restoring_model(wide, card)
    assert [each.name for each in model.graph.output] == ["restored"]
    assert (
        sum(
            node.op_type == "Add" and set(node.input) == {"network_mean"}
            for node in model.graph.node
        )
        == 0
    )


def test_a_plane_is_its_own_neighbour(tmp_path) -> None:
    weights = np.random.default_rng(3).random((1, 3, 5, 5), np.float32) / 40
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", planes, "y", "x"])
        for name, planes in (("image", 3), ("mean", 1))
    ]
    node = onnx.helper.make_node("Conv", ["image", "weights"], ["mean"], pads=[2] * 4)
    kept = [onnx.numpy_helper.from_array(weights, "weights")]
    opset = [onnx.helper.make_opsetid("", 17)]
    graph = onnx.helper.make_graph([node], "planes", values[:1], values[1:], kept)
    network = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    card = ModelCard(program="0", planes=3, halo=(2, 2), multiple=4, defects=("noise",))
    onnx.helper.set_model_props(network, {KEY: card.model_dump_json()})
    onnx.save(network, tmp_path / "planes.onnx")
    restorer = Restorer(tmp_path / "planes.onnx", strength=0.7)
    plane = np.random.default_rng(0).random((41, 30), dtype=np.float32)
    expected = restore(plane, model=restorer, hot_pixels="keep")
    assert_same(run(session_of(restorer), plane)[0], expected)


def test_the_opset_is_one_that_others_take(restorer) -> None:
    network = onnx.load_from_string(restorer.content())
    card: ModelCard = restorer.card
    opsets = restoring_model(network, card).opset_import
    assert [(each.domain, each.version <= NEWEST_OPSET) for each in opsets] == [("", True)]
    network.opset_import[0].version = NEWEST_OPSET + 1
    with pytest.raises(ValueError, match="opset 18 or lower, got 19"):
        restoring_model(network, card)
