"""CAREamics' CARE at its default network size, after one training step, from file to file."""

from __future__ import annotations

import functools
import sys
import tempfile
import types
import warnings
from collections.abc import Callable

import lightning.pytorch  # noqa: F401  looks for torchvision itself: before the stand-in
import numpy as np
import tifffile
from serve import serve

# CAREamics imports torchvision for networks other than CARE; the package index has no build of
# it that fits PyTorch's CPU build.
for _name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
    sys.modules.setdefault(_name, types.ModuleType(_name))
sys.modules["torchvision"].__version__ = "0"  # type: ignore[attr-defined]

from careamics import CAREamist  # noqa: E402
from careamics.config import create_care_config  # noqa: E402


@functools.cache
def network() -> CAREamist:
    """Train for one step: CAREamics predicts from a checkpoint only."""
    config = create_care_config(
        experiment_name="default",
        data_type="array",
        axes="SYX",
        patch_size=(64, 64),
        batch_size=1,
        num_epochs=1,
        num_steps=1,
    )
    careamist = CAREamist(config, work_dir=tempfile.mkdtemp(), enable_progress_bar=False)
    noise = np.random.default_rng(0).random((16, 128, 128), np.float32)
    careamist.train(train_data=noise, train_data_target=noise)
    return careamist


def prepare(job: dict[str, str]) -> Callable[[], None]:
    """Return what is timed: the job's image restored from file to file."""
    careamist = network()

    def run() -> None:
        image = tifffile.imread(job["source"])
        planes = image.reshape(-1, *image.shape[-2:])
        restored, _ = careamist.predict(planes, axes="SYX", data_type="array", batch_size=1)
        counts = np.clip(np.rint(np.stack(restored)), 0, 65535).astype(np.uint16)
        tifffile.imwrite(job["target"], counts.reshape(image.shape))

    return run


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(prepare)
