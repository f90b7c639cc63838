"""The same weights in PyTorch, eager, on one window of the image's area in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch
from benchmarks.material import network
from serve import serve


def prepare(job: dict[str, str]) -> Callable[[], None]:
    layout = getattr(torch, sys.argv[1])  # channels_last or contiguous_format
    restorer = network().to(memory_format=layout)
    window = torch.from_numpy(np.load(job["window"])).to(memory_format=layout)

    @torch.inference_mode()
    def run() -> None:
        restorer(window)

    return run


if __name__ == "__main__":
    serve(prepare)
