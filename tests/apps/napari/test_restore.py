"""The widget *Restore* in a real window: the same as the command, at the same place, stoppable."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

import dask.array
import numpy as np
import pytest

from microscopygan.image.formats import Image, read, write

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of napari and what it needs
    pytest.mark.usefixtures("screen"),
]
SIZES = {"Z": 0.3, "Y": 0.1, "X": 0.1}


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def widget(viewer):
    _, opened = viewer.window.add_plugin_dock_widget("microscopygan", "Restore")
    yield opened
    opened.close()


@pytest.fixture
def restored(widget, viewer, until):
    """Tick layers, restore, and give the layers that were added."""

    def run(*layers):
        widget.tick(*layers)
        before = list(viewer.layers)
        assert widget.restore_button.isEnabled(), widget.message.text()
        widget.restore()
        until(lambda: widget._work is None, must=True)
        assert widget.message.text().startswith("Done.")
        return [layer for layer in viewer.layers if layer not in before]

    return run


def stack(shape=(4, 60, 72), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 999, shape, np.uint16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "shape", "options"),
    [
        ("YX", (70, 90), {}),
        ("ZYX", (4, 60, 72), {"strength": 0.7, "defect": "noise"}),
        ("TCYX", (2, 3, 60, 72), {"channels": "0,2", "dtype": "float32"}),
        ("ZYX", (4, 60, 72), {"task": "axial"}),
    ],
)
def test_a_file_gives_the_bytes_of_the_command_shown(
    viewer, widget, restored, run_command, tmp_path, monkeypatch, axes, shape, options
) -> None:
    """Slow (about 5 s): a window opens; the network runs twice."""
    monkeypatch.chdir(tmp_path)
    sizes = {letter: size for letter, size in SIZES.items() if letter in axes}
    path = write(tmp_path / "in put.ome.tif", Image(stack(shape), axes, sizes))
    (layer,) = viewer.open(str(path), plugin="napari")
    widget.form.set_options(widget.form.options().changed(**options))
    (result,) = restored(layer)
    command = widget.command.toPlainText()
    assert result.metadata["microscopygan"]["command"] == command
    code, _, error = run_command(*shlex.split(command)[1:])
    assert code == 0, error
    written = read(tmp_path / "restored" / path.name)
    assert result.data.dtype == written.array.dtype
    assert result.data.tobytes() == written.array.tobytes()
    widget.save_options(tmp_path / "options.toml")
    words = ["restore", path, "-o", "again.tif", "--settings", "options.toml"]
    assert run_command(*words)[0] == 0
    assert read(tmp_path / "again.tif").array.tobytes() == result.data.tobytes()


@pytest.mark.slow
def test_hot_pixels_are_mended_and_told(viewer, widget, restored) -> None:
    """Slow (about 4 s): a window opens."""
    from microscopygan import restore

    pixels = 500 + stack((200, 200)) // 20
    pixels[::23, ::29] = 60_000
    layer = viewer.add_image(pixels)
    (result,) = restored(layer)
    assert "Hot pixels" in widget.message.text()
    assert "Hot pixels" in result.metadata["microscopygan"]["notes"][0]
    assert np.array_equal(result.data, restore(pixels))
    preview = widget._opened_preview(widget.orders()[0])
    assert np.array_equal(preview.restore(preview.region({})), result.data)


@pytest.mark.slow
def test_what_is_wrong_is_said(viewer, widget, until) -> None:
    """Slow (about 5 s): a window opens; the encoder reads two layers."""
    from microscopygan import diagnose
    from microscopygan.apps.restore_options import in_window

    cut = np.minimum(stack((64, 80)), 600)
    layers = [viewer.add_image(cut, name="one"), viewer.add_image(stack((64, 80)), name="two")]
    widget.tick(*layers)
    assert widget.diagnose_button.isEnabled()
    widget.diagnose()
    assert not widget.restore_button.isEnabled()
    until(lambda: widget._work is None, must=True)
    said = widget.message.text()
    assert said.startswith("2 images of one laboratory")
    assert "saturation: " in said
    listed = in_window(str(diagnose([image.data for image in reversed(layers)])))
    assert said.splitlines()[1:] == listed.splitlines()[1:]
    assert widget.restore_button.isEnabled()
    assert len(viewer.layers) == 2


@pytest.mark.slow
def test_the_result_lies_where_the_input_does(viewer, widget, restored) -> None:
    """Slow (about 4 s): a window opens."""
    layer = viewer.add_image(
        stack(),
        name="nuclei",
        axis_labels=("z", "y", "x"),
        scale=(0.6, 0.2, 0.2),
        translate=(1, 2, 3),
        rotate=20,
        shear=(0.1, 0, 0.2),
        units=("um", "um", "um"),
        contrast_limits=(10, 700),
        colormap="green",
        metadata={"sample": 7},
    )
    (result,) = restored(layer)
    for name in ("scale", "translate", "rotate", "shear"):
        assert np.allclose(getattr(result, name), getattr(layer, name)), name
    for name in ("units", "axis_labels", "contrast_limits"):
        assert tuple(getattr(result, name)) == tuple(getattr(layer, name)), name
    assert (result.name, result.colormap.name) == ("nuclei restored", "green")
    assert result.metadata["sample"] == 7
    about = result.metadata["microscopygan"]
    assert about["model"]["file"] == "generalist.onnx"
    assert about["settings"]["task"] == "plane"
    widget.form.set_options(widget.form.options().changed(task="axial"))
    (isotropic,) = restored(layer)
    assert isotropic.data.shape == (10, 60, 72)
    assert np.allclose(isotropic.scale, 0.2)
    corner = isotropic.data_to_world((9, 59, 71))
    assert np.allclose(corner, layer.data_to_world((3, 59, 71)))
    assert isotropic.units == layer.units


@pytest.mark.slow
def test_several_layers_pyramids_and_lazy_ones(viewer, widget, restored) -> None:
    """Slow (about 4 s): a window opens."""
    pixels = stack((3, 64, 72))
    labels = {"axis_labels": ("t", "y", "x")}
    plain = viewer.add_image(pixels, name="plain", **labels)
    pyramid = viewer.add_image([pixels, pixels[:, ::2, ::2]], name="pyramid", **labels)
    array = dask.array.from_array(pixels, chunks=(1, 64, 72))
    lazy = viewer.add_image(array, name="lazy", contrast_limits=(0, 999), **labels)
    results = {result.name: result for result in restored(plain, pyramid, lazy)}
    assert len(widget.command.toPlainText().splitlines()) == 3
    first = results["plain restored"].data
    assert isinstance(first, np.ndarray)
    assert np.array_equal(results["pyramid restored"].data, first)
    assert isinstance(results["lazy restored"].data, dask.array.Array)
    assert np.array_equal(results["lazy restored"].data.compute(), first)


@pytest.mark.slow
def test_what_cannot_be_restored_is_said_in_a_sentence(viewer, widget) -> None:
    """Slow (about 3 s): a window opens."""
    assert widget.message.text() == "Tick the layers to restore."
    layers = {
        "layer of labels": viewer.add_labels(np.zeros((8, 8), int), name="cells"),
        "colour (RGB)": viewer.add_image(np.zeros((8, 8, 3), np.uint8), rgb=True),
        "what are its 3 dimensions": viewer.add_image(stack((5, 60, 72))),
    }
    for said, layer in layers.items():
        widget.tick(layer)
        assert said in widget.message.text()
        assert not widget.restore_button.isEnabled()
        assert widget.command.toPlainText() == ""
    axes = widget.form._fields["axes"]
    axes.setText("tyx")
    assert widget.restore_button.isEnabled()
    assert "--axes TYX" in widget.command.toPlainText()
    axes.setText("qyx")
    assert "TCZYX" in widget.message.text()


@pytest.mark.slow
def test_a_preview_is_the_plane_of_the_result(viewer, widget, restored, until) -> None:
    """Slow (about 4 s): a window opens."""
    from microscopygan.apps.napari.restore import PREVIEW

    place = {"scale": (2, 0.5, 0.5), "translate": (4, 5, 6), "rotate": 30}
    layer = viewer.add_image(stack(), axis_labels=("z", "y", "x"), **place)
    widget.tick(layer)
    viewer.dims.set_current_step(0, 2)
    widget._preview_box.setChecked(True)
    until(lambda: PREVIEW in viewer.layers, must=True)
    first = viewer.layers[PREVIEW]
    shown = round(layer.world_to_data(viewer.dims.point)[0])
    pixels, corner = first.data, first.data_to_world((0, 0, 0))
    assert np.allclose(corner, layer.data_to_world((shown, 0, 0)))
    widget.form._fields["strength"].setValue(0.3)
    until(lambda: PREVIEW in viewer.layers and viewer.layers[PREVIEW] is not first, must=True)
    assert not np.array_equal(viewer.layers[PREVIEW].data, pixels)
    widget.form._fields["strength"].setValue(1.0)
    (result,) = restored(layer)
    assert PREVIEW not in viewer.layers
    assert np.array_equal(result.data[shown : shown + 1], pixels)


@pytest.mark.slow
def test_stopping_adds_nothing(viewer, widget, until) -> None:
    """Slow (about 5 s): a window opens; restoring is stopped on its way."""
    widget.tick(viewer.add_image(stack((20, 512, 512)), axis_labels=("z", "y", "x")))
    widget.restore()
    until(lambda: widget._bar.value() > 50, must=True)
    assert 0 < widget._bar.value() < 1000
    widget.stop()
    until(lambda: widget._work is None, must=True)
    assert "Stopped" in widget.message.text()
    assert len(viewer.layers) == 1
    assert widget.restore_button.isEnabled()


@pytest.mark.slow
def test_stopping_waits_for_less_than_a_megapixel(viewer, widget, until, monkeypatch) -> None:
    """Slow (about 5 s): a window opens; the network does nothing."""
    from microscopygan.restoration.model import Restorer

    sizes = []

    def run_windows(restorer, windows, report=None):
        sizes.append(windows.size)
        report(windows.size)
        return windows

    monkeypatch.setattr(Restorer, "run_windows", run_windows)
    widget.tick(viewer.add_image(stack((2200, 2200))))
    widget.restore()
    until(lambda: widget._work is None, must=True)
    assert max(sizes) < 1_000_000
    preview = widget._opened_preview(widget.orders()[0])
    assert preview.task.network_pixels(preview.region({"Y": 1100, "X": 1100})) < 1.3e6


@pytest.mark.slow
def test_a_closed_window_does_nothing_more(viewer, widget) -> None:
    """Slow (about 3 s): a window opens."""
    widget.close()
    widget._list.clear()
    viewer.add_image(stack((8, 8)))
    assert widget._list.count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_saving_keeps_axes_pixel_size_and_provenance(viewer, restored, tmp_path, suffix) -> None:
    """Slow (about 3 s): a window opens."""
    array = dask.array.from_array(stack(), chunks=(1, 60, 72))
    about = {"axis_labels": ("z", "y", "x"), "scale": (300, 100, 100), "units": ("nm",) * 3}
    (result,) = restored(viewer.add_image(array, name="lazy", contrast_limits=(0, 999), **about))
    path = str(tmp_path / f"saved{suffix}")
    assert result.save(path, plugin="microscopygan") == [path]
    saved = read(path)
    assert (saved.axes, saved.pixel_size) == ("ZYX", pytest.approx(SIZES))
    assert np.array_equal(saved.array, result.data.compute())
    settings = saved.provenance["restoration"]["settings"]
    assert settings["model"] == "generalist"


@pytest.mark.slow
def test_what_goes_wrong_is_one_line(viewer, widget, until, tmp_path: Path) -> None:
    """Slow (about 3 s): a window opens."""
    widget.tick(viewer.add_image(stack((40, 40))))
    widget.form._fields["memory"].setText("1MB")
    widget.restore()
    until(lambda: widget._work is None, must=True)
    assert "of memory, got 1 MB" in widget.message.text()
    assert len(viewer.layers) == 1
    widget.choose_model(str(tmp_path / "none.onnx"))
    until(lambda: "no such model" in widget.message.text(), 20, must=True)
    assert "\n" not in widget.message.text()


@pytest.mark.slow
def test_hints_are_those_of_the_model(viewer, widget, until, tmp_path: Path) -> None:
    """Slow (about 3 s): a window opens; a model without hints is written."""
    onnx = pytest.importorskip("onnx")
    from microscopygan.model_card import KEY, ModelCard
    from microscopygan.restoration.models import MODELS

    model = onnx.load(MODELS["generalist"].path)
    (entry,) = [one for one in model.metadata_props if one.key == KEY]
    card = ModelCard.from_json(entry.value, "a")
    others = card.hints[::-1]
    changes = {"hints": others, "sha256": None}
    entry.value = card.model_copy(update=changes).model_dump_json()
    onnx.save(model, tmp_path / "two.onnx")
    widget.choose_model(str(tmp_path / "two.onnx"))
    until(lambda: list(widget.form._boxes) == list(others), must=True)
    assert str(tmp_path / "two.onnx") == widget.form.options().model


@pytest.mark.slow
def test_the_widget_opens_within_a_second(viewer) -> None:
    """Slow (about 3 s): a window opens."""
    begun = time.process_time()
    viewer.window.add_plugin_dock_widget("microscopygan", "Restore")
    assert time.process_time() - begun < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["restore", "adapt", "samples"])
def test_importing_the_plug_in_loads_no_network(name: str) -> None:
    """Slow (about 2 s): a process imports napari's windows."""
    loaded = in_a_process(
        f"import sys, microscopygan.apps.napari.{name}\n"
        "print([m for m in ('torch', 'onnxruntime') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


@pytest.mark.slow
def test_the_filter_menu_and_the_samples(viewer, until) -> None:
    """Slow (about 4 s): a window opens; samples are made."""
    from napari._app_model import get_app_model

    for key, layers in (("noisy", 2), ("blurred", 2), ("stack", 1)):
        assert len(viewer.open_sample("microscopygan", key)) == layers
    stacked = viewer.layers[-1]
    assert stacked.scale[0] == pytest.approx(4 * stacked.scale[1])
    entries = get_app_model().menus.get_menu("napari/layers/filter")
    assert any(entry.command.id == "microscopygan.restore" for entry in entries)
    get_app_model().commands.execute_command("microscopygan.restore").result()
    assert "Restore (MicroscopyGAN)" in viewer.window.dock_widgets
