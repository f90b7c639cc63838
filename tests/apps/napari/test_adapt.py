"""The widget *Adapt to my images* in a real window."""

import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from microscopygan.apps.napari.training_set import Source
from microscopygan.defects.noise import Noise
from microscopygan.defects.specimens import nuclei
from microscopygan.image.formats import Image, write

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of napari and what it needs
    pytest.mark.usefixtures("screen"),
    pytest.mark.slow,
]


@pytest.fixture
def widget(viewer):
    _, opened = viewer.window.add_plugin_dock_widget("microscopygan", "Adapt to my images")
    yield opened
    opened.close()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    for k in range(4):
        clean = nuclei((96, 96), rng)
        for name, plane in (("clean", clean), ("noisy", Noise(photons=12).apply(clean, rng))):
            counts = np.clip(plane * 20_000 + 1_000, 0, 65535).astype(np.uint16)
            (tmp_path / name).mkdir(exist_ok=True)
            write(tmp_path / name / f"{k}.tif", Image(counts, "YX"))
    return tmp_path / "noisy", tmp_path / "clean"


def test_without_torch_it_says_what_to_install(widget, monkeypatch) -> None:
    """Slow (about 4 s): a window opens."""
    import microscopygan.apps.extras as extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "torch" else name)
    widget._update()
    assert "PyTorch" in widget.message.text()
    assert "pip install 'microscopygan[train]'" in widget.message.text()
    assert not widget.start_button.isEnabled()


def test_the_command_follows_the_choices(widget, folders, tmp_path) -> None:
    """Slow (about 4 s): a window opens."""
    widget.run_folder.setText(str(tmp_path / "run"))
    widget.minutes.setValue(2.5)
    shown = widget.command.toPlainText()
    images = tmp_path / "run_images"
    assert shown == f"microscopygan train {images} -o {tmp_path / 'run'} --minutes 2.5"
    assert not widget.start_button.isEnabled()
    widget.sources["defective"].choose(Source(folders[0]))
    assert widget.start_button.isEnabled() == bool(find_spec("torch"))
    widget.defect.setCurrentText("stripes")
    if find_spec("torch"):
        assert "good images as well" in widget.message.text()


@pytest.fixture
def adapting(widget, folders, tmp_path):
    for package in ("torch", "accelerate", "onnxscript"):
        pytest.importorskip(package)
    widget.run_folder.setText(str(tmp_path / "run"))
    widget.minutes.setValue(0.3)
    widget.sources["defective"].choose(Source(folders[0]))
    widget.sources["clean"].choose(Source(folders[1]))
    widget.start()
    return widget


def test_the_new_model_is_chosen_in_restore(adapting, viewer, until, tmp_path) -> None:
    """Slow (about 40 s): a training of a third of a minute in a process of its own."""
    seen = []
    longest, last = 0.0, time.perf_counter()

    def done() -> bool:
        nonlocal longest, last
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
        seen.append(len(adapting._curve.points))
        return adapting._process is None

    until(done, 400, must=True)
    model = tmp_path / "run" / "restorer.onnx"
    assert model.exists(), adapting.message.text()
    assert "chosen in Restore" in adapting.message.text()
    assert len(set(seen)) >= 2, "the curve grows while the training runs"
    assert longest < 5.0, "the window responds"
    _, restore = viewer.window.add_plugin_dock_widget("microscopygan", "Restore")
    assert restore.form.options().model == str(model)
    restore.tick(viewer.add_image(np.random.default_rng(0).integers(0, 99, (64, 64), np.uint8)))
    restore.restore()
    until(lambda: restore._work is None, must=True)
    assert viewer.layers[-1].metadata["microscopygan"]["model"]["file"] == "restorer.onnx"


def test_what_the_files_of_a_run_say(widget, tmp_path) -> None:
    """Slow (about 4 s): a window opens."""
    from microscopygan.apps.napari.adapt import progress_of

    run = tmp_path / "run"
    assert progress_of(run) == (0.0, "Starting …", [])
    (run / "restorer").mkdir(parents=True)
    (run / "settings.json").write_text("{}")
    assert progress_of(run) == (0.0, "Measuring the defect …", [])
    (run / "steps.json").write_text('{"restorer": 40}')
    (run / "restorer" / "judged.csv").write_text("step,noise,haze\n0,3.0,1.0\n10,4.0,2.0\n")
    share, said, points = progress_of(run)
    assert (share, points) == (0.25, [(0.0, 2.0), (10.0, 3.0)])
    assert said == "Adapting: step 10 of 40; +3.00 dB on validation images"
    widget._curve.show_points(points)
    assert not widget._curve.grab().isNull()


def test_it_can_be_stopped_and_gone_on_with(adapting, until, tmp_path) -> None:
    """Slow (about 20 s): PyTorch is loaded twice."""
    run = tmp_path / "run"
    until((run / "settings.json").exists, 120, must=True)
    adapting.stop()
    assert until(lambda: adapting._process is None, 10, must=True) < 5
    assert "Stopped" in adapting.message.text()
    assert adapting.start_button.text() == "Go on"
    assert adapting.command.toPlainText().endswith("--resume")
    adapting.start()
    until(lambda: adapting._process is None, 3)
    assert adapting._process is not None, adapting.message.text()
    adapting.stop()
    until(lambda: adapting._process is None, 10, must=True)


def test_a_run_folder_with_something_else_is_left_alone(widget, folders, until) -> None:
    """Slow (about 4 s): a window opens."""
    widget.sources["defective"].choose(Source(folders[0]))
    widget.run_folder.setText(str(folders[1]))
    widget.start()
    assert "holds something already" in widget.message.text()
    assert len(list(folders[1].iterdir())) == 4
