"""One restoration at a time: images wait for their turn, which can be stopped."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...image.atomic import Cancelled, remove
from ...image.axes import to_planes
from ...image.formats import format_of
from ..batch import one_line
from ..restore_options import RestoreOptions, in_window
from .images import PageImage

if TYPE_CHECKING:
    from ...restoration.model import Restorer
    from ..preview import Preview

_FAILURES = (ValueError, OSError, MemoryError, ModuleNotFoundError)
_MEMORY = 300_000_000  # bytes: windows of half a megapixel, so that stopping is prompt
_OF_MODEL = ("model", "device", "defect", "strength")


@dataclass(frozen=True, eq=False)
class Order:
    """One image to restore.

    Attributes
    ----------
    image
        Of the page.
    options
        The model is a name, or a file on this machine.
    output
        Where the result goes; what is there is replaced.
    key
        Says which options these are.
    """

    image: PageImage
    options: RestoreOptions
    output: Path
    key: str


class Queue:
    """Restores images in turn, in a thread of its own.

    Parameters
    ----------
    changed
        Called, in any thread, each time something has become of an image.
    plain
        Takes paths of this machine out of a message.
    """

    def __init__(self, changed: Callable[[], None], plain: Callable[[str], str]) -> None:
        self._changed, self._plain = changed, plain
        self._orders: deque[Order] = deque()
        self._running: Order | None = None
        self._stopped: set[Order] = set()
        self._closed = False
        self._wake = threading.Condition()
        self._network = threading.Lock()  # held by what computes
        self._turn = 0  # of previews: each ends those before it
        self._models: dict[tuple[Any, ...], Restorer] = {}
        self._preview: tuple[tuple[Any, ...], Preview] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # orders

    def add(self, order: Order) -> None:
        """Let an image wait for its turn; one that waits already keeps its place."""
        image = order.image
        with self._wake:
            if image.busy:
                return
            image.state, image.share, image.message, image.notes = "waiting", 0.0, "", ()
            self._orders.append(order)
            self._wake.notify()
        self._changed()

    def stop(self, image: PageImage | None = None) -> None:
        """Stop the restoration of an image, or of all; what is half done is dropped."""
        with self._wake:
            for order in [one for one in self._orders if image in (None, one.image)]:
                self._orders.remove(order)
                order.image.state = "stopped"
            running = self._running
            if running is not None and image in (None, running.image):
                self._stopped.add(running)
        self._changed()

    def orders(self) -> list[Order]:
        """Return what is being restored, and what waits."""
        with self._wake:
            return [*([self._running] if self._running else []), *self._orders]

    def close(self) -> None:
        """Stop all, and wait until that is so."""
        self.stop()
        self._turn += 1
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(30)

    def wait_for(self, image: PageImage) -> None:
        """Wait until nothing of an image is being written any more."""
        with self._wake:
            self._wake.wait_for(lambda: not (self._running and self._running.image is image), 30)

    def _run(self) -> None:
        while (order := self._next()) is not None:
            image = order.image
            try:
                self._restore(order)
            except Cancelled:
                image.state, image.share = "stopped", 0.0
            except _FAILURES as error:
                image.state, image.message = "failed", self.told(one_line(error))
            except Exception as error:
                image.state, image.message = "failed", self.told(f"unexpected: {one_line(error)}")
            with self._wake:
                self._running = None
                self._stopped.discard(order)
                self._wake.notify_all()
            self._changed()

    def _next(self) -> Order | None:
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._orders)
            if self._closed:
                return None
            self._running = self._orders.popleft()
            self._running.image.state = "restoring"
        self._turn += 1  # a preview makes way
        self._changed()
        return self._running

    def _restore(self, order: Order) -> None:
        from ...restoration.api import restore_file

        image, wanted = order.image, order.options.arguments()
        how = {name: wanted[name] for name in wanted if name not in _OF_MODEL}

        def progress(done: int, total: int) -> None:
            if order in self._stopped:
                raise Cancelled("stopped")
            image.share = done / max(total, 1)
            self._changed()

        with self._network:
            progress(0, 1)
            restorer = self.open_model(order.options)
            how["memory"] = how["memory"] or (_MEMORY if restorer.card.tileable else None)
            restored = restore_file(
                image.source,
                order.output,
                restorer,
                this_file=image.this_file,
                overwrite=True,
                progress=progress,
                **how,
            )
        if image.result is not None and image.result != order.output:
            remove(image.result)
        image.notes = tuple(self.told(note) for note in restored.notes)
        image.result, image.key, image.fetched = order.output, order.key, False
        header = image.open_result().header
        image.depth = header.shape[header.axes.index("Z")] if "Z" in header.axes else 1
        image.state, image.share = "done", 1.0

    # models and previews

    def open_model(self, options: RestoreOptions) -> Restorer:
        """Return the open model of some options; of one file, one session serves all of them."""
        from ...restoration.api import load

        how = options.arguments()
        path = Path(how["model"])
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        key = (how["model"], changed, how["device"], how["threads"])
        restorer = self._models.get(key)
        if restorer is None:
            restorer = load(how["model"], device=how["device"], threads=how["threads"])
            self._models = {key: restorer}
        return restorer.with_hint(how["defect"], how["strength"])

    def preview(
        self, image: PageImage, options: RestoreOptions, index: Mapping[str, int]
    ) -> tuple[np.ndarray, dict[str, int]]:
        """Restore the field of one plane around a place, as the whole result will have it.

        Parameters
        ----------
        image
            Of the page.
        options
            As of an order.
        index
            A place in the input by axis letter.

        Returns
        -------
        pixels : ndarray, (Y, X)
            Of the output.
        place : dict of int
            Where it begins in the output, by axis letter.

        Raises
        ------
        Cancelled
            Another preview, or a restoration, has been asked for meanwhile.
        """
        self._turn += 1
        turn = self._turn

        def report(_: int = 0) -> None:
            if turn != self._turn or self._running is not None:
                raise Cancelled("another one is wanted")

        with self._network:
            report()
            preview = self._opened_preview(image, options)
            report()
            region = preview.region(index)
            pixels = preview.restore(region, report)
        axes = preview.task.axes
        plane = to_planes(pixels, axes)[0][0]
        return plane, {a: part.start for a, part in zip(axes, region, strict=True)}

    def _opened_preview(self, image: PageImage, options: RestoreOptions) -> Preview:
        """Return what restores parts of this image with these options; it knows its maps."""
        from ...restoration.tasks import Options
        from ..preview import Preview

        key = (image.identity, image.axes, options)
        if self._preview is None or self._preview[0] != key:
            wanted = options.arguments()
            chosen: dict[str, Any] = {one.name: wanted[one.name] for one in fields(Options)}
            if chosen["dtype"] == "auto" and not format_of(Path(image.result_name)).floats:
                chosen["dtype"] = "same"
            opened = image.open()
            sizes = opened.pixel_size | (wanted["pixel_size"] or {})
            opened = replace(opened, pixel_size=sizes)
            restorer = self.open_model(options)
            self._preview = (key, Preview(opened, restorer, Options(**chosen), wanted["memory"]))
        return self._preview[1]

    def told(self, line: str) -> str:
        """Return a message as the page shows it: without paths, options by their names."""
        return in_window(self._plain(line))
