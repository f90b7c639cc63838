"""A worker that restores one image again and again for `microscopygan_bench.restoration_speed`.

Each contender runs in a process, and where it must in a virtual environment, of its own: no
thread pool or memory of one is in another's way. The parent writes one JSON line a job, the
worker answers with one line. This module uses the standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

Run = Callable[[], None]


def serve(prepare: Callable[[dict[str, str]], Run]) -> None:
    """Answer jobs until the input ends; `prepare` is not timed, what it returns is.

    Whatever the libraries print goes to the standard error, so that answers stay alone.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer: dict[str, object] = {"seconds": _timed(prepare(json.loads(line)))}
        except Exception as error:  # whatever a peer raises becomes its row of the table
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _timed(run: Run) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
