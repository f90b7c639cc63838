"""Who may ask the server: known hosts, its own page, and those who have the token."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "x-microscopygan-token"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OPEN = ("/", "/enter")  # and below /page/ what ships, below /download/ one-time addresses
_OPEN_BELOW = ("/page/", "/download/")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_of(host: str) -> frozenset[str]:
    """Return the names under which a browser may ask for a server that listens at an address."""
    if is_loopback(host):
        return frozenset(_LOOPBACK)
    here = socket.gethostname().lower()
    return frozenset([*_LOOPBACK, host.lower(), here, socket.getfqdn().lower(), f"{here}.local"])


class Guard:
    """Lets through what comes from the server's own page, with its token; marks all answers.

    The token travels in a header, not in a cookie: browsers send cookies of one port to all other
    ports of the same host, where programs of others may listen.

    Parameters
    ----------
    app
        What answers.
    token
        Asked for by all but the page itself and one-time addresses.
    host
        The address that the server listens at.
    """

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self._app, self._token = app, token
        self._names, self._anywhere = names_of(host), not is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        marked = _with_headers(send)
        refused = self._refusal(scope["path"], Headers(scope=scope))
        if refused is not None:
            await refused(scope, receive, marked)
        else:
            await self._app(scope, receive, marked)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        if not self._is_known(headers.getlist("host")):
            return _refused(400, "expected the address that the program has shown; open that one")
        if path == "/" or path.startswith("/page/"):
            return None
        origin, host = headers.get("origin"), headers.get("host", "")
        foreign = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if foreign or (origin is not None and origin not in (f"http://{host}", f"https://{host}")):
            return _refused(403, "expected a request of this page, got one of another site")
        if path in _OPEN or path.startswith(_OPEN_BELOW):
            return None
        given = headers.get(TOKEN, "").encode()
        if not hmac.compare_digest(given, self._token.encode()):
            return _refused(401, "expected the token of this page; open the address with the key")
        return None

    def _is_known(self, hosts: Iterable[str]) -> bool:
        """Whether requests name a host once, and one of ours; numbers only where it is open."""
        if len(list(hosts)) != 1:
            return False
        (host,) = hosts
        name = _name(host)
        return name in self._names or (self._anywhere and _is_number(name))


def _name(host: str) -> str:
    """Return a host without its port, in lower case.

    Examples
    --------
    >>> _name("LocalHost:80"), _name("[::1]:80"), _name("::1")
    ('localhost', '::1', '::1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.lower() if host.count(":") > 1 else host.partition(":")[0].lower()


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refused(status: int, why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status)


def _with_headers(send: Send) -> Send:
    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return marked
