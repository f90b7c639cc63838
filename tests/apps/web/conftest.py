"""The server in a thread, and a plain client that says exactly what it is told to."""

import contextlib
import http.client
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

if find_spec("starlette") is None or find_spec("uvicorn") is None:
    pytest.skip("needs pip install 'microscopygan[web]'", allow_module_level=True)

import uvicorn

from microscopygan.apps.web.guard import TOKEN
from microscopygan.apps.web.root_folder import RootFolder
from microscopygan.apps.web.routes import make_app
from microscopygan.apps.web.session import Session
from microscopygan.image.formats import Image, write

SIZES = {"Y": 0.1, "X": 0.1}


@dataclass
class Reply:
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks the server."""

    port: int
    session: Session
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, content: Any = None, **headers: str | None) -> Reply:
        """Ask once; a header that is None is left out, underscores in names are dashes."""
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        sent = {TOKEN: self.session.token, "Host": f"127.0.0.1:{self.port}"} | self.headers
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return reply

    def get(self, path: str) -> Any:
        reply = self.ask("GET", path)
        assert reply.status == 200, reply.body
        return reply.json

    def post(self, path: str, content: Any = None) -> Any:
        reply = self.ask("POST", path, {} if content is None else content)
        assert reply.status == 200, reply.body
        return reply.json

    def upload(self, path: Path) -> list[dict[str, Any]]:
        """Send a file or a Zarr folder; return the images in it."""
        reply = self.send(path)
        assert reply.status == 200, reply.body
        return reply.json["images"]

    def send(self, path: Path) -> Reply:
        """Send a file or a Zarr folder."""
        if path.is_file():
            return self.ask("POST", f"/api/images?name={quote(path.name)}", path.read_bytes())
        files = [file for file in path.rglob("*") if file.is_file()]
        key = self.post("/api/folders", {"name": path.name, "files": len(files)})["id"]
        for file in files:
            inner = quote(file.relative_to(path).as_posix())
            reply = self.ask("PUT", f"/api/folders/{key}?path={inner}", file.read_bytes())
            assert reply.status == 200, reply.body
        return self.ask("POST", f"/api/folders/{key}", {})

    def state(self, image: dict[str, Any]) -> dict[str, Any]:
        images = {one["id"]: one for one in self.get("/api/state")["images"]}
        return images[image["id"]]

    def until(self, image: dict[str, Any], *states: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until an image is in one of some states."""
        end = time.monotonic() + seconds
        while (now := self.state(image))["state"] not in states:
            assert time.monotonic() < end, now
            time.sleep(0.01)
        return now

    def restored(self, image: dict[str, Any], **options: Any) -> dict[str, Any]:
        self.post("/api/restore", {"images": [image["id"]], "options": options})
        done = self.until(image, "done", "failed", "stopped")
        assert done["state"] == "done", done
        return done

    def download(self, *images: dict[str, Any]) -> Reply:
        url = self.post("/api/downloads", {"images": [image["id"] for image in images]})["url"]
        return self.ask("GET", url)


class Servers:
    """Starts servers, and ends them."""

    def __init__(self) -> None:
        self._running: list[tuple[uvicorn.Server, threading.Thread, Session]] = []

    def start(self, root: Path | None = None, host: str = "127.0.0.1") -> Client:
        session = Session(None if root is None else RootFolder.of(root))
        listening = socket.create_server(("127.0.0.1", 0))
        app = make_app(session, host)
        settings = {"log_level": "error", "lifespan": "off", "server_header": False}
        server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=1, **settings))
        server.capture_signals = contextlib.nullcontext  # they stay those of the tests
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        self._running.append((server, thread, session))
        while not server.started:
            time.sleep(0.005)
        return Client(listening.getsockname()[1], session)

    def end(self) -> None:
        for server, _, session in self._running:
            session.quit.set()
            server.should_exit = True
        for _, thread, session in self._running:
            thread.join(10)
            session.close()


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where servers keep what they are sent; empty in the end."""
    folder, before = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before
    left = [path for path in folder.iterdir() if not path.name.startswith("torchinductor")]
    assert left == []  # but what another library keeps


@pytest.fixture
def serve(temporary: Path) -> Iterator[Callable[..., Client]]:
    """Start servers, which end with the test."""
    servers = Servers()
    yield servers.start
    servers.end()


@pytest.fixture(scope="session")
def shared(temporary: Path) -> Iterator[Client]:
    servers = Servers()
    yield servers.start()
    servers.end()


@pytest.fixture
def client(shared: Client) -> Iterator[Client]:
    """A client of one server for all tests, which finds nothing there, and leaves nothing."""
    session, receiver = shared.session, shared.session.receiver
    yield Client(shared.port, session)
    session.receiver = receiver
    for image in list(session._images.values()):
        session.remove(image)
    session._folders.clear()
    for folder in session.work.path.glob("*/"):
        shutil.rmtree(folder)


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """A small noisy image."""
    return _write_noisy(tmp_path / "cells.tif")


@pytest.fixture
def write_noisy() -> Callable[..., Path]:
    """Write a small noisy image of any shape."""
    return _write_noisy


def _write_noisy(path: Path, shape: tuple[int, ...] = (96, 120), axes: str = "YX") -> Path:
    pixels = np.random.default_rng(0).poisson(300, shape).astype(np.uint16)
    pixels[..., 30:50, 40:70] += 2000
    sizes = {letter: 0.1 for letter in axes if letter in "YX"} | ({"Z": 0.4} if "Z" in axes else {})
    write(path, Image(pixels, axes, sizes))
    return path
