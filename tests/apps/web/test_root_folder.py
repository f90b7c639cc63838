"""Only what lies below the root is named, listed or opened."""

from pathlib import Path

import pytest

from microscopygan.apps.web.root_folder import RootFolder

OUTSIDE = [
    "../secret.tif", "a/../../secret.tif", "/etc/passwd", "..", "link.tif", "linked",
    "linked/secret.tif", "..\\secret.tif", "C:/secret.tif", "a\0b", "missing.tif",
    "%2e%2e/secret.tif", "x" * 5000,
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, write_noisy) -> Path:
    """A folder with an image, and links that lead out of it."""
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    write_noisy(folder / "a" / "b.tif")
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden.tif").write_bytes(b"x")
    (tmp_path / "private").mkdir()
    write_noisy(tmp_path / "private" / "secret.tif")
    write_noisy(tmp_path / "secret.tif")
    (folder / "link.tif").symlink_to(tmp_path / "secret.tif")
    (folder / "linked").symlink_to(tmp_path / "private")
    (folder / "loop").symlink_to(folder / "loop")
    return folder


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_is_reached(data: Path, path: str):
    with pytest.raises(ValueError, match="expected an image of the folder"):
        RootFolder.of(data).resolve(path)


def test_the_server_opens_and_lists_nothing_outside(serve, data: Path):
    client = serve(data)
    for path in OUTSIDE:
        assert client.ask("POST", "/api/root", {"paths": [path]}).status == 400
    for folder in ("..", "linked", "a/../..", "/"):
        assert client.ask("GET", f"/api/root?folder={folder}").status == 400
    assert client.get("/api/state")["images"] == []
    listed = client.get("/api/root")
    assert [one["name"] for one in listed["folders"]] == ["a"]
    assert listed["images"] == []


def test_without_a_root_there_is_nothing(client):
    assert client.ask("GET", "/api/root").status == 400
    assert client.ask("POST", "/api/root", {"paths": ["/etc/passwd"]}).status == 400


def test_a_set_of_files_that_reaches_out_is_opened_alone(data: Path, tmp_path):
    root = RootFolder.of(data)
    assert root.holds_all_of(root.resolve("a/b.tif"))


def test_images_and_models_are_listed(data: Path):
    root = RootFolder.of(data)
    entries = root.entries("a")
    assert [one["path"] for one in entries["images"]] == ["a/b.tif"]
    (data / "a" / "c.n5" / "setup0").mkdir(parents=True)
    entries = root.entries("a")
    assert [one["path"] for one in entries["images"]] == ["a/b.tif", "a/c.n5"]
    with pytest.raises(ValueError, match="expected a folder"):
        root.entries("a/c.n5")
    (data / "a" / "restorer.onnx").write_bytes(b"x")
    assert root.models() == ["a/restorer.onnx"]


def test_a_model_outside_is_refused(serve, data: Path, tmp_path):
    client = serve(data)
    (image,) = client.post("/api/root", {"paths": ["a/b.tif"]})["images"]
    for model in (str(tmp_path / "x.onnx"), "../x.onnx", "a/b.tif"):
        asked = {"images": [image["id"]], "options": {"model": model}}
        assert client.ask("POST", "/api/restore", asked).status == 400


def test_results_of_a_folder_that_is_read_only_are_downloaded(serve, data: Path, monkeypatch):
    client = serve(data)
    monkeypatch.setattr("microscopygan.apps.web.session.os.access", lambda *_: False)
    (image,) = client.post("/api/root", {"paths": ["a/b.tif"]})["images"]
    assert not client.restored(image)["saved"]
    assert not (data / "restored").exists()
    assert client.download(image).status == 200


def test_no_such_folder(tmp_path):
    with pytest.raises(ValueError, match="--root: expected a folder"):
        RootFolder.of(tmp_path / "nowhere")
