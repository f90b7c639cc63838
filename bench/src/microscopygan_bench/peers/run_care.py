"""CSBDeep's CARE at its default network size, untrained, from file to file."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable

import numpy as np
import tifffile
from csbdeep.models import CARE, Config
from serve import serve


@functools.cache
def network() -> CARE:
    """Return CARE at its default size, untrained."""
    config = Config("YX", n_channel_in=1, n_channel_out=1)
    return CARE(config, "default", basedir=tempfile.mkdtemp())


def prepare(job: dict[str, str]) -> Callable[[], None]:
    """Return what is timed: the job's image restored from file to file."""
    care = network()

    def run() -> None:
        image = tifffile.imread(job["source"])
        planes = image.reshape(-1, *image.shape[-2:])
        restored = np.stack([care.predict(plane, "YX") for plane in planes])
        counts = np.clip(np.rint(restored), 0, 65535).astype(np.uint16)
        tifffile.imwrite(job["target"], counts.reshape(image.shape))

    return run


if __name__ == "__main__":
    serve(prepare)
