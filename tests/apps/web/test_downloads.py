"""A zip of any size is made as it is sent."""

import io
import zipfile
from pathlib import Path

from microscopygan.apps.web.downloads import disposition, zipped


def test_a_zip_holds_files_and_folders_in_bounded_memory(tmp_path: Path):
    large = bytes(range(256)) * 40_000
    (tmp_path / "a.tif").write_bytes(large)
    (tmp_path / "b.zarr" / "0").mkdir(parents=True)
    (tmp_path / "b.zarr" / "0" / "zarr.json").write_text("{}")
    results = [("a.tif", tmp_path / "a.tif"), ("ü/b.zarr", tmp_path / "b.zarr")]
    parts = list(zipped(results))
    assert max(map(len, parts)) < 2**21
    packed = zipfile.ZipFile(io.BytesIO(b"".join(parts)))
    assert packed.testzip() is None
    assert packed.namelist() == ["a.tif", "ü/b.zarr/0/zarr.json"]
    assert packed.read("a.tif") == large


def test_no_name_breaks_out_of_the_header():
    assert disposition('a"\r\nX: y.tif') == "attachment; filename*=UTF-8''a%22%0D%0AX%3A%20y.tif"
