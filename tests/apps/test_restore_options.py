"""Options of restoring: the same from the command line, a file and the environment."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from microscopygan.apps.cli import app
from microscopygan.apps.restore_options import RestoreOptions, combine_options, read_options
from microscopygan.image.formats import Image, read, write

names = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1)
some = st.builds(
    dict,
    model=names,
    defect=st.none() | st.just("noise,axial"),
    strength=st.floats(0, 1),
    task=st.sampled_from(["plane", "axial"]),
    axes=st.none() | st.just("ZYX"),
    voxel_size=st.none() | st.just("0.5,0.1,0.1"),
    channels=st.none() | st.just("0,2"),
    keep_sampling=st.booleans(),
    neighbours=st.sampled_from(["auto", "z", "t", "none"]),
    memory=st.none() | st.just("2GB"),
    threads=st.none() | st.integers(1, 64),
    compression=st.sampled_from(["auto", "none", "zlib", "zstd"]),
    pyramid=st.booleans(),
    ngff=st.sampled_from(["0.4", "0.5"]),
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 999, (64, 72), np.uint16)
    return write(tmp_path / "in put.tif", Image(pixels, "YX"))


@given(some)
@settings(deadline=None)
def test_a_file_keeps_every_option(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:
    options = RestoreOptions(**values)
    path = tmp_path_factory.getbasetemp() / "options.toml"
    path.write_text(options.toml(), encoding="utf-8")
    assert read_options(path) == options


@given(some)
@settings(deadline=None)
def test_the_command_says_every_option(values: dict) -> None:
    options = RestoreOptions(**values)
    command = typer.main.get_command(app)
    words = options.words()
    context = command.commands["restore"].make_context("restore", ["image.tif", *words])
    stated = {k: v for k, v in context.params.items() if k in RestoreOptions.model_fields}
    assert RestoreOptions(**stated) == options


def test_fields_are_the_long_options() -> None:
    parameters = typer.main.get_command(app).commands["restore"].params
    long = {option for one in parameters for option in one.opts if option.startswith("--")}
    fields = {f"--{name.replace('_', '-')}" for name in RestoreOptions.model_fields}
    others = {"--output", "--settings", "--resume", "--overwrite", "--strict", "--quiet", "--json"}
    others |= {"--this-file"}
    assert fields == long - others
    defaults = {one.name: one.default for one in parameters}
    for name, field in RestoreOptions.model_fields.items():
        assert defaults[name] == field.default, name


def test_the_command_line_beats_the_file_beats_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text('strength = 0.5\nmodel = "of_file"\nmemory = "2GB"\n')
    options = combine_options(file, {"strength": 0.25}, {"model": "of_env", "threads": 2})
    assert (options.strength, options.model, options.threads) == (0.25, "of_file", 2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("overwrite = true", "expected one of model, defect, .*, got 'overwrite'"),
        ("strength = 2", "strength: expected a value less than or equal to 1, got 2"),
        ('task = "planes"', "task: expected 'plane' or 'axial', got 'planes'"),
        ('voxel-size = "a"', "voxel size: expected positive z,y,x"),
        ("voxel-size = [0.5, 0, 0.1]", "voxel size: expected positive z,y,x"),
        ('memory = "much"', "memory: expected a size such as 2GB"),
        ("strength", "expected a TOML file of options"),
    ],
)
def test_a_wrong_file_gets_one_line(image, run_command, line: str, said: str) -> None:
    file = image.parent / "options.toml"
    file.write_text(f"{line}\n")
    with pytest.raises(ValueError, match=said):
        read_options(file)
    code, shown, error = run_command("restore", image, "--settings", file)
    assert (code, shown, len(error.splitlines())) == (2, "", 1)
    assert str(file) in error


def test_a_missing_file_is_named(image, run_command) -> None:
    code, _, error = run_command("restore", image, "--settings", image.parent / "none.toml")
    assert code == 2
    assert "no such file" in error


def test_the_same_from_words_and_from_a_file(image, run_command, monkeypatch) -> None:
    monkeypatch.setenv("MICROSCOPYGAN_MODEL", "of_the_environment.onnx")
    options = RestoreOptions(strength=0.7, defect="noise", dtype="float32")
    file = image.with_name("options.toml")
    file.write_text(options.toml())
    outputs = [image.with_name(name) for name in ("a.tif", "b.tif", "c.tif")]
    words = [*options.words(), "--model", "generalist"]
    assert run_command("restore", image, "-o", outputs[0], *words)[0] == 0
    assert run_command("restore", image, "-o", outputs[1], "--settings", file)[0] == 0
    less = ["--settings", file, "--strength", "0"]
    assert run_command("restore", image, "-o", outputs[2], *less)[0] == 0
    first, second, input_again = (read(path).array for path in outputs)
    assert first.tobytes() == second.tobytes()
    assert np.allclose(input_again, read(image).array, rtol=1e-5)
    assert not np.allclose(first, input_again, rtol=1e-2)


@pytest.mark.skipif(os.name == "nt", reason="shlex splits as POSIX shells do")
def test_the_command_can_be_pasted() -> None:
    options = RestoreOptions(model="my model.onnx", strength=0.5)
    command = options.command(["in put.tif"], "out.tif")
    assert shlex.split(command) == [
        *["microscopygan", "restore", "in put.tif", "-o", "out.tif"],
        *["--model", "my model.onnx", "--strength", "0.5"],
    ]
