"""MicroscopyGAN from file to file, the model loaded once, as `microscopygan.load` is for."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from serve import serve

import microscopygan
from microscopygan.restoration.api import restore_file
from microscopygan.restoration.model import Restorer


@functools.cache
def network() -> Restorer:
    """Load the model that the command line names."""
    return microscopygan.load(sys.argv[1])


def prepare(job: dict[str, str]) -> Callable[[], None]:
    """Return what is timed: the job's image restored from file to file."""
    restorer = network()

    def run() -> None:
        restore_file(job["source"], job["target"], restorer, overwrite=True)

    return run


if __name__ == "__main__":
    serve(prepare)
