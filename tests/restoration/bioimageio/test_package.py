"""A package passes BioImage.IO's own test, restores as this program does, and is read back."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from microscopygan.image.formats import Image, read, write
from microscopygan.image.intensity import AffineMap
from microscopygan.model_card import KEY
from microscopygan.restoration.api import restore, restore_file
from microscopygan.restoration.bioimageio.package import export_bioimageio, parse_scale
from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import MODELS

SHAPES = ((97, 131), (73, 64), (255, 201))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generalist, blind, with percentiles of each image."""
    path = tmp_path_factory.mktemp("package") / "generalist.zip"
    assert export_bioimageio("generalist", path, psnr=MODELS["generalist"].psnr) <= 1e-5
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def description(path: Path) -> dict:
    return yaml.safe_load(members(path)["rdf.yaml"])


def plane_of(shape: tuple[int, int]) -> np.ndarray:
    """Blurred structures, with noise, on a far offset."""
    rng = np.random.default_rng(sum(shape))
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = 1 + np.sin(y / 9) * np.cos(x / 7)
    return (rng.poisson(light * 40) * 11 + 1000).astype(np.uint16)


CORE = """
import json, sys
import numpy as np
import socket

def refuse(*_):
    raise OSError("no connection")

socket.socket.connect = refuse
from bioimageio.core import load_model_description, predict, test_model

package, folder, number, tiled = *sys.argv[1:3], *map(int, sys.argv[3:])
model = load_model_description(package)
for k in range(number):
    plane = np.load(f"{folder}/{k}.npy").astype(np.float32)[None, None]
    for blocks in (None, 3) if tiled else (None,):
        found = predict(model=model, inputs={"image": plane}, blocksize_parameter=blocks)
        np.save(f"{folder}/{k}_{blocks}.npy", found.members["restored"].data.to_numpy())
summary = test_model(package)
failed = [detail.name for detail in summary.details if detail.status != "passed"]
print(json.dumps({"status": summary.status, "failed": failed}))
"""


def core(package: Path, folder: Path, number: int, *, tiled: bool = False) -> dict:
    """Let BioImage.IO's core test a package and predict images, offline."""
    if not find_spec("bioimageio") or not find_spec("bioimageio.core"):
        pytest.skip("bioimageio.core is not installed")
    done = subprocess.run(
        [sys.executable, "-c", CORE, str(package), str(folder), str(number), str(int(tiled))],
        env=os.environ | {"BIOIMAGEIO_CACHE_PATH": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_core_passes_it_and_predicts_what_restore_gives(package: Path, tmp_path: Path) -> None:
    """Slow (about 10 s): another program starts and runs its own test."""
    for k, shape in enumerate(SHAPES):
        np.save(tmp_path / f"{k}.npy", plane_of(shape))
    assert core(package, tmp_path, len(SHAPES)) == {"status": "passed", "failed": []}
    for k, shape in enumerate(SHAPES):
        expected = restore(plane_of(shape), dtype="float32")
        found = np.load(tmp_path / f"{k}_None.npy")[0, 0]
        assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


@pytest.mark.slow
def test_core_passes_the_one_that_is_tiled(model: Path, tmp_path: Path) -> None:
    """Slow (about 8 s): another program starts and runs its own test."""
    path, scale = tmp_path / "fixed.zip", AffineMap(1000.0, 900.0)
    export_bioimageio(model, path, scale=scale)
    about = description(path)
    (y, x) = about["outputs"][0]["axes"][2:]
    restorer = Restorer(model)
    assert y["halo"] == x["halo"] == -(-restorer.card.halo[0] // 4) * 4
    assert about["inputs"][0]["axes"][2]["size"]["step"] == restorer.card.multiple
    assert about["config"]["deepimagej"]["allow_tiling"]
    np.save(tmp_path / "0.npy", plane_of((120, 164)))
    assert core(path, tmp_path, 1, tiled=True) == {"status": "passed", "failed": []}
    expected = scale.undo(restorer.restore_plane(scale.apply(plane_of((120, 164)))))
    found = np.load(tmp_path / "0_None.npy")[0, 0]
    tiles = np.load(tmp_path / "0_3.npy")[0, 0]
    assert np.abs(tiles - found).max() <= 1e-5 * np.ptp(expected)
    inside = (slice(y["halo"], -y["halo"]),) * 2  # core mirrors what is outside of the image
    assert np.abs(found - expected)[inside].max() <= 1e-5 * np.ptp(expected)


def test_it_describes_what_it_holds(package: Path) -> None:
    content, about = members(package), description(package)
    (source,), (target,) = about["inputs"], about["outputs"]
    for file in (
        about["attachments"][0],
        about["weights"]["onnx"],
        source["test_tensor"],
        target["test_tensor"],
    ):
        assert hashlib.sha256(content[file["source"]]).hexdigest() == file["sha256"]
    network = onnx.load_from_string(content["network.onnx"])
    assert network.opset_import[0].version == about["weights"]["onnx"]["opset_version"] <= 18
    assert [each.name for each in network.graph.input] == [source["id"]]
    assert [each.name for each in network.graph.output] == [target["id"]]
    assert not any("halo" in axis for axis in target["axes"])
    test_image = np.load(io.BytesIO(content["test_image.npy"]))
    assert test_image.shape == np.load(io.BytesIO(content["test_restored.npy"])).shape
    assert "# Validation" in content["README.md"].decode()
    before, after = MODELS["generalist"].psnr["noise"]
    assert f"| noise | {before:.2f} | {after:.2f} |" in content["README.md"].decode()
    assert content["cover.png"].startswith(b"\x89PNG")
    width, height = (int.from_bytes(content["cover.png"][k : k + 4], "big") for k in (16, 20))
    assert width == 2 * height
    assert about["license"] == "MIT"
    assert content["restorer.onnx"] == Restorer().path.read_bytes()


def test_equal_models_give_equal_packages(package: Path, tmp_path: Path) -> None:
    export_bioimageio("generalist", tmp_path / "again.zip", psnr=MODELS["generalist"].psnr)
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()


def test_it_is_read_back_with_hints_and_tiles(package: Path, tmp_path: Path) -> None:
    back = Restorer(package, defect="noise", strength=0.6)
    own = Restorer(defect="noise", strength=0.6)
    assert back.card.halo == own.card.halo
    assert back.card.hints == own.card.hints
    stack = np.stack([plane_of((90, 70)), plane_of((90, 70)).T[:90, :70].repeat(2, 0)[:90]])
    assert np.array_equal(
        restore(stack, model=back, axes="ZYX"), restore(stack, model=own, axes="ZYX")
    )
    assert np.array_equal(
        back.restore_plane(stack[0] / 2000, tile=64), own.restore_plane(stack[0] / 2000, tile=64)
    )
    write(tmp_path / "stack.ome.zarr", Image(stack, "ZYX", {}))
    restore_file(tmp_path / "stack.ome.zarr", tmp_path / "two.ome.zarr", package, workers=2)
    assert np.array_equal(
        read(tmp_path / "two.ome.zarr").array, restore(Image(stack, "ZYX", {})).array
    )


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_every_version_are_exported(restorer: Restorer, tmp_path: Path, version) -> None:
    stated = json.loads(restorer.card.model_dump_json(exclude={"sha256"}))
    if version == 1:
        for name in ("name", "planes", "outputs", "bytes_per_pixel", "parameters"):
            del stated[name]
        stated |= {"halo": stated["halo"][0], "format_version": 1}
    file = onnx.load(restorer.path)
    onnx.helper.set_model_props(file, {KEY: json.dumps(stated)})
    onnx.save(file, tmp_path / "my_model.onnx")
    assert export_bioimageio(tmp_path / "my_model.onnx", tmp_path / "model.zip") <= 1e-5
    plane = plane_of((60, 75))
    expected = restore(plane, model=restorer)
    assert np.array_equal(restore(plane, model=tmp_path / "model.zip"), expected)
    name = "my_model" if version == 1 else restorer.card.name
    assert description(tmp_path / "model.zip")["name"] == f"MicroscopyGAN {name}"


def test_an_image_of_ones_own_is_shown(model: Path, tmp_path: Path) -> None:
    stack = np.stack([plane_of((90, 300)) + k for k in range(3)])
    write(tmp_path / "stack.ome.tif", Image(stack, "ZYX", {}))
    export_bioimageio(model, tmp_path / "model.zip", image=tmp_path / "stack.ome.tif")
    content = members(tmp_path / "model.zip")
    shown = np.load(io.BytesIO(content["test_image.npy"]))
    assert np.array_equal(shown[0, 0], stack[1][:, 22:278])
    assert "truth of the test image is not known" in content["README.md"].decode()


def test_refusals(model: Path, package: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.zip"):
        export_bioimageio(model, tmp_path / "model.onnx")
    with pytest.raises(FileExistsError, match="exists"):
        export_bioimageio(model, package)
    with pytest.raises(ValueError, match="takes no hints"):
        export_bioimageio(model, tmp_path / "model.zip", defect="noise")
    write(tmp_path / "small.tif", Image(plane_of((40, 15)), "YX", {}))
    with pytest.raises(ValueError, match="at least 16 pixels a side"):
        export_bioimageio(model, tmp_path / "model.zip", image=tmp_path / "small.tif")
    np.save(tmp_path / "nan.npy", np.full((40, 40), np.nan, np.float32))
    with pytest.raises(ValueError, match="finite"):
        export_bioimageio(model, tmp_path / "model.zip", image=tmp_path / "nan.npy")
    assert not (tmp_path / "model.zip").exists()


@pytest.mark.slow
def test_the_page_runs_it_without_this_program(package: Path, tmp_path: Path) -> None:
    """Slow (about 3 s): a process of its own, in which this package cannot be imported."""
    page = Path(__file__).parents[3] / "docs" / "bioimageio.md"
    (script,) = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    shutil.copy(package, tmp_path / "model.zip")
    write(tmp_path / "my_image.tif", Image(plane_of((91, 77)), "YX", {}))
    code = f"import sys; sys.modules['microscopygan'] = None\n{script}"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = restore(plane_of((91, 77)), dtype="float32")
    found = read(tmp_path / "restored_plane.tif").array[:]
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("text", ["", "1", "5,5", "7,3", "1,2,3", "nan,1", "0,inf", "-1e308,1e308"])
def test_scales_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected image, or the intensities"):
        parse_scale(text)


def test_scales() -> None:
    assert parse_scale("image") is None
    assert parse_scale("-10, 90") == AffineMap(-10, 100)


def test_the_command(package: Path, tmp_path: Path, run_command) -> None:
    path = tmp_path / "model.zip"
    code, shown, _ = run_command("export", "generalist", "-o", path)
    assert code == 0
    assert str(path) in shown.replace("\n", "")
    assert path.read_bytes() == package.read_bytes()
    assert run_command("export", "generalist", "-o", path)[0] == 2
    write(tmp_path / "image.tif", Image(plane_of((60, 70)), "YX", {}))
    done = run_command("restore", tmp_path / "image.tif", "-o", tmp_path / "o.tif", "--model", path)
    assert done[0] == 0
    expected = restore(plane_of((60, 70)))
    assert np.array_equal(read(tmp_path / "o.tif").array, expected)
