from pathlib import Path

import pytest

from microscopygan.image.formats import list_images


def test_listing(tmp_path):
    for name in ("b.tif", "a.PNG", "c.txt", ".hidden.tif", "d.npy", "file.zarr"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "e.ome.zarr/0").mkdir(parents=True)
    (tmp_path / "e.ome.zarr/inner.tif").write_bytes(b"x")
    names = ["a.PNG", "b.tif", "d.npy", "e.ome.zarr"]
    assert [p.name for p in list_images([tmp_path])] == names
    assert [p.name for p in list_images([tmp_path / "b.tif", str(tmp_path)])] == names
    assert list_images([tmp_path / "folder.tif"]) == []
    with pytest.raises(ValueError, match=r"got suffix '\.txt'"):
        list_images([tmp_path / "c.txt"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list_images([tmp_path / "e.tif"])


def test_listing_patterns_and_urls(tmp_path):
    for name in ("p/b.tif", "p/q/c.tif", "p/a[1].tif", "p/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = list_images([f"{tmp_path}/p/*.tif", tmp_path / "p/b.tif"])
    assert [Path(p).name for p in found] == ["a[1].tif", "b.tif"]
    assert [Path(p).name for p in list_images([f"{tmp_path}/**/*"])] == [
        "a[1].tif",
        "b.tif",
        "c.tif",
    ]
    assert list_images([tmp_path / "p/a[1].tif"]) == [tmp_path / "p/a[1].tif"]
    urls = ["s3://bucket/a.zarr", "https://host/b.zarr"]
    assert list_images([*urls, tmp_path / "p/b.tif"]) == [tmp_path / "p/b.tif", *urls]
    with pytest.raises(FileNotFoundError, match=r"match .*\*\.txt, got none"):
        list_images([f"{tmp_path}/p/*.txt"])
