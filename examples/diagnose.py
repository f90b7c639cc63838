"""Say what is wrong with images of one microscope, and what undoes it."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np

import microscopygan
from microscopygan.defects.stripes import Stripes

# Put a known defect into some images that ship; yours are files: diagnose("folder/a.tif").
samples = files("microscopygan") / "samples" / "clean"
rng = np.random.default_rng(0)
striped = []
for name in ("dsb2018_095", "dsb2018_113", "dsb2018_130"):
    clean = microscopygan.read(str(samples / f"{name}.tif")).array / 255
    striped.append(Stripes(gain=0.15, offset=0.03).apply(clean, rng))

diagnosis = microscopygan.diagnose(striped)
print(diagnosis)

# For programs: every defect with its probability, what is there with its parameters.
Path("diagnosis.json").write_text(json.dumps(diagnosis.as_dict(), indent=2))
probabilities = diagnosis.channels[0].as_dict()["probabilities"]
print({name: round(share, 2) for name, share in list(probabilities.items())[:5]})
