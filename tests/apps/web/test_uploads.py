"""What is sent: plain names of images, no more than is allowed, nothing half."""

import http.client
import json
import struct
import tempfile
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from microscopygan.apps.web.guard import TOKEN
from microscopygan.apps.web.uploads import Receiver, check_image_name, check_name, inner_place
from microscopygan.image.formats import Image, write

BROKEN = Path(__file__).parents[2] / "broken_files"
BAD = [
    "../a.tif", "..\\a.tif", "/etc/a.tif", "a/b.tif", "C:a.tif", ".hidden.tif", "", ".", "..",
    "a\0.tif", "a\n.tif", "con.tif", "LPT1.tif", "a.tif ", "a.tif.", "x" * 300 + ".tif", "a?.tif",
    "a\u202e.tif",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_plain_name_is_refused(name):
    with pytest.raises(ValueError, match="expected"):
        check_name(name)


@pytest.mark.parametrize("name", ["a.exe", "a.py", "a.html", "a", "a.tif.exe", "a.svg", "a.zip"])
def test_what_is_no_image_by_its_name_is_refused(client, name):
    reply = client.ask("POST", f"/api/images?name={name}", b"x")
    assert (reply.status, list(client.session.work.path.glob("*/"))) == (400, [])


@pytest.mark.parametrize("name", ["Zellen ä (3).ome.tif", "<b>&amp;.tif", "a#1.tif"])
def test_other_names_are_kept(name):
    if "<" in name:
        with pytest.raises(ValueError, match="plain name"):
            check_image_name(name)
    else:
        assert check_image_name(name) == name


def test_files_lie_in_folders_of_random_names(client, noisy: Path):
    client.upload(noisy)
    client.upload(noisy)
    folders = {path.parent.name for path in client.session.work.path.rglob("cells.tif")}
    assert len(folders) == 2
    assert all(len(name) == 32 for name in folders)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//b", "", "a\\b", ".ssh/x", "./x"])
def test_no_file_of_a_zarr_leaves_it(client, tmp_path, path):
    with pytest.raises(ValueError, match="expected"):
        inner_place(tmp_path, path)
    key = client.post("/api/folders", {"name": "a.zarr", "files": 1})["id"]
    before = sorted(tmp_path.rglob("x"))
    quoted = path.replace("\\", "%5C")
    assert client.ask("PUT", f"/api/folders/{key}?path={quoted}", b"x").status == 400
    assert sorted(tmp_path.rglob("x")) == before


def test_a_zarr_does_not_reach_out_of_its_folder(client, tmp_path, write_noisy):
    """Its metadata may name any path as the place of its pixels."""
    secret = write_noisy(client.session.work.path / "secret.zarr", (2, 40, 40), "ZYX")
    source = write_noisy(tmp_path / "a.ome.zarr", (2, 40, 40), "ZYX")
    about = (source / "zarr.json").read_text("utf-8")
    (source / "zarr.json").write_text(about.replace('"path": "0"', '"path": "../../secret.zarr/0"'))
    reply = client.send(source)
    assert reply.status == 400, reply.body
    assert client.get("/api/state")["images"] == []
    assert secret.exists()


def test_a_folder_of_n5_is_an_image(client, tmp_path):
    plane = np.random.default_rng(0).integers(0, 999, (40, 50), dtype=np.uint16)
    about = {"dimensions": [50, 40], "blockSize": [50, 40], "dataType": "uint16"}
    about |= {"compression": {"type": "raw"}}
    block = struct.pack(">HHII", 0, 2, 50, 40) + plane.astype(">u2").tobytes()
    folder = tmp_path / "a.n5"
    (folder / "0").mkdir(parents=True)
    (folder / "attributes.json").write_text(json.dumps(about))
    (folder / "0/0").write_bytes(block)
    assert client.send(folder).status == 200
    (image,) = client.get("/api/state")["images"]
    assert image["name"] == "a.n5"


def test_a_file_of_a_zarr_is_sent_once(client):
    key = client.post("/api/folders", {"name": "a.zarr", "files": 1})["id"]
    assert client.ask("PUT", f"/api/folders/{key}?path=zarr.json", b"x").status == 200
    assert client.ask("PUT", f"/api/folders/{key}?path=zarr.json", b"y").status == 400
    assert client.ask("POST", "/api/folders", {"name": "a.zarr", "files": 10**6}).status == 400


def test_more_than_is_allowed_is_refused_as_it_comes(client, monkeypatch, noisy):
    client.session.receiver = Receiver(largest=10_000)
    reply = client.ask("POST", "/api/images?name=a.tif", noisy.read_bytes())
    assert reply.status == 400
    assert "--root FOLDER" in reply.json["error"] or "“Root”" in reply.json["error"]
    assert list(client.session.work.path.glob("*/")) == []
    key = client.post("/api/folders", {"name": "a.zarr", "files": 2})["id"]
    assert client.ask("PUT", f"/api/folders/{key}?path=a", b"x" * 6000).status == 200
    assert client.ask("PUT", f"/api/folders/{key}?path=b", b"x" * 6000).status == 400


def test_a_full_disk_is_said(client, noisy, monkeypatch):
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("microscopygan.apps.web.uploads.shutil.disk_usage", lambda _: full)
    reply = client.ask("POST", "/api/images?name=a.tif", noisy.read_bytes())
    assert "disk for temporary files is full" in reply.json["error"]
    assert list(client.session.work.path.glob("*/")) == []


def test_an_upload_that_breaks_off_leaves_nothing(client):
    def until(there: bool) -> None:
        end = time.monotonic() + 20
        while bool(list(client.session.work.path.glob("*/"))) != there:
            assert time.monotonic() < end
            time.sleep(0.005)

    connection = http.client.HTTPConnection("127.0.0.1", client.port)
    connection.putrequest("POST", "/api/images?name=a.tif")
    connection.putheader(TOKEN, client.session.token)
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"only the beginning")
    until(there=True)
    connection.close()
    until(there=False)


def test_many_at_once_are_all_there(client, tmp_path, write_noisy):
    paths = [write_noisy(tmp_path / f"{k}.tif", (300, 300)) for k in range(20)]
    threads = [threading.Thread(target=client.upload, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    images = client.get("/api/state")["images"]
    assert sorted(one["name"] for one in images) == sorted(path.name for path in paths)
    for one in images:
        source = client.session.image(one["id"]).source
        assert source.read_bytes() == (tmp_path / one["name"]).read_bytes()


def png(width: int, height: int) -> bytes:
    """A PNG of zeros: a few bytes for any number of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    row = zlib.compress(bytes(10**6) * 20)
    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", row) + end


def test_a_bomb_is_not_decoded(client, tmp_path):
    reply = client.ask("POST", "/api/images?name=bomb.png", png(40_000, 40_000))
    assert reply.status == 400
    assert "bomb.png: expected pixels in proportion" in reply.json["error"]
    zeros = Image(np.zeros((1, 64, 64), np.uint16), "ZYX")
    write(tmp_path / "b.zarr", zeros)
    path = tmp_path / "b.zarr" / "0" / "zarr.json"
    about = path.read_text("utf-8").replace('"shape":[1,64,64]', '"shape":[9999,9999,64]')
    about = about.replace('"shape": [\n    1,\n    64,\n    64\n  ]', '"shape": [99999, 9999, 64]')
    path.write_text(about, "utf-8")
    assert "in proportion" in client.send(tmp_path / "b.zarr").json["error"]
    assert list(client.session.work.path.glob("*/")) == []


def test_damaged_files_get_one_line(client):
    """Each is refused, or is opened and shown as far as it is whole."""
    paths = [path for path in BROKEN.iterdir() if path.suffix not in (".py", ".md")]
    assert len(paths) > 20
    for path in paths:
        reply = client.send(path)
        assert reply.status in (200, 400), path
        assert reply.status == 200 or tempfile.gettempdir() not in reply.json["error"], path
        for image in reply.json.get("images", []):
            pixels = client.ask("GET", f"/api/images/{image['id']}/pixels?rows=8&columns=8")
            assert pixels.status in (200, 400), path
            assert pixels.status == 200 or list(pixels.json) == ["error"], path
