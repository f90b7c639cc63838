"""The program itself: it starts, serves this machine alone, ends cleanly, and survives a kill."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from microscopygan.apps.web import server
from microscopygan.apps.web.guard import TOKEN


class Program:
    """``microscopygan web`` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        environment = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
        words = ["-m", "microscopygan", "web", "--no-browser", *options]
        self.process = subprocess.Popen(
            [sys.executable, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.first = self.process.stdout.readline()
        found = re.match(r"Open http://([^/]+):(\d+)/#(\S+)$", self.first)
        assert found, self.first + self.process.stderr.read()
        self.host, self.port, self.token = found[1], int(found[2]), found[3]

    def ask(self, method: str, path: str, content: bytes = b"{}") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, content, {TOKEN: self.token})
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        connection.close()
        return status, body

    def end(self, number: int) -> tuple[str, str]:
        self.process.send_signal(number)
        self.process.wait(30)
        return self.process.stdout.read(), self.process.stderr.read()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start the program, with temporary files below the folder of the test."""
    started: list[Program] = []
    folder = tmp_path / "place"
    folder.mkdir()

    def run(*options: str) -> Program:
        started.append(Program(folder, *options))
        return started[-1]

    yield run
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
        program.process.wait()
        program.process.stdout.close()
        program.process.stderr.close()


def addresses(pid: int) -> set[str]:
    """Addresses at which a process listens."""
    import psutil

    connections = psutil.Process(pid).net_connections(kind="tcp")
    return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_listens_to_this_machine_alone_and_leaves_no_files(start, tmp_path, noisy, number):
    program = start()
    assert addresses(program.process.pid) == {"127.0.0.1"}
    assert program.ask("POST", "/api/images?name=a.tif", noisy.read_bytes())[0] == 200
    assert list((tmp_path / "place").iterdir())
    program.end(number)
    assert list((tmp_path / "place").iterdir()) == []
    assert program.process.returncode == 0


def test_the_page_can_end_it(start, tmp_path):
    program = start()
    assert program.ask("POST", "/api/quit")[0] == 200
    program.process.wait(15)
    assert program.process.returncode == 0
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.slow
def test_a_killed_server_says_what_was_lost_when_it_starts_again(start, tmp_path, write_noisy):
    """Slow (about 4 s): starts the program twice, and kills it while it restores."""
    root = tmp_path / "data"
    root.mkdir()
    write_noisy(root / "long.ome.zarr", (60, 300, 300), "ZYX")
    write_noisy(tmp_path / "sent.tif")
    program = start("--root", str(root))
    program.ask("POST", "/api/images?name=sent.tif", (tmp_path / "sent.tif").read_bytes())
    _, body = program.ask("POST", "/api/root", json.dumps({"paths": ["long.ome.zarr"]}).encode())
    asked = {"images": [json.loads(body)["images"][0]["id"]], "options": {}}
    program.ask("POST", "/api/restore", json.dumps(asked).encode())
    end = time.monotonic() + 60
    while not (root / "restored" / "long.ome.zarr.part").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    program.end(signal.SIGKILL)
    assert list((root / "restored").iterdir())
    again = start("--root", str(root))
    (lost,) = json.loads(again.ask("GET", "/api/state")[1])["lost"]
    assert "Not restored to the end: long.ome.zarr." in lost
    assert "Uploads that are gone: sent.tif." in lost
    assert list((root / "restored").iterdir()) == []
    shown, _ = again.end(signal.SIGINT)
    assert "Not restored to the end: long.ome.zarr." in shown


def test_a_taken_port_and_a_missing_folder_get_one_line(run_command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, error = run_command("web", "--no-browser", "--port", port)
    assert code == 2
    assert re.match(rf"microscopygan: 127.0.0.1:{port}: expected an address to listen at", error)
    code, _, error = run_command("web", "--no-browser", "--root", tmp_path / "nowhere")
    assert (code, error.count("\n")) == (2, 1)
    code, _, error = run_command("web", "--no-browser", "--host", "198.51.100.1")
    assert (code, error.count("\n")) == (2, 1)


def test_other_machines_are_warned_of(start):
    program = start("--host", "0.0.0.0")
    assert program.ask("GET", "/api/state")[0] == 200
    _, warned = program.end(signal.SIGINT)
    assert "can be reached by other machines" in warned


def test_the_browser_gets_a_key_that_is_good_for_once(monkeypatch, tmp_path):
    """Others on the machine can read what a program was started with."""
    opened: list[str] = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(server, "_has_screen", lambda: True)
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    sessions = []
    monkeypatch.setattr(server, "make_app", lambda session, host: sessions.append(session))

    def run(self, sockets):
        opened.append(self.open_at_start)

    monkeypatch.setattr(server._Server, "run", run)
    server.serve()
    (address,), (session,) = opened, sessions
    key = address.partition("#")[2]
    assert key != session.token
    assert session.enter(key) == session.token
    with pytest.raises(KeyError):
        session.enter(key)
