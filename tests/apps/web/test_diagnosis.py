"""What is wrong is what the command line says, and its report comes as a file."""

import json
import sys
from pathlib import Path

import pytest


def diagnosed(client, image: dict) -> dict:
    return client.post(f"/api/images/{image['id']}/diagnosis", {"options": {}})


def test_it_is_what_the_command_says(client, run_command):
    (image,) = client.post("/api/sample")["images"]
    shown = diagnosed(client, image)
    source = client.session.image(image["id"]).source
    code, output, _ = run_command("diagnose", source, "--json")
    assert code == 0
    (channel,) = json.loads(output)["channels"]
    words = [one["words"] for one in channel["findings"]]
    assert [one["words"] for one in shown["channels"][0]["findings"]] == words
    assert shown["hints"] == channel["hints"]
    assert "noise" in shown["hints"]
    assert "--" not in json.dumps(shown), "options are called as on the page"


def test_the_report_is_one_file_of_the_users_name(client):
    (image,) = client.post("/api/sample")["images"]
    path = f"/api/images/{image['id']}/report"
    assert client.ask("POST", path, {}).status == 400, "there is none yet"
    diagnosed(client, image)
    reply = client.ask("GET", client.post(path)["url"])
    assert reply.headers["content-type"] == "application/octet-stream"
    assert "''dsb2018_095_noise_diagnosis.html" in reply.headers["content-disposition"]
    assert reply.body.lower().startswith(b"<!doctype html>")
    assert str(client.session.work.path).encode() not in reply.body
    client.ask("DELETE", f"/api/images/{image['id']}")
    assert list(client.session.work.path.glob("*.html")) == []


def test_a_question_comes_first(client, tmp_path: Path, write_noisy):
    (image,) = client.upload(write_noisy(tmp_path / "stack.npy", (3, 64, 64), "ZYX"))
    reply = client.ask("POST", f"/api/images/{image['id']}/diagnosis", {"options": {}})
    assert reply.status == 400
    assert "say first what its axes are" in reply.json["error"]


@pytest.mark.parametrize("package", ["scipy", "skimage"])
def test_what_it_needs_is_said(client, noisy: Path, monkeypatch, package):
    (image,) = client.upload(noisy)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("microscopygan.apps.extras.find_spec", lambda name: name != package or None)
    reply = client.ask("POST", f"/api/images/{image['id']}/diagnosis", {"options": {}})
    assert reply.status == 400
    assert "pip install 'microscopygan[evaluate]'" in reply.json["error"]
