"""What the page may ask the server: each route reads, calls the session, and answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from ...image.atomic import Cancelled, remove
from ...settings import COMMON
from ..batch import one_line
from ..restore_options import RestoreOptions
from .downloads import content, disposition
from .guard import Guard
from .images import PageImage
from .session import Session
from .uploads import check_count, check_image_name, inner_place, new_place

_LARGEST_JSON = 2**16  # bytes
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_ALIVE = 15  # seconds after which an idle stream of events says something
_FAILURES = (ValueError, OSError, MemoryError, ModuleNotFoundError)
_PAGE = {
    file.name: file.read_bytes()
    for file in (files("microscopygan") / "apps" / "web" / "page").iterdir()
    if file.name[file.name.rfind(".") :] in _TYPES
}
Answer = Callable[[Request], Awaitable[Response]]


def make_app(session: Session, host: str = "127.0.0.1") -> ASGIApp:
    """Return what answers the requests of the page.

    Parameters
    ----------
    session
        What is open on it.
    host
        The address that the server listens at.
    """
    answers = _Answers(session)
    routes = [
        Route("/", answers.page),
        Route("/page/{name}", answers.page),
        Route("/enter", answers.enter, methods=["POST"]),
        Route("/download/{key}", answers.download),
        Route("/api/state", answers.state),
        Route("/api/events", answers.events),
        Route("/api/form", answers.form),
        Route("/api/hints", answers.hints),
        Route("/api/images", answers.upload, methods=["POST"]),
        Route("/api/sample", answers.sample, methods=["POST"]),
        Route("/api/folders", answers.begin_folder, methods=["POST"]),
        Route("/api/folders/{id}", answers.upload_inner, methods=["PUT"]),
        Route("/api/folders/{id}", answers.end_folder, methods=["POST"]),
        Route("/api/root", answers.list_root),
        Route("/api/root", answers.open_root, methods=["POST"]),
        Route("/api/images/{id}", answers.tell, methods=["PATCH"]),
        Route("/api/images/{id}", answers.remove, methods=["DELETE"]),
        Route("/api/images/{id}/pixels", answers.pixels),
        Route("/api/images/{id}/preview", answers.preview, methods=["POST"]),
        Route("/api/images/{id}/diagnosis", answers.diagnose, methods=["POST"]),
        Route("/api/images/{id}/report", answers.make_report, methods=["POST"]),
        Route("/api/command", answers.command, methods=["POST"]),
        Route("/api/restore", answers.restore, methods=["POST"]),
        Route("/api/stop", answers.stop, methods=["POST"]),
        Route("/api/downloads", answers.make_download, methods=["POST"]),
        Route("/api/quit", answers.quit, methods=["POST"]),
    ]
    failed = {kind: answers.failed for kind in (*_FAILURES, KeyError, Cancelled, HTTPException)}
    app = Starlette(routes=routes, exception_handlers=failed)
    return Guard(app, session.token, host)


class _Answers:
    """The answers of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # the page and who may use it

    async def page(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in _PAGE:
            raise KeyError(name)
        return Response(_PAGE[name], media_type=_TYPES[name[name.rfind(".") :]])

    async def enter(self, request: Request) -> Response:
        try:
            token = self._session.enter(str((await _json(request)).get("key", "")))
        except KeyError:
            return _error(401, "this address has been used; open the one that the program shows")
        return JSONResponse({"token": token})

    async def quit(self, request: Request) -> Response:
        self._session.quit.set()
        return JSONResponse({})

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer an error in one line, without any path of this machine."""
        if isinstance(error, HTTPException):
            return _error(error.status_code, error.detail)
        if isinstance(error, KeyError):
            return _error(404, "expected something of this page, got what is not there any more")
        if isinstance(error, Cancelled):
            return _error(409, one_line(error))
        return _error(400, self._session.queue.told(one_line(error)))

    # what is there

    async def state(self, request: Request) -> Response:
        return JSONResponse(self._session.described())

    async def events(self, request: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        version = -1
        while not self._session.quit.is_set():
            latest = await self._session.until_changed(version, _ALIVE)
            changed = latest != version
            version = latest
            yield f"data: {json.dumps(self._session.described())}\n\n" if changed else ": alive\n\n"

    async def form(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._session.form))

    async def hints(self, request: Request) -> Response:
        options = self._session.options({"model": request.query_params.get("model", "")})
        opened = await run_in_threadpool(
            self._session.queue.open_model, self._session.runs(options)
        )
        hints = opened.card.hints
        return JSONResponse({"hints": hints, "common": [name for name in COMMON if name in hints]})

    # images in

    async def upload(self, request: Request) -> Response:
        name = check_image_name(request.query_params.get("name", ""))
        path = new_place(self._session.work.path, name)
        try:
            await self._session.receiver.receive(path, request.stream())
        except BaseException:
            remove(path.parent)
            raise
        return _images(await run_in_threadpool(self._session.add_upload, path))

    async def begin_folder(self, request: Request) -> Response:
        content = await _json(request)
        name = check_image_name(str(content.get("name", "")), folder=True)
        check_count(_number(content.get("files", 0)))
        path = new_place(self._session.work.path, name)
        return JSONResponse({"id": self._session.begin_folder(path)})

    async def upload_inner(self, request: Request) -> Response:
        folder = self._session.folder(request.path_params["id"])
        path = inner_place(folder.path, request.query_params.get("path", ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        size = await self._session.receiver.receive(path, request.stream(), folder.taken)
        folder.taken += size
        return JSONResponse({})

    async def end_folder(self, request: Request) -> Response:
        identity = request.path_params["id"]
        return _images(await run_in_threadpool(self._session.end_folder, identity))

    async def sample(self, request: Request) -> Response:
        return _images(await run_in_threadpool(self._session.add_sample))

    async def list_root(self, request: Request) -> Response:
        root = self._session.root
        if root is None:
            raise ValueError("expected a folder to choose from; start with --root FOLDER")
        folder = request.query_params.get("folder", ".")
        return JSONResponse(await run_in_threadpool(root.entries, folder))

    async def open_root(self, request: Request) -> Response:
        paths = _texts(await _json(request), "paths")
        return _images(await run_in_threadpool(self._session.add_from_root, paths))

    async def tell(self, request: Request) -> Response:
        content, image = await _json(request), self._image(request)
        said = [str(content.get(name) or "").strip() or None for name in ("axes", "voxelSize")]
        await run_in_threadpool(self._session.tell, image, *said)
        return _images([image])

    async def remove(self, request: Request) -> Response:
        await run_in_threadpool(self._session.remove, self._image(request))
        return JSONResponse({})

    # pixels out

    async def pixels(self, request: Request) -> Response:
        image, asked = self._image(request), request.query_params
        which = "result" if asked.get("which") == "result" else "input"
        number = {name: int(asked.get(name, 0)) for name in ("T", "C", "Z", "top", "left")}
        rows, columns, step = (int(asked.get(name, 1)) for name in ("rows", "columns", "step"))

        def read() -> tuple[np.ndarray, int]:
            return self._session.opened(image, which).read(
                {letter: number[letter] for letter in "TCZ"},
                slice(number["top"], number["top"] + rows),
                slice(number["left"], number["left"] + columns),
                step,
            )

        pixels, step = await run_in_threadpool(read)
        return _pixels(pixels, {}, step)

    async def preview(self, request: Request) -> Response:
        content, image = await _json(request), self._image(request)
        options = self._session.options_for(image, self._options(content))
        index = {letter: _number(place) for letter, place in _named(content, "index").items()}
        pixels, place = await run_in_threadpool(
            self._session.queue.preview, image, self._session.runs(options), index
        )
        return _pixels(pixels, place)

    # what is wrong

    async def diagnose(self, request: Request) -> Response:
        options, image = self._options(await _json(request)), self._image(request)
        return JSONResponse(await run_in_threadpool(self._session.diagnose, image, options))

    async def make_report(self, request: Request) -> Response:
        return JSONResponse({"url": f"/download/{self._session.report(self._image(request))}"})

    # restoring

    async def command(self, request: Request) -> Response:
        content = await _json(request)
        options = self._options(content)
        images = self._session.images(_texts(content, "images"))
        commands, problems = [], []
        for image in images:
            try:
                commands.append(self._session.command(image, options))
            except ValueError as error:
                problems.append(self._session.queue.told(one_line(error)))
        key = toml = ""
        if images and not problems:
            stated = self._session.options_for(images[0], options)
            key, toml = self._session.key_of(stated), stated.toml()
        answer = {"command": "\n".join(commands), "problems": problems, "key": key, "toml": toml}
        return JSONResponse(answer)

    async def restore(self, request: Request) -> Response:
        content = await _json(request)
        options = self._options(content)
        images = self._session.images(_texts(content, "images"))
        for image in images:
            self._session.options_for(image, options)
        for image in images:
            await run_in_threadpool(self._session.restore, image, options)
        return JSONResponse({})

    async def stop(self, request: Request) -> Response:
        identity = (await _json(request)).get("image")
        image = None if identity is None else self._session.image(str(identity))
        self._session.queue.stop(image)
        return JSONResponse({})

    async def make_download(self, request: Request) -> Response:
        images = self._session.images(_texts(await _json(request), "images"))
        return JSONResponse({"url": f"/download/{self._session.tickets.make(images)}"})

    async def download(self, request: Request) -> Response:
        ticket = self._session.tickets.take(request.path_params["key"])
        headers = {"Content-Disposition": disposition(ticket.name)}
        return StreamingResponse(
            content(ticket),
            media_type="application/octet-stream",
            headers=headers,
            background=BackgroundTask(self._session.changed),
        )

    def _image(self, request: Request) -> PageImage:
        return self._session.image(request.path_params["id"])

    def _options(self, content: Mapping[str, Any]) -> RestoreOptions:
        return self._session.options(_named(content, "options"))


def _pixels(plane: np.ndarray, place: Mapping[str, int], step: int = 1) -> Response:
    """Answer with the pixels of a plane; shape, type, place and step are in the headers."""
    if plane.dtype.name not in ("uint8", "uint16"):
        plane = plane.astype(np.float32)
    little = plane.astype(plane.dtype.newbyteorder("<"), copy=False)
    headers = {
        "X-Shape": ",".join(map(str, plane.shape)),
        "X-Type": plane.dtype.name,
        "X-Place": json.dumps(place),
        "X-Step": str(step),
    }
    return Response(little.tobytes(), media_type="application/octet-stream", headers=headers)


def _images(images: list[PageImage]) -> Response:
    return JSONResponse({"images": [image.described() for image in images]})


def _error(status: int, line: str) -> Response:
    return JSONResponse({"error": line}, status)


async def _json(request: Request) -> dict[str, Any]:
    """Read what a request says, names and values.

    Raises
    ------
    ValueError
        Too much, or something else.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_JSON:
                raise ValueError("expected a short request, got a long one")
        content = json.loads(bytes(body) or b"{}")
    except (ClientDisconnect, UnicodeDecodeError, RecursionError):
        raise ValueError("expected a request as JSON") from None
    if not isinstance(content, dict):
        raise ValueError("expected a request of names and values")
    return content


def _texts(content: Mapping[str, Any], name: str) -> list[str]:
    values = content.get(name, [])
    if not isinstance(values, list):
        raise ValueError(f"expected a list of {name}, got {str(values)[:40]}")
    return [str(value) for value in values]


def _named(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    values = content.get(name, {})
    if not isinstance(values, dict):
        raise ValueError(f"expected {name} by their names, got {str(values)[:40]}")
    return values


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"expected a number, got {str(value)[:40]}")
    return value
