"""One at a time, in turn, stopped at once; previews are parts of the result."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from microscopygan.image.formats import open_image


@pytest.fixture
def large(tmp_path: Path, write_noisy) -> Path:
    return write_noisy(tmp_path / "large.tif", (2000, 2000))


def test_images_are_restored_in_turn(client, tmp_path, write_noisy):
    images = [client.upload(write_noisy(tmp_path / f"{k}.tif"))[0] for k in range(4)]
    client.post("/api/restore", {"images": [image["id"] for image in images], "options": {}})
    while (now := client.get("/api/state")["images"])[-1]["state"] != "done":
        states = [one["state"] for one in now]
        assert states.count("restoring") <= 1
        assert states == sorted(states, key=["done", "restoring", "waiting"].index)
    assert all(0 <= one["share"] <= 1 for one in now)


def test_a_stop_is_prompt_and_leaves_nothing(client, large: Path, noisy: Path):
    (image,), (other,) = client.upload(large), client.upload(noisy)
    asked = {"images": [image["id"], other["id"]], "options": {}}
    client.post("/api/restore", asked)
    while client.state(image)["share"] == 0:
        time.sleep(0.01)
    begun = time.perf_counter()
    client.post("/api/stop", {"image": image["id"]})
    client.until(image, "stopped")
    assert time.perf_counter() - begun < 3  # of a busy machine; a window of the network
    client.until(other, "done")
    results = client.session.work.path.rglob("restored/*/*")
    assert [path.name for path in results] == ["cells.tif"]
    assert client.ask("POST", "/api/downloads", {"images": [image["id"]]}).status == 400


def test_all_are_stopped_at_once(client, large: Path, tmp_path, write_noisy):
    images = [client.upload(path)[0] for path in (large, write_noisy(tmp_path / "b.tif"))]
    client.post("/api/restore", {"images": [image["id"] for image in images], "options": {}})
    client.post("/api/stop", {})
    for image in images:
        client.until(image, "stopped")


def test_what_is_being_restored_can_be_removed(client, large: Path):
    (image,) = client.upload(large)
    client.post("/api/restore", {"images": [image["id"]], "options": {}})
    client.until(image, "restoring")
    assert client.ask("DELETE", f"/api/images/{image['id']}").status == 200
    assert list(client.session.work.path.glob("*/")) == []


def test_what_fails_says_why_and_the_next_goes_on(client, noisy: Path, tmp_path, write_noisy):
    (bad,), (good,) = client.upload(noisy), client.upload(write_noisy(tmp_path / "good.tif"))
    source = client.session.image(bad["id"]).source
    source.write_bytes(source.read_bytes()[:4000])
    client.post("/api/restore", {"images": [bad["id"], good["id"]], "options": {}})
    failed = client.until(bad, "failed")
    assert failed["message"].startswith("cells.tif: expected")
    assert "/" not in failed["message"]
    client.until(good, "done")


def test_a_preview_is_a_part_of_the_result(client, tmp_path, write_noisy):
    path = write_noisy(tmp_path / "stack.ome.tif", (3, 80, 90), "ZYX")
    (image,) = client.upload(path)
    options = {"defect": "noise"}
    asked = {"options": options, "index": {"Z": 2, "Y": 40, "X": 45}}
    reply = client.ask("POST", f"/api/images/{image['id']}/preview", asked)
    assert json.loads(reply.headers["x-place"]) == {"Z": 2, "Y": 0, "X": 0}
    shape = [int(n) for n in reply.headers["x-shape"].split(",")]
    shown = np.frombuffer(reply.body, reply.headers["x-type"]).reshape(shape)
    client.restored(image, **options)
    whole = open_image(client.session.image(image["id"]).result).array
    assert np.array_equal(shown, np.asarray(whole[2]))


def test_a_preview_makes_way(client, large: Path, noisy: Path):
    (image,) = client.upload(large)
    (other,) = client.upload(noisy)
    statuses = []

    def ask() -> None:
        asked = {"options": {}, "index": {}}
        statuses.append(client.ask("POST", f"/api/images/{image['id']}/preview", asked).status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    client.restored(other)
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}
    assert 409 in statuses


def test_options_of_another_machine_are_refused(client, noisy: Path):
    """A scheduler would be called at any address; processes and files are the server's."""
    (image,) = client.upload(noisy)
    wrong = [{"scheduler": "tcp://evil.example:1"}, {"workers": 9}, {"axes": "YX"}, {"x": 1}]
    wrong += [{"strength": 7}, {"device": "abacus"}, {"model": "/etc/passwd"}, {"memory": "many"}]
    for options in wrong:
        asked = {"images": [image["id"]], "options": options}
        for path in ("/api/restore", "/api/command"):
            reply = client.ask("POST", path, asked)
            assert (reply.status, list(reply.json)) == (400, ["error"]), options
    assert client.state(image)["state"] == "ready"
