"""Answers that have no other page of their own."""

import http.client
import json
from contextlib import closing

import pytest

from microscopygan.apps.restore_options import RestoreOptions
from microscopygan.apps.web.guard import TOKEN
from microscopygan.settings import COMMON


def test_events_tell_each_change(client, tmp_path, write_noisy):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    with closing(connection):
        connection.request("GET", "/api/events", headers={TOKEN: client.session.token})
        stream = connection.getresponse()
        assert stream.getheader("content-type").startswith("text/event-stream")

        def following() -> dict:
            while not (line := stream.readline()).startswith(b"data: "):
                assert line, "the stream ended"
            return json.loads(line[6:])

        assert following()["images"] == []
        (image,) = client.upload(write_noisy(tmp_path / "a.tif", (1500, 1500)))
        client.post("/api/restore", {"images": [image["id"]], "options": {}})
        seen = []
        while "done" not in seen:
            seen += [one["state"] for one in following()["images"]]
        assert "restoring" in seen
        stream.close()


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"[" * 100_000, b'{"images": 3}'])
def test_what_is_no_request_gets_one_line(client, body):
    for path in ("/api/restore", "/api/command", "/api/root", "/api/folders", "/enter"):
        reply = client.ask("POST", path, body)
        assert reply.status in (400, 401), (path, reply.body)
        assert list(reply.json) == ["error"]


def test_long_requests_are_cut_off(client):
    reply = client.ask("POST", "/api/restore", b" " * 10**6)
    assert (reply.status, "long" in reply.json["error"]) == (400, True)


@pytest.mark.parametrize(
    "query",
    ["rows=x", "rows=-1&columns=9", "rows=9&columns=9&step=0", "rows=9&columns=9&top=999", "T=1e9"],
)
def test_parts_that_cannot_be_shown(client, noisy, query):
    (image,) = client.upload(noisy)
    assert client.ask("GET", f"/api/images/{image['id']}/pixels?{query}").status == 400


def test_what_is_not_there_any_more(client):
    for method, path in [
        ("GET", "/api/images/x/pixels"),
        ("DELETE", "/api/images/x"),
        ("PATCH", "/api/images/x"),
        ("POST", "/api/stop"),
        ("POST", "/api/folders/x"),
    ]:
        assert client.ask(method, path, {"image": "x"}).status == 404
    assert client.ask("PUT", "/api/state", {}).status == 405
    assert client.ask("GET", "/api/nothing").status == 404


def test_the_form_has_the_fields_of_the_command_line(client):
    form = client.get("/api/form")
    names = [field["name"] for field in form["fields"]]
    assert names[:2] == ["strength", "task"]
    apart = {"model", "defect", "axes", "voxel_size", "workers", "scheduler", "timeout"}
    apart |= {"compression", "pyramid", "ngff"}
    assert set(names) == RestoreOptions.model_fields.keys() - apart
    choices = {field["name"]: field["choices"] for field in form["fields"]}
    assert choices["task"] == ["plane", "axial"]
    assert form["models"] == ["generalist"]
    told = client.get("/api/hints?model=generalist")
    assert set(told["common"]) == set(COMMON) < set(told["hints"])
