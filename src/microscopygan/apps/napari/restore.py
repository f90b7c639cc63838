"""The widget *Restore*: image layers in, restored layers out, and the command for the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ... import __version__
from ...image.atomic import Cancelled, write_text
from ...image.image import Image
from ..batch import one_line
from ..extras import need
from ..restore_options import RestoreOptions, in_window
from .background import Work
from .layers import command_for, image_of, pixels_of, placed, refusal, result_settings
from .options_form import OptionsForm

if TYPE_CHECKING:
    import napari

    from ...diagnosis.words import ImageDiagnosis
    from ...restoration.model import Restorer
    from ..preview import Preview

PREVIEW = "preview of the restored plane"
_PAUSE = 150  # milliseconds without a change, after which a preview is made
_WINDOW_MEMORY = 500_000_000  # bytes: windows below a megapixel, so that stopping is prompt
_CHOSEN = ("task", "intensity", "channels", "dtype", "keep_sampling", "hot_pixels", "neighbours")
_LAYER = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class Order:
    """One layer to restore: taken from the viewer when the work is ordered."""

    layer: Any
    image: Image
    options: RestoreOptions
    command: str


class RestoreWidget(QWidget):
    """Restores image layers.

    Parameters
    ----------
    napari_viewer
        Its layers are restored.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.models: dict[tuple[Any, ...], Restorer] = {}
        self._links: list[tuple[Any, Callable[..., None]]] = []
        self._linked: set[int] = set()  # layers whose changes are followed
        self._work: Work | None = None
        self._previewing: Work | None = None
        self._notes: list[str] = []  # what the results' users should know
        self._diagnosis = ""
        self._previews: dict[Any, Preview] = {}
        self._shown: tuple[Preview, Any] | None = None  # whose field the preview layer shows
        self._list, self.form = QListWidget(), OptionsForm()
        self._preview_box = QCheckBox("Preview the plane that is shown")
        self.restore_button, self.stop_button = QPushButton("Restore"), QPushButton("Stop")
        self.diagnose_button = QPushButton("What is wrong?")
        self._bar, self.message = QProgressBar(), QLabel()
        self.command = QPlainTextEdit()
        self._copy, self._save = QPushButton("Copy command"), QPushButton("Save options…")
        self._timer = QTimer(self)
        self._arrange()
        self._connect()
        self._list_layers()
        self._show_card()
        self._update()

    def _arrange(self) -> None:
        layout, buttons, last = QVBoxLayout(self), QHBoxLayout(), QHBoxLayout()
        self._list.setMaximumHeight(110)
        self.command.setReadOnly(True)
        self.command.setMaximumHeight(84)
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._bar.setRange(0, 1000)
        self.stop_button.setEnabled(False)
        self.diagnose_button.setToolTip("Look at the layers that are ticked, as one laboratory's")
        for button in (self.diagnose_button, self.restore_button, self.stop_button):
            buttons.addWidget(button)
        for button in (self._copy, self._save):
            last.addWidget(button)
        layout.addWidget(QLabel("Layers"))
        layout.addWidget(self._list)
        layout.addWidget(self.form)
        layout.addWidget(self._preview_box)
        layout.addLayout(buttons)
        layout.addWidget(self._bar)
        layout.addWidget(self.message)
        layout.addWidget(QLabel("The same in a terminal"))
        layout.addWidget(self.command)
        layout.addLayout(last)
        layout.addStretch()

    def _connect(self) -> None:
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self._preview)
        self._list.itemChanged.connect(self._update)
        self.form.changed.connect(self._update)
        self.form.model_changed.connect(self._show_card)
        self._show_card()
        self._preview_box.toggled.connect(self._toggle_preview)
        self.diagnose_button.clicked.connect(self.diagnose)
        self.restore_button.clicked.connect(self.restore)
        self.stop_button.clicked.connect(self.stop)
        self._copy.clicked.connect(self._copy_command)
        self._save.clicked.connect(self._ask_where_to_save)
        layers = self.viewer.layers.events
        self._link(self._list_layers, layers.inserted, layers.removed, layers.reordered)
        self._link(self._look_again, self.viewer.dims.events.current_step)
        self._link(self._look_again, self.viewer.scene.camera.events.center)

    def _link(self, slot: Callable[..., None], *emitters: Any) -> None:
        """Call a function at events of napari, until the window is closed."""
        for emitter in emitters:
            emitter.connect(slot)
            self._links.append((emitter, slot))

    def closeEvent(self, event: Any) -> None:  # noqa: N802  (Qt's name)
        """Stop all work with the window, and take the preview away."""
        for work in (self._work, self._previewing):
            if work is not None:
                work.stop()
        self._remove_preview()
        for emitter, slot in self._links:
            emitter.disconnect(slot)
        self._links.clear()
        super().closeEvent(event)

    # what is chosen

    def _list_layers(self, event: object = None) -> None:
        """List the layers, the uppermost first; those that were ticked stay ticked."""
        ticked = self.chosen_layers()
        new = None if ticked else self._newest(event)
        self._list.blockSignals(True)
        self._list.clear()
        for layer in reversed(self.viewer.layers):
            if layer.name == PREVIEW:
                continue
            item = QListWidgetItem(layer.name)
            item.setData(_LAYER, layer)
            chosen = layer is new or any(layer is one for one in ticked)
            item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
            self._list.addItem(item)
            self._follow(layer)
        self._list.blockSignals(False)
        self._update()

    def _follow(self, layer: Any) -> None:
        """Keep the list and the command up to date with a layer."""
        if id(layer) in self._linked:
            return
        self._linked.add(id(layer))
        events = layer.events
        self._link(self._list_layers, events.name)
        self._link(self._update, events.scale, events.units, events.axis_labels)

    def _newest(self, event: Any) -> Any:
        """Return the layer that is to be ticked where none is: a new, the active or the top one."""
        new = getattr(event, "value", None)
        candidates = [new, self.viewer.layers.selection.active, *reversed(self.viewer.layers)]
        fit = (layer for layer in candidates if hasattr(layer, "world_to_data"))
        fit = (layer for layer in fit if layer.visible and refusal(layer) is None)
        return next((layer for layer in fit if "microscopygan" not in layer.metadata), None)

    def _items(self) -> list[Any]:
        return [self._list.item(row) for row in range(self._list.count())]

    def tick(self, *layers: Any) -> None:
        """Choose these layers and no others."""
        for item in self._items():
            chosen = item.data(_LAYER) in layers
            item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)

    def chosen_layers(self) -> list[Any]:
        """Return the layers that are ticked."""
        ticked = Qt.CheckState.Checked
        return [item.data(_LAYER) for item in self._items() if item.checkState() == ticked]

    def orders(self) -> list[Order]:
        """Return what is to be restored.

        Raises
        ------
        ValueError
            No layer, one that cannot be restored, or options that cannot be.
        """
        layers, options = self.chosen_layers(), self.form.options()
        if not layers:
            raise ValueError("Tick the layers to restore.")
        return [
            Order(layer, image_of(layer, options), options, command_for(layer, options))
            for layer in layers
        ]

    def choose_model(self, model: str) -> None:
        """Choose a model by name or file."""
        self.form.choose_model(model)

    def _update(self, event: object = None) -> None:
        """Show the command of what is chosen, or what keeps it from being restored."""
        try:
            orders = self.orders()
        except (ValueError, OSError) as error:
            self.command.setPlainText("")
            self._say(error)
            self._let_work(False)
            return
        self.command.setPlainText("\n".join(order.command for order in orders))
        self._say(_to_save(orders))
        self._let_work(self._work is None)
        self._look_again()

    def _let_work(self, possible: bool) -> None:
        for button in (self.diagnose_button, self.restore_button):
            button.setEnabled(possible)

    def _say(self, said: str | BaseException) -> None:
        self.message.setText(in_window(one_line(said)) if not isinstance(said, str) else said)

    # models

    def open_model(self, options: RestoreOptions) -> Restorer:
        """Return the open model of some options; of one file, one session serves all of them."""
        from ...restoration.api import load

        how = options.arguments()
        path = Path(how["model"])
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        key = (how["model"], changed, how["device"], how["threads"])
        if key not in self.models:
            self.models = {key: load(how["model"], device=how["device"], threads=how["threads"])}
        return self.models[key].with_hint(how["defect"], how["strength"])

    def _show_card(self) -> None:
        """Offer the hints that the chosen model takes, once it is open."""
        options = RestoreOptions(model=self.form.model)

        def steps(progress: Callable[[float], None]) -> Iterator[tuple[str, ...]]:
            yield self.open_model(options).card.hints

        work = Work(steps, self)
        work.yielded.connect(self.form.show_hints)
        work.ended.connect(lambda error: self._say(error) if error else None)
        work.start()

    # what is wrong

    def diagnose(self) -> None:
        """Say what is wrong with the layers that are ticked, and what undoes it."""
        try:
            orders = self.orders()
        except (ValueError, OSError) as error:
            self._say(error)
            return
        self._work = Work(partial(self._looks, orders), self)
        self._work.yielded.connect(self._show_diagnosis)
        self._work.ended.connect(self._end_diagnosis)
        self._let_work(False)
        self._say("Looking …")
        self._work.start()

    def _looks(
        self, orders: list[Order], progress: Callable[[float], None]
    ) -> Iterator[ImageDiagnosis]:
        need("evaluate", "What is wrong")
        from ...restoration.diagnosed import diagnose

        images = [replace(order.image, source=order.layer.name) for order in orders]
        yield diagnose(images, model=self.open_model(orders[0].options))

    def _show_diagnosis(self, diagnosis: ImageDiagnosis) -> None:
        self._diagnosis = in_window(str(diagnosis))

    def _end_diagnosis(self, error: BaseException | None) -> None:
        self._work = None
        self._update()
        self._say(error if error is not None else self._diagnosis)

    # restoring

    def restore(self) -> None:
        """Restore the layers that are ticked; each result is a new layer."""
        try:
            orders = self.orders()
        except (ValueError, OSError) as error:
            self._say(error)
            return
        self._work = Work(partial(self._steps, orders), self)
        self._work.progressed.connect(self._show_progress)
        self._work.yielded.connect(self._add)
        self._work.ended.connect(self._finish)
        self._preview_box.setChecked(False)
        self._bar.setValue(0)
        self._notes = []
        self._let_work(False)
        self.stop_button.setEnabled(True)
        self._say("Restoring …")
        self._work.start()

    def stop(self) -> None:
        """Stop restoring; what is not finished is dropped."""
        if self._work is not None:
            self._work.stop()
            self._say("Stopping …")

    def _steps(
        self, orders: list[Order], progress: Callable[[float], None]
    ) -> Iterator[tuple[Order, Any, dict[str, object]]]:
        from ...restoration.api import restore

        for number, order in enumerate(orders):
            restorer = self.open_model(order.options)
            wanted = order.options.arguments()
            memory = wanted["memory"] or (_WINDOW_MEMORY if restorer.card.tileable else None)
            done = restore(
                order.image,
                model=restorer,
                pixel_size=wanted["pixel_size"],
                memory=memory,
                progress=partial(_share, progress, number, len(orders)),
                **{name: wanted[name] for name in _CHOSEN},
            )
            yield order, done, about_result(order, restorer, done.notes)

    def _show_progress(self, share: float) -> None:
        self._bar.setValue(round(1000 * share))

    def _add(self, result: tuple[Order, Image, dict[str, object]]) -> None:
        """Add the layer of a result; the layers that are selected stay so."""
        order, done, about = result
        sizes, before = done.pixel_size, order.image.pixel_size
        spacing = {letter: sizes[letter] / before[letter] for letter in before}
        settings = result_settings(order.layer, order.image, spacing, about)
        selected = set(self.viewer.layers.selection)
        self.viewer.add_image(done.array, **settings)
        self.viewer.layers.selection = selected
        self._notes += [note for note in done.notes if note not in self._notes]

    def _finish(self, error: BaseException | None) -> None:
        self._work = None
        self.stop_button.setEnabled(False)
        self._update()
        if isinstance(error, Cancelled):
            self._bar.setValue(0)
            self._say("Stopped; nothing was added.")
        elif error is not None:
            self._bar.setValue(0)
            self._say(error)
        else:
            self._bar.setValue(1000)
            self._say(" ".join(["Done.", *map(in_window, self._notes)]))

    # the preview

    def _toggle_preview(self, wanted: bool) -> None:
        if wanted:
            self._look_again()
        else:
            self._remove_preview()
            self._previews.clear()
            self._shown = None

    def _look_again(self, event: object = None) -> None:
        if self._preview_box.isChecked() and self._work is None:
            self._timer.start()

    def _preview(self) -> None:
        """Restore the plane that is shown; what is under way for another one is stopped."""
        if self._previewing is not None:
            self._previewing.stop()
            self._timer.start()
            return
        try:
            order = self.orders()[0]
        except (ValueError, OSError):
            return
        point = order.layer.world_to_data(self._middle())
        self._previewing = Work(partial(self._preview_steps, order, point), self)
        self._previewing.yielded.connect(self._show_preview)
        self._previewing.ended.connect(self._preview_ended)
        self._previewing.start()

    def _middle(self) -> np.ndarray:
        """Return the point in the middle of the view, in the viewer's coordinates."""
        point = np.array(self.viewer.dims.point, float)
        shown = list(self.viewer.dims.displayed)
        point[shown] = self.viewer.scene.camera.center[-len(shown) :]
        return point

    def _preview_steps(
        self, order: Order, point: np.ndarray, progress: Callable[[float], None]
    ) -> Iterator[tuple[Order, np.ndarray, dict[str, float], tuple[int, ...]]]:
        preview = self._opened_preview(order)
        index = {a: round(place) for a, place in zip(order.image.axes, point, strict=True)}
        region = preview.region(index)
        if (preview, region) == self._shown:
            return
        pixels = preview.restore(region, lambda _: progress(0.0))
        self._shown = (preview, region)
        yield order, pixels, preview.spacing, tuple(part.start for part in region)

    def _opened_preview(self, order: Order) -> Preview:
        """Return what restores planes of this layer with these options; it knows their maps."""
        from ...restoration.tasks import Options
        from ..preview import Preview

        key = (id(order.layer.data), order.image.axes, order.options)
        if key not in self._previews:
            wanted = order.options.arguments()
            chosen: dict[str, Any] = {name: wanted[name] for name in _CHOSEN}
            options = Options(**chosen)
            restorer = self.open_model(order.options)
            self._previews = {key: Preview(order.image, restorer, options, wanted["memory"])}
        return self._previews[key]

    def _show_preview(
        self, result: tuple[Order, np.ndarray, dict[str, float], tuple[int, ...]]
    ) -> None:
        order, pixels, spacing, start = result
        if not self._preview_box.isChecked():
            return
        settings = placed(result_settings(order.layer, order.image, spacing, {}), start)
        settings |= {"name": PREVIEW, "metadata": {}}
        selected = set(self.viewer.layers.selection)
        self._remove_preview()
        self.viewer.add_image(pixels, **settings)
        self.viewer.layers.selection = selected

    def _preview_ended(self, error: BaseException | None) -> None:
        self._previewing = None
        if error is not None and not isinstance(error, Cancelled):
            self._say(error)

    def _remove_preview(self) -> None:
        """Take the layer of the preview away."""
        if PREVIEW in self.viewer.layers:
            self.viewer.layers.remove(PREVIEW)

    # the command and the file of options

    def _copy_command(self) -> None:
        QApplication.clipboard().setText(self.command.toPlainText())
        self._say("Copied.")

    def _ask_where_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save options", "options.toml", "TOML (*.toml)")
        if path:
            self.save_options(Path(path))

    def save_options(self, path: Path) -> None:
        """Write the options to a file that ``microscopygan restore --settings`` reads."""
        try:
            write_text(path, self.form.options().toml(), overwrite=True)
        except (ValueError, OSError) as error:
            self._say(error)
            return
        self._say(f"Saved. Use it by: microscopygan restore IMAGES --settings {path.name}")


def _share(
    progress: Callable[[float], None], number: int, count: int, done: int, total: int
) -> None:
    """Report the share of several images that is done, from the pixels of one."""
    progress((number + done / max(total, 1)) / count)


def about_result(order: Order, restorer: Restorer, notes: Iterable[str]) -> dict[str, object]:
    """Return how a result came about, for the metadata of its layer."""
    return {
        "program": f"microscopygan {__version__}",
        "model": {
            "name": restorer.card.name,
            "file": restorer.path.name,
            "sha256": restorer.sha256,
            "hint": list(restorer.hint),
            "strength": restorer.strength,
        },
        "input": Path(str(order.image.source)).name,
        "axes": order.image.axes,
        "settings": order.options.model_dump(),
        "command": order.command,
        "notes": list(notes),
    }


def _to_save(orders: list[Order]) -> str:
    """Say which layers the command takes from files that do not exist yet, and what is lazy."""
    silent = [order.layer.name for order in orders if order.image.source == order.layer.name]
    lazy = [o.layer.name for o in orders if not isinstance(pixels_of(o.layer), np.ndarray)]
    said = []
    if silent:
        said.append(f"For the command below, save first: {', '.join(silent)}.")
    if lazy:
        said.append(f"Restored when it is looked at: {', '.join(lazy)}.")
    return " ".join(said)
