"""Start the web page: a server on this machine, and the browser that shows it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import uvicorn

from .guard import is_loopback
from .root_folder import RootFolder
from .routes import make_app
from .session import Session
from .work_folder import clear_lost

_ENDS_WITHIN = 2  # seconds that open connections are waited for


def serve(
    *, port: int = 0, root: Path | None = None, host: str = "127.0.0.1", browser: bool = True
) -> None:
    """Serve the page until it is ended, by Ctrl-C or by the page.

    Parameters
    ----------
    port
        0 takes a free one.
    root
        The folder to choose images from.
    host
        The address to listen at; one of the network lets others in, who have the token.
    browser
        Open the page.

    Raises
    ------
    ValueError
        No such folder.
    OSError
        The port is taken, or the address is not one of this machine.
    """
    folder = None if root is None else RootFolder.of(root)
    listening = _listen(host, port)
    session = Session(folder, clear_lost())
    try:
        _announce(session, host, listening.getsockname()[1])
        server = _Server(make_app(session, host), session)
        if browser and _has_screen():
            address = _address("127.0.0.1" if host == "0.0.0.0" else host, listening)
            server.open_at_start = f"{address}#{session.new_key()}"
        with _ending(session), suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        session.close()
        listening.close()


@contextmanager
def _ending(session: Session) -> Iterator[None]:
    """Let a signal that would kill the program, as closing its terminal does, end it in order."""

    def end(*_: object) -> None:
        session.quit.set()

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """Ends when the page asks for it; opens the browser once it answers."""

    open_at_start: str | None = None

    def __init__(self, app: object, session: Session) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_ENDS_WITHIN,
        )
        super().__init__(config)
        self._session = session

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.open_at_start is not None:
            threading.Thread(target=webbrowser.open, args=[self.open_at_start], daemon=True).start()
        threading.Thread(target=self._prepare).start()  # waited for at the end

    async def on_tick(self, counter: int) -> bool:
        if self._session.quit.is_set():
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._session.quit.set()  # ends the streams of events
        await super().shutdown(sockets)

    def _prepare(self) -> None:
        """Open the network while the page is being looked at."""
        self._session.queue.open_model(self._session.runs(self._session.options({})))


def _listen(host: str, port: int) -> socket.socket:
    """Take the port, or say in one line why not."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undone:
            listening = undone.enter_context(socket.socket(family, kind))
            if os.name != "nt":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            undone.pop_all()
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(
            f"{host}:{port}: expected an address to listen at, got: {why}; leave --port out for a "
            "free one"
        ) from None
    listening.listen(128)
    return listening


def _address(host: str, listening: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}/"


def _announce(session: Session, host: str, port: int) -> None:
    """Say where the page is, and what was lost."""
    shown = f"[{host}]" if ":" in host else host
    print(f"Open http://{shown}:{port}/#{session.token}", flush=True)
    print("Keep this address to yourself. Ctrl-C, or “Quit” on the page, ends it.", flush=True)
    if not is_loopback(host):
        print(
            f"microscopygan: warning: {host} can be reached by other machines. Whoever has the "
            "address above sees the images and may restore; it is not encrypted on its way.",
            file=sys.stderr,
            flush=True,
        )
    for line in session.lost:
        print(line, flush=True)


def _has_screen() -> bool:
    """Whether there is a screen for a browser; else one may open in the terminal."""
    if sys.platform.startswith(("win", "darwin")):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
