"""The bare ONNX Runtime session on one window of the image's area, already in memory."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import numpy as np
import onnxruntime
from serve import serve


@functools.cache
def session(path: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def prepare(job: dict[str, str]) -> Callable[[], None]:
    network, window = session(sys.argv[1]), np.load(job["window"])

    def run() -> None:
        network.run(None, {"image": window})

    return run


if __name__ == "__main__":
    serve(prepare)
