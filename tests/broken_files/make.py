"""Make the damaged images of this folder: ``python tests/broken_files/make.py``.

Each is of a kind that once gave a traceback, took minutes or memory for nothing, or went unnoticed
in some reader, or it stands for what happens to files: cut short, parts lost, one byte changed.
`tests/image/test_damaged.py` states what the reader has to say of each.
"""

import io
import shutil
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import zarr

HERE = Path(__file__).parent
RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 99, (24, 20), dtype=np.uint16)
STACK = RNG.integers(0, 99, (4, 32, 32), dtype=np.uint16)
ZYX = {"metadata": {"axes": "ZYX"}}


def tiff(array: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="minisblack", **settings)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    """Replace text once; it must be there."""
    assert old in content, old
    return content.replace(old, new, 1)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def with_tag(content: bytes, code: int, value: int) -> bytes:
    """Set the value of a tag of a TIFF file's first directory."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tag = file.pages.first.tags[code]
        form = {3: "<H", 4: "<I"}[int(tag.dtype)]
        return (
            content[: tag.valueoffset]
            + struct.pack(form, value)
            + content[tag.valueoffset + struct.calcsize(form) :]
        )


def png_of(width: int, height: int) -> bytes:
    """A PNG file whose header states a size, with the right checksum."""
    content = bytes(imagecodecs.png_encode(PLANE.astype(np.uint8)))
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def missing_file() -> bytes:
    """An OME-TIFF of two files, of which one is here."""
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
        'OME/2016-06" UUID="urn:uuid:0"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
        'DimensionOrder="XYZCT" SizeX="20" SizeY="24" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0"/><TiffData FirstZ="0" IFD="0" PlaneCount="1">'
        '<UUID FileName="file_missing.ome.tif">urn:uuid:0</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0" PlaneCount="1">'
        '<UUID FileName="nowhere.ome.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
    )
    return tiff(PLANE, metadata=None, description=xml.encode())


def make_files() -> dict[str, bytes]:
    ome = tiff(STACK, ome=True, **ZYX)
    tiled = tiff(STACK, ome=True, tile=(16, 16), compression="zlib", **ZYX)
    with tifffile.TiffFile(io.BytesIO(tiled)) as file:
        tile = file.pages[2].dataoffsets[1]
    png = bytes(imagecodecs.png_encode(PLANE))
    plain = tiff(PLANE, metadata=None)
    with tifffile.TiffFile(io.BytesIO(ome)) as file:
        xml = file.ome_metadata.encode()
    return {
        "cut.npy": npy(PLANE)[:-1],
        "huge.npy": changed(npy(PLANE), b"(24, 20), }            ", b"(2147483647, 99999999)}"),
        "negative.npy": changed(npy(PLANE), b"(24, 20), }  ", b"(-24, -20), }"),
        "objects.npy": npy(np.array([[{}]], object)),
        "checksum.png": flipped(png, len(png) - 17),
        "huge.png": png_of(2**31 - 1, 2**31 - 1),
        "cut.png": png[:-12],
        "cut.tif": plain[:-9],
        "bits.tif": with_tag(plain, 258, 65535),
        "huge_rows.tif": with_tag(plain, 257, 2**31 - 1),
        "huge_tile.tif": with_tag(tiff(PLANE, tile=(16, 16), compression="zlib"), 322, 2**16 - 16),
        "cut.ome.tif": ome[: len(ome) // 2],
        "planes_missing.ome.tif": changed(ome, b'SizeZ="4"', b'SizeZ="6"'),
        "billion_planes.ome.tif": tiff(
            STACK, metadata=None, description=changed(xml, b'SizeT="1"', b'SizeT="999999999"')
        ),
        "file_missing.ome.tif": missing_file(),
        "tile.ome.tif": tiled[:tile] + bytes(20) + tiled[tile + 20 :],
        "zero_size.ome.tif": tiff(
            PLANE, ome=True, metadata={"PhysicalSizeX": 0.0, "PhysicalSizeY": float("nan")}
        ),
        "frames.tif": changed(
            tiff(STACK, imagej=True, **ZYX), b"images=4\nslices=4", b"images=4\nslices=9"
        ),
    }


def image(folder: Path, version: int = 3, **settings: object) -> None:
    """Write a Zarr image of one level."""
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    group.create_array("0", data=STACK, chunks=(4, 16, 16), **settings)
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    scale = {"coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}
    scales = [{"axes": axes, "datasets": [{"path": "0", **scale}]}]
    group.attrs.update(
        {"ome": {"version": "0.5", "multiscales": scales}}
        if version == 3
        else {"multiscales": [{"version": "0.4", **scales[0]}]}
    )


def edit(path: Path, old: str, new: str) -> None:
    path.write_bytes(changed(path.read_bytes(), old.encode(), new.encode()))


def make_zarrs(folder: Path) -> None:
    for name in ("chunk", "shape", "huge", "json", "no_array", "axes", "codec", "no_level"):
        image(folder / f"{name}.zarr")
    image(folder / "chunk_v2.zarr", version=2, chunk_key_encoding={"name": "v2", "separator": "/"})
    image(folder / "shard.zarr", shards=(4, 32, 32))
    first = "4,\n    32,\n    32"
    array = folder / "chunk.zarr/0/c/0/1/0"
    array.write_bytes(array.read_bytes()[:100])
    (folder / "chunk_v2.zarr/0/0/1/0").write_bytes(b"")
    shard = folder / "shard.zarr/0/c/0/0/0"
    shard.write_bytes(flipped(shard.read_bytes(), shard.stat().st_size - 20))
    edit(folder / "shape.zarr/0/zarr.json", first, "4,\n    32,\n    999999")
    edit(folder / "huge.zarr/0/zarr.json", first, "9999999,\n    9999999,\n    9999999")
    text = folder / "json.zarr/zarr.json"
    text.write_bytes(text.read_bytes()[:200])
    (folder / "no_array.zarr/0/zarr.json").unlink()
    edit(folder / "axes.zarr/zarr.json", '"name": "z"', '"name": "y"')
    edit(folder / "codec.zarr/0/zarr.json", '"zstd"', '"zzzz"')
    edit(folder / "no_level.zarr/zarr.json", '"path": "0"', '"path": "7"')


def main() -> None:
    for old in HERE.iterdir():
        if old.suffix == ".zarr":
            shutil.rmtree(old)
    for name, content in make_files().items():
        (HERE / name).write_bytes(content)
    make_zarrs(HERE)


if __name__ == "__main__":
    main()
