"""Ours, from file to file, in a process that has the package imported."""

from __future__ import annotations

import sys
from collections.abc import Callable

from serve import serve

from microscopygan.restoration.files import restore_file


def prepare(job: dict[str, str]) -> Callable[[], None]:
    def run() -> None:
        restore_file(job["source"], job["target"], model=sys.argv[1], overwrite=True)

    return run


if __name__ == "__main__":
    serve(prepare)
