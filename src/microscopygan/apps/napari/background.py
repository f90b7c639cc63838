"""Work beside the window: progress and results come to the main thread, and it can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject, Signal

from ...image.atomic import Cancelled


class Work(QObject):
    """A generator that runs in a thread of its own.

    Parameters
    ----------
    steps
        Called in the thread with a function that takes the share that is done, 0 to 1. That
        function raises `Cancelled` once the work is to stop.
    parent
        The widget that it works for.

    Attributes
    ----------
    progressed, yielded, ended
        Signals: the share that is done; each result; and, at the end, None, or what went wrong
        (`Cancelled` where it was stopped).
    """

    progressed = Signal(float)
    yielded = Signal(object)
    ended = Signal(object)

    def __init__(
        self, steps: Callable[[Callable[[float], None]], Iterator[Any]], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._steps, self._stopped = steps, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the work to end; it does after the next window of the network."""
        self._stopped.set()

    def wait(self, seconds: float) -> None:
        """Wait until the thread has ended, at most so long."""
        self._thread.join(seconds)

    def _progress(self, share: float) -> None:
        if self._stopped.is_set():
            raise Cancelled("stopped")
        self.progressed.emit(share)

    def _run(self) -> None:
        error: BaseException | None = None
        with suppress(RuntimeError):  # the window has been closed meanwhile
            try:
                for result in self._steps(self._progress):
                    self.yielded.emit(result)
            except Exception as raised:
                error = raised
            self.ended.emit(error)
