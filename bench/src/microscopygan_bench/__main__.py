"""``microscopygan-bench NAME …``: one command for each benchmark."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "restoration": "methods of restoring on equal terms: ten pairs or none, five minutes",
    "odd": "odd defects of one laboratory, learned from a few unpaired images",
    "few-pairs": "train on a few pairs, or none, and score images never trained on",
    "zero-shot": "the generalist, as it ships, on images that nothing was trained on",
    "diagnosis": "stages and parameters found in virtual laboratories, and in clean images",
    "trust": "does the generalist do harm? Defects of every strength, invented structures",
    "frames": "whole camera frames with real noise, beside BM3D",
    "axial-stacks": "stacks of which every 4th plane is kept, against all their planes",
    "stacks": "noisy stacks and movies, with neighbouring planes and plane by plane",
    "realism": "how real the defects look that CIN-GAN makes",
    "restoration-speed": "seconds of restoring, beside other programs; start-up; size on disk",
    "restoration-memory": "peak memory of restoring images larger than memory",
    "strong-scaling": "the same image restored by one worker and by several",
    "training-speed": "seconds and memory of a training step",
}
FOLDERS = ("restoration", "odd")  # those of several modules


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark that the first argument names; return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        print("usage: microscopygan-bench NAME ...  (NAME --help: its options)\n")
        print("\n".join(f"  {name:20}{what}" for name, what in COMMANDS.items()))
        return 0
    name, *rest = words
    if name not in COMMANDS:
        print(f"expected one of {', '.join(COMMANDS)}, got {name!r}; try --help", file=sys.stderr)
        return 2
    place = f"{name}.command" if name in FOLDERS else name.replace("-", "_")
    module = import_module(f"microscopygan_bench.{place}")
    return int(module.main(rest) or 0)


if __name__ == "__main__":
    sys.exit(main())
