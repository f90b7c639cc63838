"""From an image to its result: the bytes of the command that the page shows."""

import io
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest

from microscopygan.apps.restore_options import RestoreOptions, read_options
from microscopygan.image.formats import Image, open_image, write


def by_command(run_command, monkeypatch, folder: Path, command: str) -> None:
    """Run what the page shows, in the folder of the image."""
    monkeypatch.chdir(folder)
    words = shlex.split(command)
    assert words[0] == "microscopygan"
    code, _, error = run_command(*words[1:], "--quiet")
    assert code == 0, error


def files(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


@pytest.mark.parametrize("name", ["cells.tif", "cells.ome.tif", "cells.png", "cells.npy"])
def test_a_result_is_that_of_the_command(
    client, tmp_path, name, run_command, monkeypatch, write_noisy
):
    source = write_noisy(tmp_path / name)
    (image,) = client.upload(source)
    asked = {"images": [image["id"]], "options": {"defect": "noise", "strength": 0.8}}
    command = client.post("/api/command", asked)["command"]
    client.restored(image, **asked["options"])
    reply = client.download(image)
    assert f"''{name}" in reply.headers["content-disposition"]
    by_command(run_command, monkeypatch, tmp_path, command)
    assert (tmp_path / "restored" / name).read_bytes() == reply.body


@pytest.mark.parametrize("name", ["cells.ome.zarr", "cells.zarr"])
def test_a_zarr_is_sent_and_comes_back_whole(
    client, tmp_path, name, run_command, monkeypatch, write_noisy
):
    source = write_noisy(tmp_path / name, (3, 60, 70), "ZYX")
    (image,) = client.upload(source)
    assert (image["axes"], image["pixelSize"]["Z"]) == ("ZYX", 0.4)
    command = client.post("/api/command", {"images": [image["id"]], "options": {}})["command"]
    client.restored(image)
    reply = client.download(image)
    assert f"''{name}.zip" in reply.headers["content-disposition"]
    zipfile.ZipFile(io.BytesIO(reply.body)).extractall(tmp_path / "unpacked")
    by_command(run_command, monkeypatch, tmp_path, command)
    assert files(tmp_path / "unpacked" / name) == files(tmp_path / "restored" / name)


def test_a_folder_is_restored_in_place(serve, tmp_path, run_command, monkeypatch, write_noisy):
    (tmp_path / "data" / "day 1").mkdir(parents=True)
    source = write_noisy(tmp_path / "data" / "day 1" / "a.ome.zarr", (3, 60, 70), "ZYX")
    client = serve(tmp_path / "data")
    assert client.get("/api/root")["folders"] == [{"name": "day 1", "path": "day 1"}]
    (listed,) = client.get("/api/root?folder=day%201")["images"]
    (image,) = client.post("/api/root", {"paths": [listed["path"]]})["images"]
    asked = {"images": [image["id"]], "options": {"task": "axial"}}
    command = client.post("/api/command", asked)["command"]
    before = files(source)
    assert client.restored(image, task="axial")["saved"]
    result = tmp_path / "data" / "restored" / "day 1" / "a.ome.zarr"
    here = files(result)
    result.rename(tmp_path / "by_page")
    by_command(run_command, monkeypatch, tmp_path / "data", command)
    assert files(result) == here
    assert files(source) == before
    assert client.post("/api/root", {"paths": [listed["path"]]})["images"] == []


def test_what_was_not_made_here_is_not_replaced(serve, tmp_path, write_noisy):
    (tmp_path / "data" / "restored").mkdir(parents=True)
    write_noisy(tmp_path / "data" / "a.tif")
    (tmp_path / "data" / "restored" / "a.tif").write_bytes(b"precious")
    client = serve(tmp_path / "data")
    (image,) = client.post("/api/root", {"paths": ["a.tif"]})["images"]
    asked = {"images": [image["id"]], "options": {}}
    for _ in range(2):
        assert "restored/a_2.tif" in client.post("/api/command", asked)["command"]
        client.restored(image)
    names = sorted(path.name for path in (tmp_path / "data" / "restored").iterdir())
    assert names == ["a.tif", "a_2.tif"]
    assert (tmp_path / "data" / "restored" / "a.tif").read_bytes() == b"precious"


def test_axes_are_asked_where_the_file_is_silent(client, tmp_path, run_command, monkeypatch):
    stack = np.random.default_rng(0).integers(0, 999, (4, 50, 60), np.uint16)
    np.save(tmp_path / "stack.npy", stack)
    (image,) = client.upload(tmp_path / "stack.npy")
    assert (image["state"], image["answers"]) == ("asks", ["ZYX", "TYX", "CYX"])
    refused = client.ask("POST", "/api/restore", {"images": [image["id"]], "options": {}})
    assert refused.status == 400
    assert "stack.npy: say first what its axes are" in refused.json["error"]
    wrong = client.ask("PATCH", f"/api/images/{image['id']}", {"axes": "XX"})
    assert wrong.status == 400
    said = {"axes": "ZYX", "voxelSize": "0.4,0.1,0.1"}
    (told,) = client.ask("PATCH", f"/api/images/{image['id']}", said).json["images"]
    assert told["state"] == "ready"
    asked = {"images": [image["id"]], "options": {"task": "axial"}}
    shown = client.post("/api/command", asked)
    assert "--axes ZYX" in shown["command"]
    assert "--voxel-size 0.4,0.1,0.1" in shown["command"]
    done = client.restored(image, task="axial")
    assert done["key"] == shown["key"]
    reply = client.download(image)
    by_command(run_command, monkeypatch, tmp_path, shown["command"])
    assert (tmp_path / "restored" / "stack.npy").read_bytes() == reply.body


def test_the_axial_task_asks_for_pixel_sizes(client, tmp_path):
    write(tmp_path / "a.ome.tif", Image(np.zeros((3, 40, 40), np.uint8), "ZYX", {}))
    (image,) = client.upload(tmp_path / "a.ome.tif")
    asked = {"images": [image["id"]], "options": {"task": "axial"}}
    (problem,) = client.post("/api/command", asked)["problems"]
    assert "say first how large its pixels are" in problem


def test_the_file_of_options_is_what_restore_reads(client, noisy: Path, tmp_path):
    (image,) = client.upload(noisy)
    options = {"strength": 0.5, "defect": "noise,haze", "threads": "2", "channels": ""}
    shown = client.post("/api/command", {"images": [image["id"]], "options": options})
    (tmp_path / "options.toml").write_text(shown["toml"], "utf-8")
    wanted = RestoreOptions(strength=0.5, defect="noise,haze", threads=2)
    assert read_options(tmp_path / "options.toml") == wanted


def test_several_results_come_as_one_zip(client, tmp_path, write_noisy):
    (tmp_path / "other").mkdir()
    paths = [write_noisy(tmp_path / "a.tif"), write_noisy(tmp_path / "other" / "a.tif")]
    paths += [write_noisy(tmp_path / "b.ome.zarr", (2, 40, 40), "ZYX")]
    images = [image for path in paths for image in client.upload(path)]
    client.post("/api/restore", {"images": [image["id"] for image in images], "options": {}})
    for image in images:
        client.until(image, "done")
    packed = zipfile.ZipFile(io.BytesIO(client.download(*images).body))
    assert packed.testzip() is None
    names = packed.namelist()
    assert names[:2] == ["a.tif", "a_2.tif"]
    assert "b.ome.zarr/zarr.json" in names


def test_the_sample_is_restored(client):
    (image,) = client.post("/api/sample")["images"]
    client.restored(image)
    assert client.download(image).status == 200


def test_a_model_below_the_root_can_be_chosen(serve, tmp_path, noisy, run_command, monkeypatch):
    from microscopygan.restoration.models import MODELS

    run = tmp_path / "data" / "my_run"
    run.mkdir(parents=True)
    (run / "restorer.onnx").write_bytes(MODELS["generalist"].path.read_bytes())
    noisy.rename(tmp_path / "data" / noisy.name)
    client = serve(tmp_path / "data")
    assert client.get("/api/form")["models"] == ["generalist", "my_run/restorer.onnx"]
    assert "noise" in client.get("/api/hints?model=my_run/restorer.onnx")["hints"]
    (image,) = client.post("/api/root", {"paths": [noisy.name]})["images"]
    options = {"model": "my_run/restorer.onnx"}
    command = client.post("/api/command", {"images": [image["id"]], "options": options})["command"]
    client.restored(image, **options)
    written = tmp_path / "data" / "restored" / noisy.name
    here = written.read_bytes()
    written.unlink()
    by_command(run_command, monkeypatch, tmp_path / "data", command)
    assert written.read_bytes() == here


def test_removing_an_image_removes_its_files(client, noisy: Path):
    (image,) = client.upload(noisy)
    client.restored(image)
    assert client.ask("DELETE", f"/api/images/{image['id']}").status == 200
    assert client.get("/api/state")["images"] == []
    work = client.session.work.path
    assert [path for path in work.rglob("*") if path.suffix == ".tif"] == []


def test_no_image_is_named_by_a_folder_of_this_machine(client, tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*\0nothing")
    reply = client.ask("POST", "/api/images?name=bad.tif", (tmp_path / "bad.tif").read_bytes())
    assert reply.status == 400
    assert reply.json["error"].startswith("bad.tif: expected an image")
    assert "/" not in reply.json["error"].replace("I/O", "")
    assert list(client.session.work.path.glob("*/")) == []


def test_a_result_opens_for_the_view(client, noisy: Path):
    (image,) = client.upload(noisy)
    client.restored(image)
    assert open_image(client.session.image(image["id"]).result).array.shape == (96, 120)
