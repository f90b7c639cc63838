import zlib

import numcodecs
import numpy as np
import pytest
import zarr

from microscopygan.image.formats import open_image
from microscopygan.image.formats.bounded import decoded_size

CODECS = {
    "zstd": numcodecs.Zstd(level=3),
    "blosc lz4": numcodecs.Blosc("lz4"),
    "blosc zstd": numcodecs.Blosc("zstd"),
}
HUGE = 10**8  # bytes


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 200, 255, 256, 300, 70_000, 3_000_000])
def test_chunks_say_how_large_they_are(codec, size):
    content = CODECS[codec].encode(np.arange(size, dtype=np.uint8))
    assert decoded_size(content[:18], len(content)) == size
    checked = content + zlib.crc32(content).to_bytes(4, "little")
    assert decoded_size(checked[:18], len(checked)) == size


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("form", [2, 3])
def test_a_chunk_that_would_fill_the_memory_is_refused(tmp_path, codec, form):
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    if form == 2:
        settings = {"zarr_format": 2, "compressors": CODECS[codec]}
    elif codec == "zstd":
        settings = {"compressors": {"name": "zstd", "configuration": {"level": 3}}}
    else:
        about = {"cname": codec.split()[1], "clevel": 5, "shuffle": "shuffle", "typesize": 2}
        about |= {"blocksize": 0}
        settings = {"compressors": {"name": "blosc", "configuration": about}}
    zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(32, 64), **settings)
    image = open_image(tmp_path / "a.zarr", axes="YX")
    assert np.array_equal(image.array[...], pixels)
    chunk = tmp_path / "a.zarr" / ("1.0" if form == 2 else "c/1/0")
    chunk.write_bytes(CODECS[codec].encode(np.zeros(HUGE, np.uint8)))
    with pytest.raises(ValueError, match=rf"a\.zarr: .* would be decoded to {HUGE}, which"):
        image.array[...]
    assert np.array_equal(image.array[:32], pixels[:32])
