"""The session: tiles, receptive field, threads, devices, processes, refusals."""

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from microscopygan.image.formats import Image, write
from microscopygan.model_card import KEY, ModelCard
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import MODELS


def plane_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width), dtype=np.float32)


@given(height=st.integers(1, 150), width=st.integers(1, 150), tile=st.integers(16, 90))
@settings(deadline=None, max_examples=30)
def test_tiled_equals_whole(restorer: Restorer, height: int, width: int, tile: int) -> None:
    plane = plane_of(height, width)
    whole = restorer.restore_plane(plane, tile=1000)
    tiled = restorer.restore_plane(plane, tile=tile)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))


@given(y=st.integers(0, 119), x=st.integers(0, 139), tile=st.integers(20, 150))
@settings(deadline=None, max_examples=15)
def test_a_pixel_reaches_no_further_than_the_halo(
    restorer: Restorer, y: int, x: int, tile: int
) -> None:
    plane = plane_of(120, 140)
    before = restorer.restore_plane(plane, tile=tile)
    plane[y, x] += 5
    rows, columns = np.nonzero(restorer.restore_plane(plane, tile=tile) != before)
    assert len(rows)
    assert np.abs(rows - y).max() <= restorer.card.halo[0]
    assert np.abs(columns - x).max() <= restorer.card.halo[1]


def test_the_bytes_do_not_depend_on_threads_batch_or_process(model: Path) -> None:
    windows = np.random.default_rng(0).random((5, 1, 64, 100), dtype=np.float32)
    restorer = Restorer(model, threads=1)
    expected = restorer.run_windows(windows)
    for other in (Restorer(model, threads=3), pickle.loads(pickle.dumps(restorer))):
        assert np.array_equal(other.run_windows(windows), expected)
    alone = np.concatenate([restorer.run_windows(windows[i : i + 1]) for i in range(5)])
    assert np.array_equal(alone, expected)


def test_one_session_serves_many_threads(model: Path) -> None:
    restorer = Restorer(model)
    planes = [plane_of(40 + 3 * k, 80) * k for k in range(12)]
    expected = [restorer.restore_plane(plane) for plane in planes]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(restorer.restore_plane, planes))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_windows_go_in_groups_of_limited_area(model: Path, monkeypatch) -> None:
    restorer, areas = Restorer(model), []
    run = restorer._session.run

    class Session:
        def run(self, names, feed, options):
            areas.append(feed["image"].size)
            return run(names, feed, options)

    monkeypatch.setattr(restorer, "_session", Session())
    restorer.run_windows(np.zeros((40, 1, 128, 128), np.float32))
    assert sum(areas) == 40 * 128 * 128
    assert max(areas) <= 512 * 512
    hungry = restorer.card.model_copy(update={"bytes_per_pixel": 2800})
    monkeypatch.setattr(restorer, "card", hungry)
    areas.clear()
    restorer.run_windows(np.zeros((40, 1, 64, 64), np.float32))
    assert sum(areas) == 40 * 64 * 64
    assert max(areas) <= 512 * 512 / 10


def test_a_device_that_is_not_there(model: Path) -> None:
    assert Restorer(model, device="cpu").device == "cpu"
    with pytest.raises(ValueError, match=r"expected one of auto, .*cpu .*, got 'abacus'"):
        Restorer(model, device="abacus")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ValueError, match="got 'cuda'; install"):
            Restorer(model, device="cuda")


def test_auto_falls_back_where_a_provider_does_not_start(model: Path, monkeypatch) -> None:
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, chosen: real(path, options)
    )
    assert Restorer(model).device == "cpu"
    with pytest.raises(ValueError, match="expected cuda to start"):
        Restorer(model, device="cuda")


def test_failed_allocations_are_memory_errors(model: Path, monkeypatch) -> None:
    restorer = Restorer(model)

    class Session:
        def run(self, names, feed, options):
            raise RuntimeError("Failed to allocate memory for requested buffer of size 536870912")

    monkeypatch.setattr(restorer, "_session", Session())
    with pytest.raises(MemoryError):
        restorer.run_windows(np.zeros((1, 1, 8, 8), np.float32))


def test_refusals(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model"):
        Restorer(tmp_path / "absent.onnx")
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:500])
    with pytest.raises(ValueError, match="expected an ONNX model"):
        Restorer(tmp_path / "cut.onnx")
    other = onnx.load(model)
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="another ONNX model"):
        Restorer(tmp_path / "other.onnx")
    onnx.helper.set_model_props(other, {KEY: '{"format_version": 99, "depth": 3}'})
    onnx.save(other, tmp_path / "newer.onnx")
    with pytest.raises(ValueError, match="format 1 or 2, got 99"):
        Restorer(tmp_path / "newer.onnx")


@pytest.mark.parametrize("outputs", [("lower",), ("lower", "mean")])
def test_a_card_that_does_not_fit_its_file_is_refused(
    restorer: Restorer, tmp_path: Path, outputs: tuple[str, ...]
) -> None:
    other = onnx.load(restorer.path)
    stated = restorer.card.model_copy(update={"outputs": outputs})
    onnx.helper.set_model_props(other, {KEY: stated.model_dump_json()})
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=rf"other\.onnx: .*got image and 1 for {outputs[0]}"):
        Restorer(tmp_path / "other.onnx")


def test_the_generalist_is_the_default_and_takes_hints() -> None:
    plane = plane_of(60, 72)
    blind, noise = Restorer(), Restorer(defect="noise")
    both = Restorer(defect=("noise", "lowres", "noise"))
    assert blind.card.hints
    assert both.hint == ("noise", "lowres")
    results = [r.restore_plane(plane) for r in (blind, noise, both)]
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[1], results[2])
    assert len({str(r.identity) for r in (blind, noise, both)}) == 3
    again = pickle.loads(pickle.dumps(both))
    assert np.array_equal(again.restore_plane(plane), results[2])


@pytest.mark.parametrize("hint", ["haze,noise", "haze + noise", ["haze", "noise"], ["haze,noise"]])
def test_hints_are_given_as_on_the_command_line(hint: str | list[str]) -> None:
    assert Restorer(defect=hint).hint == ("haze", "noise")
    assert Restorer(defect=" auto").finds_hint
    with pytest.raises(ValueError, match=r"expected some of .*got ''"):
        Restorer(defect="haze,")


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_blends_input_and_result(model: Path, strength: float) -> None:
    plane = plane_of(60, 72)
    whole = Restorer(model).restore_plane(plane)
    blended = Restorer(model, strength=strength)
    assert blended.identity["strength"] == strength
    found = pickle.loads(pickle.dumps(blended)).restore_plane(plane)
    np.testing.assert_allclose(found, plane + strength * (whole - plane), atol=1e-6)


def test_the_folder_of_a_run_is_its_restorer(tmp_path: Path, model: Path) -> None:
    shutil.copy(model, tmp_path / "restorer.onnx")
    assert Restorer(tmp_path).path == tmp_path / "restorer.onnx"
    (tmp_path / "restorer").mkdir()
    with pytest.raises(FileNotFoundError, match="no such model"):
        Restorer(tmp_path / "restorer")


@pytest.mark.parametrize(
    ("name", "beside", "said"),
    [
        ("restorer/state.safetensors", "restorer.onnx", r"weights .*; give \S+restorer\.onnx$"),
        ("mine.safetensors", "mine.onnx", r"weights \(\.safetensors\), .*; give \S+mine\.onnx$"),
        ("mine.PTH", None, r"weights \(\.pth\), .*; give a run's folder, or its restorer\.onnx$"),
        ("text.onnx", None, r"an ONNX model, cannot load it .*; give a run's folder"),
    ],
)
def test_what_is_no_restorer_names_what_is(tmp_path, name, beside, said) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"no graph")
    if beside:
        (tmp_path / beside).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"^\S+: expected .*{said}") as caught:
        Restorer(file)
    assert "\n" not in str(caught.value)


def test_hints_and_strengths_that_do_not_fit(model: Path) -> None:
    with pytest.raises(ValueError, match=r"expected some of .*noise, .*, got 'scratches'"):
        Restorer(defect=("noise", "scratches"))
    with pytest.raises(ValueError, match=r"takes no hints, got 'noise'"):
        Restorer(model, defect="noise")
    with pytest.raises(ValueError, match="0 \\(the input\\) to 1"):
        Restorer(model, strength=1.5)


def network(
    path: Path,
    nodes: list[onnx.NodeProto],
    *,
    image: tuple[object, ...] = ("n", 1, "y", "x"),
    kind: int = TensorProto.FLOAT,
    hint: tuple[object, ...] | None = None,
    hints: tuple[str, ...] = (),
    constants: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a model of a few operations from "image" to "mean", with a card that fits."""
    tensor = onnx.helper.make_tensor_value_info
    inputs = [tensor("image", kind, image)]
    inputs += [tensor("hint", TensorProto.FLOAT, hint)] if hint else []
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        inputs,
        [tensor("mean", kind, None)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    card = ModelCard(program="0", halo=(0, 0), multiple=1, defects=("noise",), hints=hints)
    onnx.helper.set_model_props(model, {KEY: card.model_dump_json()})
    path.write_bytes(model.SerializeToString())
    return path


def node(operation: str, inputs: str, outputs: str = "mean", **attributes: object):
    return onnx.helper.make_node(operation, inputs.split(), outputs.split(), **attributes)


COPY = [node("Identity", "image")]
CUT = {"begin": np.int64([2]), "end": np.int64([10**6]), "axis": np.int64([3])}


@pytest.mark.parametrize(
    "shape",
    [
        {"image": ("n", "y", "x")},
        {"image": ("n", 3, "y", "x")},
        {"image": ("n", "c", "y", "x")},
        {"image": ("n", 1, 64, 64)},
        {"image": (1, 1, "y", "x")},
        {"kind": TensorProto.DOUBLE},
        {"hint": ("n", 4), "hints": ("noise",)},
        {"hint": ("n", 1)},
    ],
    ids=str,
)
def test_a_network_of_another_shape_is_refused_when_it_is_opened(tmp_path, shape) -> None:
    with pytest.raises(ValueError, match=r"m\.onnx: expected .*; export it again") as caught:
        Restorer(network(tmp_path / "m.onnx", COPY, **shape))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Slice", "image begin end axis")], CUT, r"float32 of \(2, 1, 6, 8\), got"),
        ([node("Transpose", "image", perm=[0, 1, 3, 2])], {}, r"got float32 of \(2, 1, 8, 6\)"),
        ([node("Concat", "image image", axis=1)], {}, r"got float32 of \(2, 2, 6, 8\)"),
        ([node("Concat", "image image", axis=0)], {}, r"got float32 of \(4, 1, 6, 8\)"),
        ([node("ReduceMean", "image", keepdims=1)], {}, r"got float32 of \(1, 1, 1, 1\)"),
        ([node("Log", "image")], {}, "finite pixels of the network, got NaN"),
        ([node("Div", "image zero")], {"zero": np.float32([0])}, "finite pixels of the network"),
        (
            [node("Reshape", "image size")],
            {"size": np.int64([1, 1, 7, 5])},
            "run, got an error",
        ),
    ],
)
def test_what_a_network_gives_is_checked(tmp_path, nodes, constants, message) -> None:
    restorer = Restorer(network(tmp_path / "m.onnx", nodes, constants=constants))
    windows = np.random.default_rng(0).random((2, 1, 6, 8), np.float32) - 0.5
    with pytest.raises(ValueError, match=rf"^m\.onnx: expected .*{message}") as caught:
        restorer.run_windows(windows)
    assert "\n" not in str(caught.value)


def endless() -> list[onnx.NodeProto]:
    """A loop that goes on for ever."""
    tensor = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [
            node("Identity", "on", "still"),
            node("Identity", "before", "after"),
        ],
        "body",
        [
            tensor("turn", TensorProto.INT64, ()),
            tensor("on", TensorProto.BOOL, ()),
            tensor("before", TensorProto.FLOAT, None),
        ],
        [tensor("still", TensorProto.BOOL, ()), tensor("after", TensorProto.FLOAT, None)],
    )
    return [node("Loop", "times yes image", body=body)]


def test_a_network_that_never_ends_is_ended(tmp_path, run_command) -> None:
    constants = {"times": np.int64(2**62), "yes": np.bool_(True)}
    path = network(tmp_path / "m.onnx", endless(), constants=constants)
    with pytest.raises(TimeoutError, match=r"within 0\.1 s, the network goes on"):
        Restorer(path, timeout=0.01).run_windows(np.zeros((1, 1, 8, 8), np.float32))
    write(tmp_path / "a.tif", Image(plane_of(40, 50), "YX"))
    command = ["restore", tmp_path / "a.tif", "-o", tmp_path / "b.tif", "--model", path]
    code, _, err = run_command(*command, "--timeout", "0.01")
    assert code == 2
    assert "give a longer --timeout" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "m.onnx"]


def test_a_model_whose_bytes_have_changed_is_refused(model: Path, tmp_path: Path) -> None:
    content = bytearray(model.read_bytes())
    assert Restorer(model).card.sha256
    places = [content.find(onnx.load(model).graph.initializer[k].raw_data) for k in (0, 2, 5)]
    for place in places:
        for bit in (0, 5, 30):
            damaged = bytearray(content)
            damaged[place + bit // 8] ^= 1 << bit % 8
            (tmp_path / "m.onnx").write_bytes(damaged)
            with pytest.raises(ValueError, match=r"m\.onnx: expected .*bytes have changed"):
                Restorer(tmp_path / "m.onnx")
    stated = Restorer(model).card.sha256.encode()
    other = bytes(content).replace(stated, b"1" * 64)
    (tmp_path / "m.onnx").write_bytes(other)
    with pytest.raises(ValueError, match="bytes have changed"):
        Restorer(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_ships_is_checked(name: str, tmp_path: Path, monkeypatch) -> None:
    row = MODELS[name]
    damaged = bytearray(row.path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    (tmp_path / "m.onnx").write_bytes(damaged)
    monkeypatch.setitem(MODELS, name, replace(row, path=tmp_path / "m.onnx"))
    with pytest.raises(ValueError, match=rf"{name}: .*bytes have changed"):
        Restorer(name)
