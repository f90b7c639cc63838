"""Names: folders and images by name, in any case, suffix and form of Unicode."""

from pathlib import Path

import pytest

from microscopygan.datasets.names import (
    by_stem,
    folded,
    folders_in,
    images_in,
    label_of,
    matched,
    named_folders,
    stem_of,
)


def put(folder: Path, *names: str) -> Path:
    """Write files of these names, of which nothing but the name is looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize("name", ["noise", "Noise", "NOISE", "low_res", "myDefect", "Low_res"])
def test_folding_twice_is_folding_once(name: str) -> None:
    assert folded(folded(name)) == folded(name)
    assert folded(name).lower() == name.lower()


def test_folders_are_named_in_lower_case(tmp_path: Path) -> None:
    for name in ("Noise", "BLUR", "myDefect", ".hidden", "_kept"):
        put(tmp_path / name)
    put(tmp_path, "file")
    assert named_folders(tmp_path) == {
        folded(name): tmp_path / name for name in ("BLUR", "Noise", "myDefect")
    }
    assert folders_in(tmp_path) == list(named_folders(tmp_path).values())


def test_folders_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    for name in ("noise", "NOISE"):
        put(tmp_path / name)
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this disk does not tell upper from lower case")
    with pytest.raises(ValueError, match="of different names, got NOISE/ and noise/; join them"):
        named_folders(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt")
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"expected images \(\.tif.*\), got none; add some"):
            images_in(folder)


def test_images_by_name(tmp_path: Path) -> None:
    put(tmp_path, "b.tif", "a.ome.tif", "c.1.png", "notes.txt")
    assert list(by_stem(tmp_path)) == ["a", "b", "c.1"]
    put(tmp_path, "b.npy")
    with pytest.raises(ValueError, match=r"of each name, got b\.npy and b\.tif; keep one"):
        by_stem(tmp_path)


def test_images_of_one_name_belong_together(tmp_path: Path) -> None:
    inputs = put(tmp_path / "input", "cell.tif", "Zellk\u00f6rper.tif")
    targets = put(tmp_path / "target", "cell.png", "Zellko\u0308rper.npy", "more.tif")
    pairs = matched(inputs, targets)
    assert len(pairs) == 2
    for one, other in pairs:
        assert (one.parent, other.parent) == (inputs, targets)
        assert stem_of(one) == stem_of(other)
    with pytest.raises(ValueError, match=r"got more in target/ only \(1 in all\); add it"):
        matched(inputs, targets, both=True)
    put(inputs, "lonely.tif")
    with pytest.raises(ValueError, match=r"got lonely in input/ only .* add it to target/"):
        matched(inputs, targets)


@pytest.mark.parametrize(("path", "label"), [("a/b.tif", "b.tif"), ("a/b.lif#2", "b.lif#2")])
def test_a_label_keeps_the_suffix(path: str, label: str) -> None:
    assert label_of(Path(path)) == label
    assert stem_of(Path(path)) == label.replace(".tif", "").replace(".lif", "")
