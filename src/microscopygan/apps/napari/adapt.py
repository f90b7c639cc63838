"""The widget *Adapt to my images*: a training in a process of its own, watched while it runs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QProcess, QProcessEnvironment, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...settings import COMMON
from ..batch import one_line
from ..extras import need
from .layers import refusal
from .training_set import ROLES, Source, check_sources, write_training_set

if TYPE_CHECKING:
    import napari

_TITLES = {
    "defective": "Bad images",
    "clean": "Good images",
    "input": "Pairs: bad",
    "target": "Pairs: good",
}
_EXPLAINED = {
    "defective": "Images with the defect; no good image of the same place is needed",
    "clean": "Good images of anything similar",
    "input": "Bad images of which there are good ones of the same place",
    "target": "The good ones: files of the same names, or layers in the same order",
}
_BLUE = "#4f8cff"  # of the curve, seen on dark and on light
_LOOK = 1000  # milliseconds between two looks into the run folder
_PATIENCE = 3000  # milliseconds that a stopped training has to end by itself


class SourceButton(QPushButton):
    """Chooses a folder or layers; `changed` is emitted when that is done."""

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, role: str) -> None:
        super().__init__()
        self.viewer, self.source = viewer, Source()
        self.setToolTip(_EXPLAINED[role])
        menu = QMenu(self)
        menu.aboutToShow.connect(self._offer)
        self.setMenu(menu)
        self.choose(Source())

    def _offer(self) -> None:
        menu = self.menu()
        menu.clear()
        menu.addAction("Folder…").triggered.connect(self._ask)
        menu.addAction("Selected layers").triggered.connect(self._take_selection)
        menu.addAction("None").triggered.connect(lambda: self.choose(Source()))

    def _ask(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of images")
        if path:
            self.choose(Source(folder=Path(path)))

    def _take_selection(self) -> None:
        chosen = self.viewer.layers.selection
        layers = tuple(layer for layer in self.viewer.layers if layer in chosen)
        self.choose(Source(layers=tuple(layer for layer in layers if refusal(layer) is None)))

    def choose(self, source: Source) -> None:
        """Choose this folder, or these layers."""
        self.source = source
        text = "choose a folder or layers"
        if source.folder is not None:
            text = f"folder {source.folder.name}"
        elif source.layers:
            names = ", ".join(layer.name for layer in source.layers)
            text = names if len(names) < 30 else f"{len(source.layers)} layers"
        self.setText(text)
        self.changed.emit()


class Curve(QWidget):
    """Draws how much closer to the truth validation images come, in dB, while a training runs."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[float, float]] = []
        self.setMinimumHeight(120)

    def show_points(self, points: list[tuple[float, float]]) -> None:
        """Draw these points: steps, and the mean gain over the input in dB."""
        self.points = points
        self.update()

    def paintEvent(self, event: Any) -> None:  # noqa: N802  (Qt's name)
        """Draw axes, the curve and its values."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        inner = QRectF(self.rect()).adjusted(52, 8, -10, -22)
        ink = self.palette().color(self.foregroundRole())
        painter.setPen(QPen(ink, 1))
        painter.drawLine(inner.bottomLeft(), inner.bottomRight())
        painter.drawLine(inner.bottomLeft(), inner.topLeft())
        if not self.points:
            painter.drawText(inner, Qt.AlignmentFlag.AlignCenter, "validation: gain over the input")
            return
        steps, gains = [p[0] for p in self.points], [p[1] for p in self.points]
        low, high = min(0.0, *gains), max(0.1, *gains)
        last = max(steps[-1], 1)
        places = [
            QPointF(
                inner.left() + inner.width() * step / last,
                inner.bottom() - inner.height() * (gain - low) / (high - low),
            )
            for step, gain in self.points
        ]
        top, bottom = QRectF(0, 0, 48, 20), QRectF(0, inner.bottom() - 10, 48, 20)
        right = Qt.AlignmentFlag.AlignRight
        painter.drawText(top, right, f"{high:.1f} dB")
        painter.drawText(bottom, right, f"{low:.1f}")
        under = QRectF(inner.left(), inner.bottom() + 2, inner.width(), 20)
        painter.drawText(under, right, f"{int(last)} steps")
        painter.setPen(QPen(QColor(_BLUE), 2))
        painter.drawPolyline(QPolygonF(places))
        for place in places:
            painter.drawEllipse(place, 2.5, 2.5)


class AdaptWidget(QWidget):
    """Adapts the model that ships to images of one's own.

    Parameters
    ----------
    napari_viewer
        Its layers may serve as images; the new model is chosen in its widget *Restore*.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.defect, self.minutes = QComboBox(), QDoubleSpinBox()
        self.sources = {role: SourceButton(napari_viewer, role) for role in ROLES}
        self.run_folder = QLineEdit()
        self.start_button, self.stop_button = QPushButton("Adapt"), QPushButton("Stop")
        self._bar, self._curve, self.message = QProgressBar(), Curve(), QLabel()
        self.command = QPlainTextEdit()
        self._process: QProcess | None = None
        self._begun, self._stopped, self._said = 0.0, False, ""
        self._timer = QTimer(self)
        self._arrange()
        self._connect()
        self._update()

    def _arrange(self) -> None:
        from ...defects import all_defects

        self.defect.setEditable(True)
        self.defect.addItems([*COMMON, *(name for name in all_defects() if name not in COMMON)])
        self.defect.setToolTip("What is wrong with the images; a name of your own will do")
        self.minutes.setRange(0.1, 600.0)
        self.minutes.setDecimals(1)
        self.minutes.setValue(5.0)
        self.run_folder.setText(str(_free(Path.home() / "microscopygan_run")))
        self.command.setReadOnly(True)
        self.command.setMaximumHeight(84)
        self.message.setWordWrap(True)
        self._bar.setRange(0, 1000)
        self.stop_button.setEnabled(False)
        rows, line, buttons = QFormLayout(), QHBoxLayout(), QHBoxLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        rows.addRow("Defect", self.defect)
        for role, title in _TITLES.items():
            rows.addRow(title, self.sources[role])
        rows.addRow("Minutes", self.minutes)
        browse = QToolButton()
        browse.setText("…")
        browse.clicked.connect(self._ask_where)
        line.addWidget(self.run_folder, 1)
        line.addWidget(browse)
        rows.addRow("Run folder", line)
        buttons.addWidget(self.start_button)
        buttons.addWidget(self.stop_button)
        layout = QVBoxLayout(self)
        layout.addLayout(rows)
        layout.addLayout(buttons)
        for widget in (self._bar, self._curve, self.message):
            layout.addWidget(widget)
        layout.addWidget(QLabel("The same in a terminal"))
        layout.addWidget(self.command)
        layout.addStretch()

    def _connect(self) -> None:
        self._timer.setInterval(_LOOK)
        self._timer.timeout.connect(self._look)
        self.defect.currentTextChanged.connect(self._update)
        self.minutes.valueChanged.connect(self._update)
        self.run_folder.textChanged.connect(self._update)
        for button in self.sources.values():
            button.changed.connect(self._update)
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)

    def closeEvent(self, event: Any) -> None:  # noqa: N802  (Qt's name)
        """Stop the training with the window; it can be gone on with."""
        if self._process is not None:
            self._process.kill()
            self._process.waitForFinished(_PATIENCE)
        super().closeEvent(event)

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return Path(self.run_folder.text()).expanduser().absolute()

    @property
    def dataset(self) -> Path:
        """The folder of the training set that is made of the chosen images."""
        return self.run.with_name(f"{self.run.name}_images")

    @property
    def interrupted(self) -> bool:
        """Whether the run folder holds a run that was stopped, to go on with."""
        return (self.run / "settings.json").exists() and not (self.run / "restorer.onnx").exists()

    def words(self) -> list[str]:
        """Return the words after ``microscopygan``."""
        words = ["train", str(self.dataset), "-o", str(self.run)]
        words += ["--minutes", f"{self.minutes.value():g}"]
        return [*words, "--resume"] if self.interrupted else words

    def _update(self, event: object = None) -> None:
        """Show the command, or what keeps the training from starting."""
        words = ["microscopygan", *self.words()]
        shown = subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
        self.command.setPlainText(shown)
        self.start_button.setText("Go on" if self.interrupted else "Adapt")
        try:
            need("train", "Adapting")
            if not self.interrupted:
                check_sources(self._chosen(), self.defect.currentText().strip())
        except (ModuleNotFoundError, ValueError) as error:
            self.message.setText(one_line(error))
            self.start_button.setEnabled(False)
            return
        self.message.setText("")
        self.start_button.setEnabled(self._process is None)

    def _chosen(self) -> dict[str, Source]:
        return {role: button.source for role, button in self.sources.items()}

    def _ask_where(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of the run")
        if path:
            self.run_folder.setText(path)

    def start(self) -> None:
        """Write the training set, and train on it in a process of its own."""
        words = self.words()
        try:
            if not self.interrupted:
                _check_free(self.run)
                write_training_set(self.dataset, self.defect.currentText(), self._chosen())
        except (ValueError, OSError) as error:
            self.message.setText(one_line(error))
            return
        self._process = process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        process.setProcessEnvironment(environment)
        process.finished.connect(self._finish)
        self._begun, self._stopped, self._said = time.monotonic(), False, ""
        self.start_button.setEnabled(False)
        self.stop_button.setEnabled(True)
        self.message.setText("Starting …")
        self._curve.show_points([])
        process.start(sys.executable, ["-m", "microscopygan", *words, "--quiet"])
        self._timer.start()

    def stop(self) -> None:
        """Stop the training; what it has learned stays, and it can be gone on with."""
        if self._process is not None:
            self._stopped = True
            self.message.setText("Stopping …")
            self._process.terminate()
            QTimer.singleShot(_PATIENCE, self._kill)

    def _kill(self) -> None:
        if self._stopped and self._process is not None:
            self._process.kill()

    def _look(self) -> None:
        """Show how far the training is, as its files say."""
        share, said, points = progress_of(self.run)
        spent = (time.monotonic() - self._begun) / (60 * self.minutes.value())
        self._bar.setValue(round(1000 * min(0.99, max(share, min(spent, 0.95)))))
        self._curve.show_points(points)
        if not self._stopped:
            self.message.setText(said)

    def _finish(self) -> None:
        process, self._process = self._process, None
        self._timer.stop()
        self.stop_button.setEnabled(False)
        if process is None:
            return
        shown = bytes(process.readAllStandardOutput()).decode(errors="replace")
        wrong = bytes(process.readAllStandardError()).decode(errors="replace").strip()
        failed = process.exitCode() != 0
        process.deleteLater()
        self._curve.show_points(progress_of(self.run)[2])
        self._update()
        if self._stopped:
            self.message.setText("Stopped. “Go on” continues where it was.")
        elif failed:
            last = wrong.splitlines()[-1] if wrong else "the training ended without a word"
            self.message.setText(last.removeprefix("microscopygan: "))
        else:
            self._bar.setValue(1000)
            self._use_model(shown)

    def _use_model(self, shown: str) -> None:
        """Choose the new model in the widget *Restore*, which is opened if it is not."""
        model = self.run / "restorer.onnx"
        told = shown.partition("Run written")[0].strip()
        self.message.setText(f"{told}\nThe new model is chosen in Restore.".strip())
        add = self.viewer.window.add_plugin_dock_widget
        _, restore = add("microscopygan", "Restore", tabify=True)
        restore.choose_model(str(model))


def _free(folder: Path) -> Path:
    """Return the folder, or one with a number after its name where it is taken."""
    names = [folder, *(folder.with_name(f"{folder.name}_{k}") for k in range(2, 100))]
    return next((path for path in names if not path.exists()), folder)


def _check_free(run: Path) -> None:
    if run.exists() and any(run.iterdir()):
        raise FileExistsError(f"{run} holds something already; choose another run folder.")


def progress_of(run: Path) -> tuple[float, str, list[tuple[float, float]]]:
    """Return what the files of a run say while it is trained.

    Returns
    -------
    share
        Of the restorer's steps that are done, 0 to 1.
    said
        What is going on, in a line.
    points
        Steps, and the mean gain of the validation images over their input in dB.
    """
    from ...evaluate.report.run_folder import read_run

    try:
        logs = read_run(run).logs
    except (OSError, ValueError):
        return 0.0, "Starting …", []
    points = [
        (float(row["step"]), _mean([value for name, value in row.items() if name != "step"]))
        for row in logs["validation"]
    ]
    done = [float(row["step"]) for row in logs["restorer"]] + [step for step, _ in points]
    if not any(done):
        return 0.0, "Learning the defect …" if logs["defects"] else "Measuring the defect …", points
    step, steps = int(max(done)), _steps(run)
    gain = f"; {points[-1][1]:+.2f} dB on validation images" if points else ""
    said = f"Adapting: step {step} of {steps}{gain}" if steps else f"Adapting: step {step}{gain}"
    return (step / steps if steps else 0.0), said, points


def _steps(run: Path) -> int:
    """Return how many steps of the restorer fit the time of a run, 0 where that is not known."""
    try:
        return int(json.loads((run / "steps.json").read_text(encoding="utf-8"))["restorer"])
    except (OSError, ValueError, KeyError):
        return 0


def _mean(values: list[str]) -> float:
    return sum(map(float, values)) / max(len(values), 1)
