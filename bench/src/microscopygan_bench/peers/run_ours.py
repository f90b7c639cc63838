"""MicroscopyGAN from file to file, the model loaded once, as `microscopygan.load` is for.

``run_ours.py MODEL [NEIGHBOURS]``, as the option ``--neighbours`` says.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import cast

from serve import serve

import microscopygan
from microscopygan.restoration import Neighbours
from microscopygan.restoration.api import restore_file
from microscopygan.restoration.model import Restorer


@functools.cache
def network() -> Restorer:
    """Load the model that the command line names."""
    return microscopygan.load(sys.argv[1])


def prepare(job: dict[str, str]) -> Callable[[], None]:
    """Return what is timed: the job's image restored from file to file."""
    restorer = network()
    neighbours = cast(Neighbours, "".join(sys.argv[2:3]) or "auto")

    def run() -> None:
        restore_file(job["source"], job["target"], restorer, overwrite=True, neighbours=neighbours)

    return run


if __name__ == "__main__":
    serve(prepare)
