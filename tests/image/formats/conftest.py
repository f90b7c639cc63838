"""Servers for tests of URLs: one of files, and one that speaks as much S3 as is needed."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

NEVER = 20  # seconds; longer than any time limit of a test


class Faults:
    """What a server does instead of answering: ``{part of a path: states, one after the other}``.

    The last state stays; 200 answers, 0 never does. Before `when` is true, all is answered.
    """

    def __init__(self, **states: list[int]) -> None:
        self.states: dict[str, list[int]] = dict(states)
        self.requests: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.when: Callable[[], bool] = lambda: True

    def state(self, path: str) -> int:
        with self.lock:
            self.requests[path] += 1
            for part, states in self.states.items():
                if part in path and self.when():
                    return states.pop(0) if len(states) > 1 else states[0]
        return 200


class _Files(SimpleHTTPRequestHandler):
    faults = Faults()

    def do_GET(self) -> None:
        state = self.faults.state(self.path)
        if state == 0:
            time.sleep(NEVER)
        elif state == 200:
            super().do_GET()
        else:
            self.send_error(state)

    def log_message(self, *_: object) -> None:
        pass


class _S3(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    address: str
    objects: dict[str, bytes]
    faults = Faults()

    def _answer(self, state: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(state)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length")
        if length and "chunked" not in self.headers.get("Content-Encoding", ""):
            return self.rfile.read(int(length))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        key, query = unquote(place.path).strip("/"), parse_qs(place.query, keep_blank_values=True)
        state = self.faults.state(key)
        if state == 0:
            time.sleep(NEVER)
        elif state != 200:
            self._answer(state)
        elif "list-type" in query:
            self._list(key, query)
        elif key not in self.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer_range(self.objects[key])

    do_HEAD = do_GET  # noqa: N815

    def _answer_range(self, body: bytes) -> None:
        about = {"ETag": '"1"', "Last_Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}
        if not (wanted := self.headers.get("Range")):
            self._answer(200, body, **about)
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        part = body[int(first) : int(last) + 1 if last else None] if first else body[-int(last) :]
        self._answer(206, part, Content_Range=f"bytes {first or 0}-{last}/{len(body)}", **about)

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, ends = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys = sorted(key.removeprefix(f"{bucket}/") for key in self.objects)
        files, folders = [], set()
        for key in (key for key in keys if key.startswith(prefix)):
            inner = key[len(prefix) :]
            if ends and ends in inner:
                folders.add(prefix + inner.split(ends)[0] + ends)
            else:
                files.append(key)
        listed = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[f'{bucket}/{key}'])}</Size>"
            "<LastModified>2000-01-01T00:00:00Z</LastModified></Contents>"
            for key in files
        )
        listed += "".join(
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
            for one in sorted(folders)
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
        self._answer(200, text.encode(), Content_Type="application/xml")

    def do_PUT(self) -> None:
        key = unquote(urlsplit(self.path).path).strip("/")
        body = self._body()
        if (state := self.faults.state(key)) != 200:
            self._answer(state)
            return
        if source := self.headers.get("x-amz-copy-source"):
            self.objects[key] = self.objects[unquote(source).strip("/")]
            text = "<CopyObjectResult><ETag>1</ETag></CopyObjectResult>"
            self._answer(200, text.encode(), Content_Type="application/xml")
            return
        self.objects[key] = body
        self._answer(200, ETag='"1"')

    def do_DELETE(self) -> None:
        self.objects.pop(unquote(urlsplit(self.path).path).strip("/"), None)
        self._answer(204)

    def do_POST(self) -> None:
        bucket, body = urlsplit(self.path).path.strip("/"), self._body().decode()
        for part in body.split("<Key>")[1:]:
            self.objects.pop(f"{bucket}/{part.split('</Key>')[0]}", None)
        self._answer(200, b"<DeleteResult></DeleteResult>", Content_Type="application/xml")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(handler: object) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def faults() -> Faults:
    """What the servers do instead of answering."""
    return Faults()


@pytest.fixture
def site(tmp_path: Path, faults: Faults) -> Iterator[str]:
    """The URL at which the folder of the test is served, with a name and a password."""
    handler = type("Files", (_Files,), {"faults": faults})
    with _served(partial(handler, directory=str(tmp_path))) as address:
        yield f"http://ann:secret@{address}"


@pytest.fixture(scope="session")
def s3() -> Iterator[type[_S3]]:
    """One server for all tests, since connections to it are kept."""
    handler = type("Bucket", (_S3,), {})
    with _served(handler) as handler.address:
        yield handler


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, faults: Faults, s3: type[_S3]) -> dict[str, bytes]:
    """Objects, by name, that are served as ``s3://``."""
    s3.objects, s3.faults = {}, faults
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3.address}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return s3.objects
