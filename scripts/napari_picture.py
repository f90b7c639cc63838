"""Make the picture of docs/napari.md: a sample restored in napari's window.

Needs napari with Qt and a screen; without one: xvfb-run -s "-screen 0 1600x1000x24" python ...
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Let the window work until a condition holds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def main() -> None:
    """Open, restore, photograph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/napari.png"))
    output = parser.parse_args().output
    viewer = napari.Viewer(show=True)
    window = viewer.window._qt_window
    window.resize(1400, 880)
    noisy = viewer.open_sample("microscopygan", "noisy")[1]
    _, widget = viewer.window.add_plugin_dock_widget("microscopygan", "Restore")
    widget.tick(noisy)
    widget.form.set_options(widget.form.options().changed(defect="noise"))
    widget.restore()
    wait(lambda: widget._work is None)
    viewer.layers.remove(viewer.layers[0])
    for layer in viewer.layers:
        layer.contrast_limits = (0, 45_000)
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.stride = 1
    viewer.reset_view()
    wait(lambda: False, 1.5)
    window.grab().save(str(output))


if __name__ == "__main__":
    main()
