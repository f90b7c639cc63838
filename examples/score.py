"""Score restored images against good ones of the same places, as a table and as CSV.

Needs ``pip install "microscopygan[evaluate]"``.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np

import microscopygan
from microscopygan.defects.lowres import LowResolution
from microscopygan.evaluate.folders import evaluate_folders, summarise, write_csv

good, restored = Path("good"), Path("restored")
rng = np.random.default_rng(0)
for folder in (good, restored):
    folder.mkdir(exist_ok=True)
for name in ("dsb2018_095.tif", "dsb2018_124.tif"):
    image = microscopygan.read(str(files("microscopygan") / "samples" / "clean" / name))
    truth = image.array.astype(np.float32)
    bad = LowResolution(sigma=2.0, binning=2).apply(truth, rng).astype(np.float32)
    microscopygan.write(good / name, microscopygan.Image(truth, "YX", {}))
    better = microscopygan.restore(bad, axes="YX", defect="lowres")
    microscopygan.write(restored / name, microscopygan.Image(better, "YX", {}))

rows = evaluate_folders(restored, good)  # pairs the files by name
write_csv(rows, "scores.csv", overwrite=True)
for metric, (mean, sd) in summarise(rows).items():
    print(f"{metric:16} {mean:8.3f} ± {sd:.3f}")
# Read psnr_affine and ssim_affine first: they do not depend on gain and offset.
