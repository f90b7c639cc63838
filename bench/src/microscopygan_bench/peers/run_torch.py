"""The same weights in PyTorch, eager, on one window of the image's area in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch
from serve import serve

from microscopygan_bench.inputs import network


def prepare(job: dict[str, str]) -> Callable[[], None]:
    """Return what is timed: the network on the job's window, in the layout of argument 1."""
    layout = getattr(torch, sys.argv[1])  # channels_last or contiguous_format
    restorer = network().to(memory_format=layout)  # type: ignore[call-overload]
    window = torch.from_numpy(np.load(job["window"])).to(memory_format=layout)

    @torch.inference_mode()
    def run() -> None:
        restorer(window)

    return run


if __name__ == "__main__":
    serve(prepare)
