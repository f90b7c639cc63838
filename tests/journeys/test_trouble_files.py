"""Files of the kinds that users have trouble with, from the command line."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from microscopygan.apps.cli import main
from microscopygan.image.formats import Image, open_image, read, write

RNG = np.random.default_rng(0)
Y, X = np.mgrid[:48, :64]
BLOBS = sum(np.exp(-((Y - y) ** 2 + (X - x) ** 2) / 40) for y, x in ((12, 15), (30, 45)))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["microscopygan", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(("light", "kept"), [(3, False), (1000, True)])
def test_photon_counts_keep_their_light(tmp_path, monkeypatch, capsys, light, kept):
    counts = RNG.poisson(0.2 + light * BLOBS).astype(np.uint16)
    write(tmp_path / "a.tif", Image(counts, "YX"))
    assert run(monkeypatch, "restore", tmp_path / "a.tif", "-o", tmp_path / "b.tif") == 0
    said = capsys.readouterr().out
    restored = read(tmp_path / "b.tif").array
    assert (restored.dtype == np.uint16, "few grey levels" in said) == (kept, not kept)
    assert restored.mean() == pytest.approx(counts.mean(), rel=0.15)
    forced = ("restore", tmp_path / "a.tif", "-o", tmp_path / "c.tif", "--dtype", "same")
    assert run(monkeypatch, *forced) == 0
    assert read(tmp_path / "c.tif").array.dtype == np.uint16
    write(tmp_path / "a.png", Image(counts, "YX"))
    assert run(monkeypatch, "restore", tmp_path / "a.png", "-o", tmp_path / "b.png") == 0


def test_single_photons_around_bright_spots_keep_their_light(tmp_path, monkeypatch, capsys):
    sparse = np.zeros((192, 256))
    sparse[:48, :64] = BLOBS
    counts = RNG.poisson(0.3 + 60 * sparse).astype(np.uint16)
    write(tmp_path / "a.tif", Image(counts, "YX"))
    assert run(monkeypatch, "restore", tmp_path / "a.tif", "-o", tmp_path / "b.tif") == 0
    assert "would cost more than 1 % of the light" in capsys.readouterr().out
    restored = read(tmp_path / "b.tif").array
    assert restored[:, 64:].mean() == pytest.approx(counts[:, 64:].mean(), rel=0.3)
    write(tmp_path / "a.tif", Image(counts + 100, "YX"), overwrite=True)
    assert run(monkeypatch, "restore", tmp_path / "a.tif", "-o", tmp_path / "c.tif") == 0
    assert read(tmp_path / "c.tif").array.dtype == np.uint16


def test_a_size_that_would_make_very_many_planes_is_questioned(tmp_path, monkeypatch, capsys):
    stack = RNG.poisson(np.broadcast_to(100 * BLOBS, (2, 48, 64))).astype(np.uint16)
    write(tmp_path / "a.tif", Image(stack, "ZYX", {"Z": 60.0, "Y": 0.1, "X": 0.1}))
    ask = ("restore", tmp_path / "a.tif", "-o", tmp_path / "b.tif", "--task", "axial")
    assert run(monkeypatch, *ask) == 2
    assert "at most 50 times as far apart" in capsys.readouterr().err
    assert run(monkeypatch, *ask, "--voxel-size", "0.2,0.1,0.1") == 0
    assert read(tmp_path / "b.tif").array.shape[0] == 3


def test_a_plate_is_restored_with_all_its_fields(tmp_path, monkeypatch):
    root = zarr.open_group(tmp_path / "p.zarr", mode="w")
    wells = {"A/1": ["0", "1"], "B/2": ["0"]}
    root.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": one} for one in wells]}}
    for well, fields in wells.items():
        images = {"version": "0.5", "well": {"images": [{"path": field} for field in fields]}}
        root.require_group(well).attrs["ome"] = images
        for field in fields:
            counts = RNG.poisson(300 * BLOBS + 50).astype(np.uint16)
            write(tmp_path / "x.zarr", Image(counts, "YX"))
            (tmp_path / "x.zarr").rename(tmp_path / "p.zarr" / well / field)
    assert run(monkeypatch, "restore", tmp_path / "p.zarr", "-o", tmp_path / "q.zarr") == 0
    for name in ("A/1/0", "A/1/1", "B/2/0"):
        restored, given = (open_image(tmp_path / z / name).array[...] for z in ("q.zarr", "p.zarr"))
        assert np.corrcoef(restored.ravel(), given.ravel())[0, 1] > 0.9
    assert [*zarr.open_group(tmp_path / "q.zarr").attrs["ome"]["plate"]["wells"]] == [
        {"path": one} for one in wells
    ]
    assert run(monkeypatch, "restore", f"{tmp_path}/p.zarr#B/2/0", "-o", tmp_path / "one.tif") == 0
    with tifffile.TiffFile(tmp_path / "one.tif") as file:
        assert file.series[0].shape == (48, 64)


def test_an_output_is_no_file_of_the_input(tmp_path, monkeypatch, capsys):
    paths: list[Path] = [tmp_path / "a0.ome.tif", tmp_path / "a1.ome.tif"]
    planes = "".join(
        f'<TiffData FirstZ="{k}" IFD="0" PlaneCount="1"><UUID FileName="{p.name}">u:{k}</UUID>'
        "</TiffData>"
        for k, p in enumerate(paths)
    )
    for k, path in enumerate(paths):
        text = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="u:{k}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
            'Type="uint16" SizeX="64" SizeY="48" SizeZ="2" SizeC="1" SizeT="1">'
            f'<Channel ID="Channel:0:0"/>{planes}</Pixels></Image></OME>'
        )
        counts = RNG.poisson(300 * BLOBS + 50).astype(np.uint16)
        settings = {"photometric": "minisblack", "metadata": None, "description": text}
        tifffile.imwrite(path, counts, **settings)
    before = paths[1].read_bytes()
    assert run(monkeypatch, "restore", paths[0], "-o", paths[1], "--overwrite") == 2
    assert "the output is the input" in capsys.readouterr().err
    assert paths[1].read_bytes() == before
    assert run(monkeypatch, "restore", tmp_path, "-o", tmp_path / "out") == 0
    assert "lies in 2 files" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 1
    alone = ("restore", paths[1], "-o", tmp_path / "alone.tif", "--this-file")
    assert run(monkeypatch, *alone) == 0
    assert read(tmp_path / "alone.tif").axes == "YX"
