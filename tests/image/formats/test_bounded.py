"""No chunk is decoded to far more than its array's metadata say, however it is compressed."""

import os
import subprocess
import warnings
import zlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from microscopygan.image.formats import open_image
from microscopygan.image.formats.bounded import Limit, decoded_size, limit_of

CODECS = {
    "zstd": numcodecs.Zstd(level=3),
    "blosc": numcodecs.Blosc("lz4"),
    "gzip": numcodecs.GZip(),
    "zlib": numcodecs.Zlib(),
    "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(),
    "lz4": numcodecs.LZ4(),
}
INNER = {
    "zstd": {"name": "zstd", "configuration": {"level": 3}},
    "gzip": {"name": "gzip", "configuration": {"level": 5}},
    "blosc": {
        "name": "blosc",
        "configuration": {
            **{"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 2, "blocksize": 0}
        },
    },
}
PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
HUGE = 10**7  # bytes
BOMB = np.zeros(HUGE, np.uint8)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 200, 255, 256, 300, 70_000, 3_000_000])
def test_the_size_of_a_chunk_is_known_before_it_is_decoded(codec, size):
    content = CODECS[codec].encode(np.arange(size, dtype=np.uint8))
    if len(content) < 16:
        assert size == 1
        return
    for checksum in (b"", zlib.crc32(content).to_bytes(4, "little")):
        assert decoded_size(bytes(content) + checksum, codec, 10**7) == size


def test_counting_ends():
    two = zlib.compress(bytes(HUGE)) * 2
    assert 10**6 < decoded_size(two, "zlib", 10**6) < 3 * 10**6
    assert decoded_size(zlib.compress(bytes(5000))[:-9], "zlib", 10**6) <= 5000
    assert decoded_size(b"neither this nor that", "gzip", 10**6) == 0
    assert decoded_size(zlib.compress(bytes(700)) + bytes(9), "zlib", 10**6) == 700


def test_zstandard_that_does_not_say_how_large_it_is():
    done = subprocess.run(
        ["zstd", "-c", "--no-check"], input=bytes(10**6), capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("the program zstd is not there")
    for checksum in (b"", b"abcd"):
        content = done.stdout + checksum
        assert decoded_size(content, "zstd", 10**6) == 10**6
        assert decoded_size(content, "zstd", 10**5) == 10**5 + 1
        assert decoded_size(content[:20], "zstd", 10**6) == 0


@pytest.mark.parametrize("codec", CODECS)
def test_a_chunk_that_would_fill_the_memory_is_refused(tmp_path, codec):
    settings = {"zarr_format": 2, "compressors": CODECS[codec], "chunks": (32, 64)}
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS, **settings)
    image = open_image(tmp_path / "a.zarr", axes="YX")
    assert np.array_equal(image.array[...], PIXELS)
    (tmp_path / "a.zarr/1.0").write_bytes(CODECS[codec].encode(BOMB))
    with pytest.raises(ValueError, match=r"a\.zarr: .* would be decoded to \d+ or more, which"):
        image.array[...]
    assert np.array_equal(image.array[:32], PIXELS[:32])


@pytest.mark.parametrize("codec", INNER)
@pytest.mark.parametrize("place", ["start", "end", None])
def test_so_is_one_in_a_shard(tmp_path, codec, place):
    """Read as a whole or in part; a shard's second chunk is the bomb."""
    shards = {"shape": (64, 64), "index_location": place} if place else None
    settings: dict[str, Any] = {"compressors": [INNER[codec], {"name": "crc32c"}]}
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS, chunks=(32, 64), shards=shards, **settings)
    image = open_image(tmp_path / "a.zarr", axes="YX")
    assert np.array_equal(image.array[...], PIXELS)
    bomb = bytes(CODECS[codec].encode(BOMB)) + bytes(4)
    if place is None:
        (tmp_path / "a.zarr/c/1/0").write_bytes(bomb)
    else:
        put_into_shard(tmp_path / "a.zarr/c/0/0", bomb, limit_of(zarr.open(tmp_path / "a.zarr")))
    for region in (np.s_[...], np.s_[40:]):
        with pytest.raises(ValueError, match=r"would be decoded to \d+ or more, which"):
            image.array[region]
    assert np.array_equal(image.array[:32], PIXELS[:32])


def put_into_shard(path: Path, chunk: bytes, limit: Limit) -> None:
    """Append a chunk to a shard, as its second one."""
    content = bytearray(path.read_bytes())
    first = 0 if limit.index_first else len(content) - limit.index
    index = np.frombuffer(bytes(content[first : first + 32]), "<u8").copy()
    body = content[limit.index :] if limit.index_first else content[: -limit.index]
    index[2:] = len(body) + (limit.index if limit.index_first else 0), len(chunk)
    body += chunk
    stated = bytes(numcodecs.CRC32C(location="end").encode(index.view(np.uint8)))
    path.write_bytes(stated + body if limit.index_first else body + stated)


def test_a_file_larger_than_a_chunk_is_not_read(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS, chunks=(32, 64), compressors=None)
    image = open_image(tmp_path / "a.zarr", axes="YX")
    with (tmp_path / "a.zarr/c/1/0").open("r+b") as file:
        file.truncate(10**13)  # of which the disk holds next to nothing
    with pytest.raises(ValueError, match="would be decoded to 10000000000000"):
        image.array[...]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("inner", ["c/1/0", "zarr.json"])
def test_a_pipe_in_the_place_of_a_file_is_refused(tmp_path, inner):
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS, chunks=(32, 64))
    (tmp_path / "a.zarr" / inner).unlink()
    os.mkfifo(tmp_path / "a.zarr" / inner)
    with pytest.raises(ValueError, match=rf"^\S+a\.zarr: .*{inner} is a pipe or a device"):
        open_image(tmp_path / "a.zarr", axes="YX").array[...]


def test_chunks_that_nobody_can_judge_are_refused(tmp_path):
    twice = {"zarr_format": 2, "filters": [numcodecs.Zlib()], "compressors": numcodecs.Zstd()}
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS.astype("u1"), chunks=(32, 64), **twice)
    with pytest.raises(ValueError, match=r"chunks that are compressed once, got zlib and zstd"):
        open_image(tmp_path / "a.zarr", axes="YX")
    inner = zarr.codecs.ShardingCodec(chunk_shape=(16, 64), codecs=[zarr.codecs.BytesCodec()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.create_array(
            tmp_path / "b.zarr",
            shape=(64, 64),
            dtype="u2",
            chunks=(32, 64),
            shards=(64, 64),
            serializer=inner,
            compressors=None,
        )
    with pytest.raises(ValueError, match="shards of chunks with a plain index, got others"):
        open_image(tmp_path / "b.zarr", axes="YX")
