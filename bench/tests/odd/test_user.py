"""What a user would do: folders with names that tell nothing, the program as it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from microscopygan.datasets.folder import load_dataset
from microscopygan.defects import all_defects
from microscopygan_bench.odd import user
from microscopygan_bench.odd.families import microscope
from microscopygan_bench.odd.fields import read_family, read_maps
from microscopygan_bench.odd.rows import OURS, ROWS

STUB = """
import os, shutil, sys
from pathlib import Path
words = sys.argv[1:]
target = Path(words[words.index("-o") + 1])
if words[0] == "train":
    print("Adapted, +1.00 dB over the input\\nRun written to here")
    if os.environ.get("STUB") == "refuses":
        print("microscopygan: expected more, got nothing", file=sys.stderr)
        sys.exit(2)
    if os.environ.get("STUB") == "fails":
        print("out of luck", file=sys.stderr)
        sys.exit(1)
    target.mkdir()
    (target / "restorer.onnx").write_text(" ".join(words))
else:
    shutil.copytree(words[1], target)
    (target.parent / "words").write_text(" ".join(words))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(user, "_PROGRAM", (sys.executable, str(tmp_path / "stub.py")))


@pytest.mark.parametrize("name", OURS)
def test_a_dataset_is_one_that_the_program_reads(name: str, data: Path, tmp_path: Path) -> None:
    row, images = ROWS[name], read_family(data, "rows")
    user.write_dataset(tmp_path / "dataset", row, images)
    loaded = load_dataset(tmp_path / "dataset")
    assert [len(some) for some in loaded.defective.values()] == (
        [min(row.unpaired, 12)] * bool(row.unpaired)
    )
    assert [len(some) for some in loaded.pairs.values()] == [10] * bool(row.pairs)
    assert len(loaded.clean) == (4 if row.clean else 0)
    assert len(loaded.defects) == 1


def test_names_tell_nothing(data: Path, tmp_path: Path) -> None:
    for name in OURS:
        user.write_dataset(tmp_path / name, ROWS[name], read_family(data, "hot"))
    folders = {
        part for path in tmp_path.rglob("*") for part in path.relative_to(tmp_path).parts[1:]
    }
    assert user.DEFECT in folders
    assert not [f for f in folders for name in all_defects() if name in f]


def test_the_ceiling_has_fresh_defects_of_the_family(data: Path, tmp_path: Path) -> None:
    images, spoil = read_family(data, "rows"), microscope("rows", read_maps(data))
    user.write_ceiling(tmp_path, 2, images.like, spoil, "rows")
    pairs = load_dataset(tmp_path).pairs[user.DEFECT]
    assert len(pairs) == 2 * len(images.like)
    assert len({pair.input.tobytes() for pair in pairs}) == len(pairs)
    assert not {f"{name}.tif" for name in images.test} & {pair.name for pair in pairs}


def test_the_program_is_run_as_a_user_would(
    program: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROSCOPYGAN_MODEL", "something else")
    model, said = user.train(tmp_path / "w", ("--alpha", "0"), 0.5, 1)
    assert said == "Adapted, +1.00 dB over the input"
    work = tmp_path / "w"
    assert model.read_text() == (
        f"train {work / 'dataset'} -o {work / 'run'} --minutes 0.5 --alpha 0 --quiet"
    )
    test = read_family(data, "rows").test
    restored = user.restore(work, test, model, 1)
    assert (work / "words").read_text().endswith(f"--quiet --model {model}")
    assert all(np.allclose((restored[n] - 5000) / 10_000, p, atol=1e-4) for n, p in test.items())
    assert restored.keys() == test.keys()


def test_who_is_refused_has_what_ships(
    program: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB", "refuses")
    said = (None, "refused: microscopygan: expected more, got nothing")
    assert user.train(tmp_path / "w", (), 0.5, 1) == said
    user.restore(tmp_path / "w", read_family(data, "rows").test, None, 1)
    assert (tmp_path / "w" / "words").read_text().endswith("--quiet")
    monkeypatch.setenv("STUB", "fails")
    with pytest.raises(RuntimeError, match="out of luck"):
        user.train(tmp_path / "v", (), 0.5, 1)
