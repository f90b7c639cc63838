"""The deployed restorer: tiles, scale, axes, refusals."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microscopygan.gan.export import export_restorer, receptive_field
from microscopygan.gan.networks import build_restorer
from microscopygan.image.formats import Image
from microscopygan.modelfile import KEY, ModelCard
from microscopygan.restoration.restorer import Restorer
from microscopygan.settings import settings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer with random weights."""
    torch.manual_seed(0)
    chosen = settings("default").restorer.model_copy(update={"channels": (4, 6, 8)})
    network = build_restorer(chosen)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    path = tmp_path_factory.mktemp("model") / "restorer.onnx"
    halo = receptive_field(network, 4)
    card = ModelCard(program="0", halo=halo, multiple=4, defects=("noise",))
    assert export_restorer(network, path, card) <= 1e-4
    return path


@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    tile=st.integers(16, 90),
)
def test_tiled_equals_whole(model: Path, height: int, width: int, tile: int) -> None:
    restorer = Restorer(model)
    plane = np.random.default_rng(0).random((height, width), dtype=np.float32)
    whole = restorer.restore_plane(plane, tile=1000)
    np.testing.assert_allclose(restorer.restore_plane(plane, tile=tile), whole, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("shape", "axes"), [((30, 41), "YX"), ((2, 30, 41), "CYX")])
def test_axes_shape_dtype_and_pixel_size_stay(model: Path, dtype, shape, axes) -> None:
    array = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    image = Image(array, axes, {"Y": 0.2, "X": 0.1}, None)
    restored = Restorer(model).restore(image)
    assert (restored.array.shape, restored.axes) == (shape, axes)
    assert restored.array.dtype == dtype
    assert restored.pixel_size == image.pixel_size


def test_output_follows_the_scale_of_the_input(model: Path) -> None:
    array = np.random.default_rng(0).random((40, 40), dtype=np.float32)
    restorer = Restorer(model)
    plain = restorer.restore(Image(array, "YX", {}, None)).array
    scaled = restorer.restore(Image(array * 5000 + 300, "YX", {}, None)).array
    np.testing.assert_allclose(scaled, plain * 5000 + 300, atol=0.5)


def test_a_constant_image_is_restored_finite(model: Path) -> None:
    restored = Restorer(model).restore(Image(np.full((20, 20), 7, np.uint8), "YX", {}, None))
    assert restored.array.shape == (20, 20)


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
    card = ModelCard(program="9", halo=1, multiple=4, defects=("a",), format_version=99)
    onnx.helper.set_model_props(other, {KEY: card.model_dump_json()})
    onnx.save(other, tmp_path / "newer.onnx")
    with pytest.raises(ValueError, match="format 1, got 99"):
        Restorer(tmp_path / "newer.onnx")
    with pytest.raises(ValueError, match="dtype"):
        Restorer(model).restore(Image(np.ones((9, 9), "f4"), "YX", {}, None), dtype="int3")
