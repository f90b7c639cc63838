"""Journeys of a user with `microscopygan restore`: formats, stacks, folders, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import microscopygan
from microscopygan.gan.networks import build_restorer
from microscopygan.image.formats import Image, open_image, read, write
from microscopygan.model_card import ModelCard
from microscopygan.settings import RestorerArchitecture
from microscopygan.training.export_onnx import export_restorer, receptive_field

SIZES = {"Z": 0.6, "Y": 0.2, "X": 0.2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer with random weights."""
    torch.manual_seed(0)
    network = build_restorer(RestorerArchitecture(channels=(4, 4, 4), blocks=1))
    torch.nn.init.normal_(network.last.weight, std=0.1)
    path = tmp_path_factory.mktemp("model") / "restorer.onnx"
    card = ModelCard(
        program="0", halo=receptive_field(network, 4), multiple=4, defects=("axial", "noise")
    )
    export_restorer(network, path, card)
    return path


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A stack of two channels with all its metadata, as OME-TIFF."""
    array = np.random.default_rng(0).integers(100, 900, (2, 5, 40, 52), dtype=np.uint16)
    image = Image(array, "CZYX", SIZES, None, channels=("DAPI", "GFP"))
    return write(tmp_path / "stack.ome.tif", image)


@pytest.fixture
def restore(model: Path, run_command):
    """Run ``microscopygan restore``; gives (exit code, output, error)."""
    return lambda *arguments: run_command("restore", *arguments, "--model", model)


@pytest.mark.parametrize("name", ["out.ome.tif", "out.tif", "out.ome.zarr", "out.npy"])
def test_every_format_holds_the_same_result(
    restore, model: Path, stack: Path, tmp_path: Path, name: str
) -> None:
    assert restore(stack, "-o", tmp_path / name)[0] == 0
    given = read(stack)
    wanted = microscopygan.restore(given, model=model)
    axes = "CZYX" if name.endswith("npy") else None
    found = read(tmp_path / name, axes=axes)
    order = [found.axes.index(letter) for letter in "CZYX"]
    np.testing.assert_array_equal(found.array.transpose(order), wanted.array)
    if not name.endswith("npy"):
        assert found.pixel_size == pytest.approx(SIZES)
    if ".ome." in name:
        assert found.channels == ("DAPI", "GFP")
        assert found.provenance["restoration"]["input"] == "stack.ome.tif"


def test_patterns_json_and_resume(restore, tmp_path: Path) -> None:
    plate = tmp_path / "plate"
    for number in range(3):
        array = np.random.default_rng(number).integers(0, 255, (32, 40), dtype=np.uint8)
        write(plate / f"{number}.tif", Image(array, "YX"))
    out = tmp_path / "out"
    code, text, _ = restore(plate / "[01].tif", "-o", out, "--json")
    assert code == 0
    lines = [json.loads(line) for line in text.splitlines()]
    assert [Path(about["output"]).name for about in lines] == ["0.tif", "1.tif"]
    assert all(about["pixels"] == 32 * 40 for about in lines)
    code, _, error = restore(plate, "-o", out)
    assert code == 2
    assert "exists" in error
    before = (out / "0.tif").stat().st_mtime_ns
    code, text, _ = restore(plate, "-o", out, "--resume")
    assert code == 0
    assert (out / "0.tif").stat().st_mtime_ns == before
    assert text.splitlines()[0] == "2 of 3 outputs were finished before and are kept."
    assert text.splitlines()[1].split()[0].endswith("2.tif")


def test_an_interrupted_replacement_is_gone_on_with(restore, model, stack, tmp_path: Path) -> None:
    """The command that is advised ends what was begun, and says what it did."""
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt

    out = tmp_path / "out.zarr"
    assert restore(stack, "-o", out, "--strength", 0)[0] == 0
    before, backup = read(out).array, tmp_path / "out.zarr.old"
    backup.mkdir()
    for option in ("--resume", "--overwrite"):
        with pytest.raises(KeyboardInterrupt):
            microscopygan.restore_file(stack, out, model, overwrite=True, progress=stop)
        assert np.array_equal(read(out).array, before)
        code, text, error = restore(stack, "-o", out, "--resume", option)
        assert (code, error) == (0, "")
        assert text.startswith(str(out))
        assert not np.array_equal(read(out).array, before)
        before, calls = read(out).array, 0
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "out.zarr",
            "out.zarr.old",
            "stack.ome.tif",
        ]
        restore(stack, "-o", out, "--strength", 0, "--overwrite")
        before = read(out).array
    code, text, error = restore(stack, "-o", out, "--resume")
    assert (code, error) == (0, "")
    assert text == "1 of 1 outputs were finished before and are kept.\n"


def test_chosen_channels_and_float_output(restore, stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ome.tif"
    assert restore(stack, "-o", out, "--channels", "1", "--dtype", "float32", "--quiet")[0] == 0
    before, after = read(stack).array, read(out).array
    assert after.dtype == np.float32
    np.testing.assert_array_equal(after[0], before[0])
    assert not np.array_equal(after[1], before[1])


def test_stacks_become_isotropic(restore, stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ome.zarr"
    assert restore(stack, "-o", out, "--task", "axial")[0] == 0
    found = open_image(out)
    assert found.array.shape[found.axes.index("Z")] == 13
    assert found.pixel_size == pytest.approx({"Z": 0.2, "Y": 0.2, "X": 0.2})
    kept = tmp_path / "kept.ome.tif"
    assert restore(stack, "-o", kept, "--task", "axial", "--keep-sampling")[0] == 0
    assert read(kept).array.shape == (2, 5, 40, 52)
    assert read(kept).pixel_size == pytest.approx(SIZES)


def test_files_without_axes_get_a_question(restore, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((3, 30, 40)))
    code, _, error = restore(tmp_path / "a.npy", "-o", tmp_path / "b.npy")
    assert code == 2
    assert "--axes" in error
    assert len(error.strip().splitlines()) == 1
    size = ("--axes", "ZYX", "--voxel-size", "2,1,1", "--task", "axial")
    assert restore(tmp_path / "a.npy", "-o", tmp_path / "b.npy", *size)[0] == 0
    assert np.load(tmp_path / "b.npy").shape == (5, 30, 40)


@pytest.mark.slow
def test_two_workers_give_the_bytes_of_one(restore, stack: Path, tmp_path: Path) -> None:
    """Slow (about 5 s): two processes start."""
    one, two = tmp_path / "one.ome.zarr", tmp_path / "two.ome.zarr"
    assert restore(stack, "-o", one)[0] == 0
    assert restore(stack, "-o", two, "--workers", "2", "--memory", "1GB")[0] == 0
    files = {p.relative_to(one) for p in one.rglob("*/c/**/*") if p.is_file()}
    assert files
    assert all((one / p).read_bytes() == (two / p).read_bytes() for p in files)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--memory", "much"), "memory"),
        (("--memory", "1MB"), "memory"),
        (("--channels", "a"), "channels"),
        (("--channels", "7"), "channels"),
        (("--voxel-size", "0,1,1"), "voxel size"),
        (("--task", "sharpen"), "'sharpen' is not one of 'plane', 'axial'"),
        (("--intensity", "tile"), "'volume', 'frame', 'image', 'none'"),
        (("--dtype", "uint8"), "'same', 'float32'"),
        (("--axes", "ZYX"), "axes"),
        (("--device", "abacus"), "device"),
        (("--workers", "2"), "zarr"),
        (("--keep-sampling",), "keep sampling"),
    ],
)
def test_bad_options_get_one_line(restore, stack: Path, tmp_path: Path, arguments, line) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, _, error = restore(stack, "-o", tmp_path / "out.tif", *arguments)
    assert code == 2
    assert line in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_image_is_not_its_own_output(restore, stack: Path) -> None:
    before = stack.read_bytes()
    code, _, error = restore(stack, "-o", stack, "--overwrite")
    assert code == 2
    assert "the output is the input" in error
    assert stack.read_bytes() == before


def test_out_of_the_box(run_command, stack: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = stack.read_bytes()
    assert run_command("restore", stack)[0] == 0
    assert stack.read_bytes() == before
    found = read(tmp_path / "restored" / "stack.ome.tif")
    assert found.array.shape == (2, 5, 40, 52)
    about = found.provenance["restoration"]["model"]
    assert (about["file"], about["hint"], about["strength"]) == ("generalist.onnx", [], 1.0)
    hint = ("--defect", "noise,axial", "--strength", 0.5)
    assert run_command("restore", stack, "-o", "hint.ome.tif", *hint)[0] == 0
    other = read(tmp_path / "hint.ome.tif")
    about = other.provenance["restoration"]["model"]
    assert (about["hint"], about["strength"]) == (["noise", "axial"], 0.5)
    assert not np.array_equal(other.array, found.array)
    assert run_command("restore", stack, "-o", "same.tif", "--strength", 0)[0] == 0
    given = read(stack)
    same = read(tmp_path / "same.tif")
    order = [same.axes.index(letter) for letter in given.axes]
    np.testing.assert_array_equal(same.array.transpose(order), given.array)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--defect", "blur"), "jpeg, saturation, got 'blur'"),
        (("--strength", 2), "strength: expected a value less than or equal to 1, got 2"),
    ],
)
def test_bad_hints_get_one_line(run_command, stack: Path, tmp_path: Path, arguments, line) -> None:
    code, _, error = run_command("restore", stack, "-o", tmp_path / "out.tif", *arguments)
    assert code == 2
    assert line in error.replace("\n", " ")
    assert not (tmp_path / "out.tif").exists()
