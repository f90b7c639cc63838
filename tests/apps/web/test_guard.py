"""Who is let in: each line is one of what others' pages let through."""

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from microscopygan.apps.web.guard import TOKEN, Guard, names_of
from microscopygan.apps.web.routes import make_app
from microscopygan.apps.web.session import Session

HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def api_routes(client) -> list[tuple[str, str]]:
    """Every method and path below /api."""
    app = make_app(client.session)
    assert isinstance(app, Guard)
    found = []
    for route in app._app.routes:
        assert isinstance(route, Route)
        if route.path.startswith("/api/"):
            path = re.sub(r"\{\w+\}", "x", route.path)
            found += [(method, path) for method in route.methods or () if method != "HEAD"]
    return found


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_every_route_asks_for_the_token(client, token):
    routes = api_routes(client)
    assert len(routes) > 15
    for method, path in routes:
        reply = client.ask(method, path, {}, **{TOKEN: token})
        assert (reply.status, list(reply.json)) == (401, ["error"]), path


def test_the_token_is_in_no_answer_to_strangers(client):
    client.headers = {TOKEN: None}
    for path in ("/", "/page/page.js", "/api/state", "/nothing"):
        assert client.session.token.encode() not in client.ask("GET", path).body
    for key in ("", "wrong", "x" * 5000):
        assert client.ask("POST", "/enter", {"key": key}).status == 401


def test_a_key_opens_once_and_the_token_always(client):
    key = client.session.new_key()
    client.headers = {TOKEN: None}
    assert client.ask("POST", "/enter", {"key": key}).json == {"token": client.session.token}
    assert client.ask("POST", "/enter", {"key": key}).status == 401
    for _ in range(2):
        assert client.ask("POST", "/enter", {"key": client.session.token}).status == 200


def test_each_start_has_its_own_token(serve):
    first, second = serve(), serve()
    assert first.session.token != second.session.token
    assert first.ask("GET", "/api/state", **{TOKEN: second.session.token}).status == 401


def test_another_ones_images_are_not_seen_without_the_token(client, noisy: Path):
    (image,) = client.upload(noisy)
    client.restored(image)
    url = client.post("/api/downloads", {"images": [image["id"]]})["url"]
    client.headers = {TOKEN: None}
    for path in ("/api/state", "/api/events", f"/api/images/{image['id']}/pixels"):
        assert client.ask("GET", path).status == 401
    assert client.ask("DELETE", f"/api/images/{image['id']}").status == 401
    assert client.ask("GET", url).status == 200
    assert client.ask("GET", url).status == 404, "an address of a download is good for once"
    assert client.ask("GET", "/download/guessed").status == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "10.0.0.1", "0"])
def test_another_host_is_not_answered(client, host):
    for path in ("/", "/page/page.css", "/api/state"):
        assert client.ask("GET", path, Host=host).status == 400


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "LOCALHOST", "[::1]:80"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.ask("GET", "/api/state", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_another_site_is_refused_even_with_the_token(client, noisy, headers):
    for method, path in [("POST", "/api/images?name=a.tif"), ("GET", "/api/state")]:
        assert client.ask(method, path, noisy.read_bytes(), **headers).status == 403
    assert client.ask("POST", "/enter", {"key": client.session.token}, **headers).status == 403
    assert client.get("/api/state")["images"] == []


def test_no_answer_is_open_to_other_sites(client):
    for method, path in [("OPTIONS", "/api/state"), ("GET", "/api/state"), ("GET", "/")]:
        headers = client.ask(method, path).headers
        assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/api/state", "/nothing", "/page/page.js", "/api/events?x"])
def test_every_answer_is_marked(client, path):
    client.headers = {TOKEN: None} if "events" in path else {}
    headers = client.ask("GET", path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert HEADERS.items() <= headers.items()
    assert "server" not in headers
    assert "set-cookie" not in headers


def test_the_page_has_no_inline_script_or_style(client):
    page = client.ask("GET", "/").body.decode()
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page) == []
    everything = page + "".join(
        client.ask("GET", f"/page/{name}").body.decode()
        for name in re.findall(r"/page/([\w.]+)", page)
    )
    assert set(re.findall(r"https?://[\w.]+", everything)) <= {"http://www.w3.org"}


@pytest.mark.parametrize(
    "path",
    ["/page/../server.py", "/page/..%2fserver.py", "/page/%2e%2e/%2e%2e/cli.py", "/page/x.js"],
)
def test_nothing_but_the_page_is_served(client, path):
    assert client.ask("GET", path).status == 404


def test_only_an_address_of_the_network_has_more_names():
    assert names_of("127.0.0.1") == {"localhost", "127.0.0.1", "::1"}
    assert "10.1.2.3" in names_of("10.1.2.3")


def test_in_the_network_numbers_are_answered_and_foreign_names_are_not(serve):
    client = serve(host="0.0.0.0")
    assert client.ask("GET", "/api/state", Host="10.1.2.3:80").status == 200
    assert client.ask("GET", "/api/state", Host="evil.example").status == 400
    assert client.ask("GET", "/api/state", Host="10.1.2.3", **{TOKEN: None}).status == 401


def test_a_second_host_is_not_overlooked(client):
    client.headers = {"host": f"127.0.0.1:{client.port}"}
    assert client.ask("GET", "/", Host="evil.example").status == 400


def test_sessions_close_without_a_server():
    session = Session()
    work = session.work.path
    assert work.stat().st_mode & 0o077 == 0
    session.close()
    assert not work.exists()
