"""Packages of others: simple ones restore, all others get one line; hostile ones do no harm."""

import copy
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from microscopygan.image.intensity import percentile_map
from microscopygan.restoration.api import restore
from microscopygan.restoration.bioimageio import reading
from microscopygan.restoration.bioimageio.package import export_bioimageio
from microscopygan.restoration.bioimageio.reading import external_data, read_package
from microscopygan.restoration.model import Restorer


def network(batch: object = "b", side: object = "y") -> onnx.ModelProto:
    """A mean over 3 × 3 pixels."""
    kernel = numpy_helper.from_array(np.full((1, 1, 3, 3), 1 / 9, np.float32), "kernel")
    node = helper.make_node("Conv", ["in", "kernel"], ["out"], pads=[1, 1, 1, 1])
    value = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 1, side, "x"])
        for name in ("in", "out")
    ]
    graph = helper.make_graph([node], "mean", value[:1], value[1:], [kernel])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def axes(side: object, **more: object) -> list[dict]:
    sides = [{"type": "space", "id": a, "size": copy.copy(side)} | more for a in "yx"]
    return [{"type": "batch"}, {"type": "channel", "channel_names": ["grey"]}, *sides]


def about() -> dict:
    """A description of the simple kind."""
    kwargs = {"axes": ["channel", "y", "x"], "min_percentile": 2.0, "max_percentile": 99.0}
    out = axes(None, halo=8)
    for axis in out[2:]:
        axis["size"] = {"tensor_id": "raw", "axis_id": axis["id"]}
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": "Mean",
        "license": "CC0-1.0",
        "inputs": [
            {
                "id": "raw",
                "axes": axes({"min": 32, "step": 8}),
                "preprocessing": [
                    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
                    {"id": "scale_range", "kwargs": kwargs},
                ],
            }
        ],
        "outputs": [{"id": "clean", "axes": out}],
        "weights": {"onnx": {"source": "mean.onnx", "opset_version": 17}},
    }


def packed(path: Path, description: object, model: bytes | None = None, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = description if isinstance(description, bytes) else yaml.safe_dump(description)
        archive.writestr("rdf.yaml", text)
        archive.writestr("mean.onnx", network().SerializeToString() if model is None else model)
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_simple_one_restores(tmp_path: Path) -> None:
    path = packed(tmp_path / "mean.zip", about())
    restorer = Restorer(path)
    assert restorer.card.halo == (8, 8)
    assert restorer.card.multiple == 8
    assert (restorer.card.name, restorer.card.licence) == ("Mean", "CC0-1.0")
    plane = np.random.default_rng(0).normal(500, 30, (70, 61)).astype(np.float32)
    to = percentile_map(plane, 2.0, 99.0)
    padded = np.pad(np.pad(to.apply(plane), ((0, 2), (0, 3)), "reflect"), 1)
    mean = sum(padded[i : i + 70, j : j + 61] for i in range(3) for j in range(3)) / 9
    found = restore(plane, model=restorer)
    np.testing.assert_allclose(found, to.undo(mean), rtol=0, atol=1e-5 * np.ptp(plane))
    assert np.array_equal(restorer.restore_plane(plane, tile=32), restorer.restore_plane(plane))


def test_what_it_cannot_take_is_said(tmp_path: Path) -> None:
    path = packed(tmp_path / "mean.zip", about())
    with pytest.raises(ValueError, match="planes of at least 32 pixels a side"):
        restore(np.zeros((60, 31)), model=path)
    with pytest.raises(ValueError, match="takes no hints"):
        Restorer(path, defect="noise")
    with pytest.raises(ValueError, match="a model of MicroscopyGAN"):
        export_bioimageio(path, tmp_path / "again.zip")
    stack = np.zeros((9, 60, 60))
    with pytest.raises(ValueError, match="axial task"):
        restore(stack, model=path, task="axial", axes="ZYX", pixel_size={"Z": 1, "Y": 1, "X": 1})


def test_without_a_halo_whole_planes_are_restored(tmp_path: Path) -> None:
    description = about()
    for axis in description["outputs"][0]["axes"][2:]:
        del axis["halo"]
    assert not Restorer(packed(tmp_path / "mean.zip", description)).card.tileable


def test_a_network_of_one_image_at_a_time(tmp_path: Path) -> None:
    path = packed(tmp_path / "mean.zip", about(), network(batch=1).SerializeToString())
    stack = np.random.default_rng(0).random((5, 40, 48), dtype=np.float32)
    several = packed(tmp_path / "several.zip", about())
    found, expected = (restore(stack, model=each, axes="ZYX") for each in (path, several))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def change(description: dict, where: str, value: object) -> dict:
    """Set what lies at dotted keys."""
    *keys, last = where.split(".")
    inner: object = description
    for key in keys:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]  # type: ignore[index]
    inner[int(last) if isinstance(inner, list) else last] = value  # type: ignore[index]
    return description


@pytest.mark.parametrize(
    ("where", "value", "line"),
    [
        ("type", "dataset", "description of a model, got 'dataset'"),
        ("format_version", "0.4.9", "format 0.5, got 0.4.9"),
        ("inputs", [], "one input and one output, got 0 and 1"),
        ("outputs", [{}, {}], "one input and one output, got 1 and 2"),
        ("weights", {"torchscript": {}}, "one ONNX file, got torchscript"),
        ("weights", None, "one ONNX file, got none"),
        ("weights.onnx", {"source": "mean.onnx", "external_data": {}}, "one ONNX file"),
        ("weights.onnx.source", "https://example.org/mean.onnx", "in the package, which lacks it"),
        ("weights.onnx.source", ["mean.onnx"], "name of an ONNX file"),
        ("weights.onnx.sha256", "0" * 64, "with the hash that the description states"),
        ("inputs.0.axes.1.channel_names", ["r", "g", "b"], "axes batch, one channel, y, x"),
        ("inputs.0.axes", [{"type": "batch"}], "axes batch, one channel, y, x"),
        ("inputs.0.axes.2.size", 256, "a multiple of a step"),
        ("inputs.0.axes.2.size.min", 36, "a multiple of a step"),
        ("inputs.0.axes.3.size.step", 4, "a multiple of a step"),
        ("inputs.0.axes.2.size.step", 0, "a multiple of a step"),
        ("outputs.0.axes.2.size.offset", -4, "an output of the input's size"),
        ("outputs.0.axes.3.scale", 0.5, "an output of the input's size"),
        ("outputs.0.axes.2.size", {"tensor_id": "x", "axis_id": "y"}, "an output of the input's"),
        ("inputs.0.preprocessing", [], "scale_range alone, .* got none"),
        ("inputs.0.preprocessing.1.id", "zero_mean_unit_variance", "got zero_mean_unit_variance"),
        ("inputs.0.preprocessing.1.kwargs.axes", ["channel"], "percentiles of whole planes"),
        ("inputs.0.preprocessing.1.kwargs.max_percentile", 1.5, "percentiles of whole planes"),
        ("inputs.0.preprocessing.1.kwargs.min_percentile", "two", "percentiles of whole planes"),
        ("outputs.0.postprocessing", [{"id": "sigmoid"}], "no postprocessing, got .*sigmoid"),
    ],
)
def test_others_are_refused_in_one_line(tmp_path: Path, where: str, value, line: str) -> None:
    path = packed(tmp_path / "mean.zip", change(about(), where, value))
    with pytest.raises(ValueError, match=line) as caught:
        Restorer(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def places(value: object, above: str = "") -> Iterator[str]:
    """Dotted keys of all that a description holds."""
    items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore
    for key, inner in items:
        yield f"{above}{key}"
        if isinstance(inner, dict | list):
            yield from places(inner, f"{above}{key}.")


@pytest.mark.parametrize("value", [None, 7, -1, 2.5, "text", [], [[]], {}, {"a": [1]}, True])
def test_whatever_a_description_holds_is_read_or_refused(tmp_path: Path, value) -> None:
    for where in places(about()):
        path = packed(tmp_path / "mean.zip", change(about(), where, value))
        with suppress(ValueError):
            read_package(path)


@pytest.mark.parametrize("model", [network(side=64), helper.make_model(helper.make_graph(
    [helper.make_node("Identity", ["in"], ["out"])], "g",
    [helper.make_tensor_value_info("in", TensorProto.UINT8, ["b", 1, "y", "x"])],
    [helper.make_tensor_value_info("out", TensorProto.UINT8, ["b", 1, "y", "x"])]),
    opset_imports=[helper.make_opsetid("", 17)], ir_version=8)])  # fmt: skip
def test_a_network_that_does_not_fit_its_description(tmp_path: Path, model) -> None:
    path = packed(tmp_path / "mean.zip", about(), model.SerializeToString())
    with pytest.raises(ValueError, match="one float32 image of any size"):
        Restorer(path)


@pytest.mark.parametrize(
    "name", ["../out.onnx", "/out.onnx", "a/../../out", "C:\\out", "..\\out", "a\\..\\out"]
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "mean.zip", about(), **{name: b"x"})
    with pytest.raises(ValueError, match="files inside the package"):
        Restorer(path)
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_read_up_to_a_limit(tmp_path: Path, monkeypatch) -> None:
    path = packed(tmp_path / "text.zip", b"a: " + b"x" * 2**21)
    assert path.stat().st_size < 2**16
    with pytest.raises(ValueError, match=r"rdf\.yaml of at most 1 MB"):
        Restorer(path)
    monkeypatch.setattr(reading, "_LARGEST_MODEL", 2**20)
    path = packed(tmp_path / "model.zip", about(), b"\0" * 2**21)
    with pytest.raises(ValueError, match=r"mean\.onnx of at most 1 MB"):
        Restorer(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a: [", "a description in YAML"),
        (b"\xff\xfe\xff", "a description in YAML"),
        (b"!!python/object/apply:os.system ['touch /tmp/never']", "a description in YAML"),
        (b"[" * 20_000, "a description in YAML"),
        (b"- 1", "description of a model, got None"),
        (b"", "description of a model, got None"),
        (b"type: model", "format 0.5, got None"),
        (b"type: model\nconfig: {microscopygan: {model: x.onnx}}", "'x.onnx' in the package"),
    ],
)
def test_damaged_descriptions(tmp_path: Path, text: bytes, line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        Restorer(packed(tmp_path / "mean.zip", text))
    assert "\n" not in str(caught.value)


def test_damaged_zips(tmp_path: Path) -> None:
    whole = packed(tmp_path / "mean.zip", about()).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    for k, content in enumerate((b"", b"no zip", whole[:-40], whole[:60])):
        (tmp_path / f"{k}.zip").write_bytes(content)
        with pytest.raises(ValueError, match="cannot read it"):
            Restorer(tmp_path / f"{k}.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(ValueError, match=r"a zip without rdf\.yaml"):
        Restorer(tmp_path / "empty.zip")
    (tmp_path / "bit.zip").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"bit\.zip: expected"):
        Restorer(tmp_path / "bit.zip")


def outside(tensor: TensorProto) -> TensorProto:
    """The same tensor, whose numbers lie in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    return tensor


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    model = network()
    outside(model.graph.initializer[0])
    path = packed(tmp_path / "mean.zip", about(), model.SerializeToString())
    with pytest.raises(ValueError, match="names other files"):
        Restorer(path)


def test_external_data_are_found_wherever_they_are() -> None:
    assert not external_data(network().SerializeToString())
    assert not external_data(Restorer().path.read_bytes())
    tensor = outside(numpy_helper.from_array(np.ones(3, np.float32), "t"))
    value = helper.make_node("Constant", [], ["c"], value=tensor)
    branch = helper.make_graph([value], "branch", [], [])
    deep = helper.make_node("If", ["c"], ["d"], then_branch=branch, else_branch=branch)
    sparse = helper.make_node("Constant", [], ["s"])
    sparse.attribute.append(onnx.AttributeProto(name="sparse_value"))
    sparse.attribute[0].sparse_tensor.values.CopyFrom(tensor)
    for node in (value, deep, sparse):
        model = network()
        model.graph.node.append(node)
        assert external_data(model.SerializeToString())
    model = network()
    function = helper.make_function("d", "f", [], ["c"], [value], [helper.make_opsetid("", 17)])
    model.functions.append(function)
    assert external_data(model.SerializeToString())


@given(content=st.binary(max_size=200))
def test_any_bytes_are_walked_or_refused(content: bytes) -> None:
    with suppress(ValueError):
        external_data(content)
