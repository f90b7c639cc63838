"""The options of restoring as a form: a field for each, as their types say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QLabeledDoubleSlider

from ...restoration.models import MODELS
from ...settings import COMMON
from ..restore_options import NOT_IN_WINDOWS, RestoreOptions, label_of

_COLUMNS = 2  # of defects
_FIRST = ("strength", "task")
_OTHERS = ("model", "defect", *NOT_IN_WINDOWS)  # above, or not here
_MORE = [name for name in RestoreOptions.model_fields if name not in (*_FIRST, *_OTHERS)]
_WHERE_EMPTY = {
    "axes": "from the layer or its file",
    "voxel_size": "z,y,x in µm; from the layer or its file",
    "channels": "all; or such as 0,2",
    "memory": "half of what is free; or such as 2GB",
    "threads": "as many as processors",
}


class OptionsForm(QWidget):
    """What a user chooses of the result; `changed` is emitted at each change."""

    changed = Signal()
    model_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fields: dict[str, Any] = {}
        self._model = QComboBox()
        self._model.addItems(list(MODELS))
        self._hints, self._others = QGridLayout(), QCollapsible("Other defects")
        inner = QWidget()
        self._other_hints = QGridLayout(inner)
        self._others.setContent(inner)
        self._boxes: dict[str, QCheckBox] = {}
        self.show_hints(COMMON)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._first_rows())
        layout.addWidget(self._more_rows())
        self._model.currentIndexChanged.connect(self._choose)

    def _first_rows(self) -> QFormLayout:
        rows, line = QFormLayout(), QHBoxLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        browse = QToolButton()
        browse.setText("…")
        browse.setToolTip("Take a restorer.onnx of a training run, or a package of BioImage.IO")
        browse.clicked.connect(self._browse)
        line.addWidget(self._model, 1)
        line.addWidget(browse)
        rows.addRow("Model", line)
        rows.addRow("Defect", self._hints)
        rows.addRow(self._others)
        for name in _FIRST:
            rows.addRow(label_of(name), self._field(name))
        return rows

    def _more_rows(self) -> QCollapsible:
        inner = QWidget()
        rows = QFormLayout(inner)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for name in _MORE:
            rows.addRow(label_of(name), self._field(name))
        folded = QCollapsible("More options")
        folded.setContent(inner)
        folded.collapse(animate=False)
        return folded

    def _field(self, name: str) -> Any:
        """Return the field of an option, as its type says."""
        about = RestoreOptions.model_fields[name]
        choices = get_args(about.annotation)
        field: Any
        if choices and all(isinstance(choice, str) for choice in choices):
            field = QComboBox()
            field.addItems(list(choices))
            field.setCurrentText(about.default)
            field.currentIndexChanged.connect(self._tell)
        elif about.annotation is bool:
            field = QCheckBox()
            field.toggled.connect(self._tell)
        elif about.annotation is float:
            field = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
            field.setRange(0.0, 1.0)
            field.setSingleStep(0.05)
            field.setValue(about.default)
            field.valueChanged.connect(self._tell)
        else:
            field = QLineEdit()
            field.setPlaceholderText(_WHERE_EMPTY.get(name, ""))
            field.textChanged.connect(self._tell)
        field.setToolTip(f"--{name.replace('_', '-')}: {about.description}")
        self._fields[name] = field
        return field

    def options(self) -> RestoreOptions:
        """Return what is chosen.

        Raises
        ------
        ValueError
            A text that does not say what it should.
        """
        values = {name: _value(field) for name, field in self._fields.items()}
        ticked = [name for name, box in self._boxes.items() if box.isChecked()]
        values |= {"model": self.model, "defect": ",".join(ticked) or None}
        defaults = {name: about.default for name, about in RestoreOptions.model_fields.items()}
        if values["threads"] is not None and str(values["threads"]).isdecimal():
            values["threads"] = int(values["threads"])
        return RestoreOptions(**{k: v for k, v in values.items() if v != defaults[k]})

    def set_options(self, options: RestoreOptions) -> None:
        """Choose these."""
        self.choose_model(options.model)
        for name, field in self._fields.items():
            _set_value(field, getattr(options, name))
        for name, box in self._boxes.items():
            box.setChecked(name in options.arguments()["defect"])

    @property
    def model(self) -> str:
        """The name of a model that ships, or a file."""
        return str(self._model.currentData() or self._model.currentText())

    def choose_model(self, model: str) -> None:
        """Choose a model by name or file; a file is listed from then on."""
        found = self._model.findText(model) if model in MODELS else self._model.findData(model)
        if found < 0:
            parts = model.replace("\\", "/").split("/")
            self._model.addItem("/".join(parts[-2:]), model)
            found = self._model.count() - 1
            self._model.setItemData(found, model, Qt.ItemDataRole.ToolTipRole)
        self._model.setCurrentIndex(found)

    def show_hints(self, hints: Sequence[str]) -> None:
        """Offer the defects that a model takes as a hint."""
        ticked = {name for name, box in self._boxes.items() if box.isChecked()}
        if list(hints) == list(self._boxes):
            return
        for grid in (self._hints, self._other_hints):
            while item := grid.takeAt(0):
                if widget := item.widget():
                    widget.deleteLater()
        self._boxes = {name: QCheckBox(name) for name in hints}
        for name, box in self._boxes.items():
            box.setChecked(name in ticked)
            box.setToolTip("--defect: what the images have; none ticked: the network looks itself")
            box.toggled.connect(self._tell)
            grid = self._hints if name in COMMON else self._other_hints
            grid.addWidget(box, *divmod(grid.count(), _COLUMNS))
        self._others.setVisible(self._other_hints.count() > 0)

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Model", "", "Models (*.onnx *.zip)")
        if path:
            self.choose_model(path)

    def _choose(self) -> None:
        self.model_changed.emit()
        self._tell()

    def _tell(self) -> None:
        self.changed.emit()


def _value(field: Any) -> Any:
    if isinstance(field, QComboBox):
        return field.currentText()
    if isinstance(field, QCheckBox):
        return field.isChecked()
    if isinstance(field, QLineEdit):
        return field.text().strip() or None
    return round(float(field.value()), 4)


def _set_value(field: Any, value: Any) -> None:
    if isinstance(field, QComboBox):
        field.setCurrentText(value)
    elif isinstance(field, QCheckBox):
        field.setChecked(value)
    elif isinstance(field, QLineEdit):
        field.setText("" if value is None else str(value))
    else:
        field.setValue(value)
