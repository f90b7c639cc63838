"""The bare ONNX Runtime session on one window of the image's area, already in memory."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # has to come before the import

import numpy as np
import onnxruntime
from serve import serve


@functools.cache
def session(path: str) -> onnxruntime.InferenceSession:
    """Open a model with the session's default options."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def prepare(job: dict[str, str]) -> Callable[[], None]:
    """Return what is timed: one run of the network on the job's window."""
    network, window = session(sys.argv[1]), np.load(job["window"])
    image, *hints = network.get_inputs()
    feed = {image.name: np.repeat(window, image.shape[1], 1)}
    feed |= {hint.name: np.zeros((1, hint.shape[1]), np.float32) for hint in hints}

    def run() -> None:
        network.run(None, feed)

    return run


if __name__ == "__main__":
    serve(prepare)
