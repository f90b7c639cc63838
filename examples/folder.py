"""Restore all images of a folder; load the network once."""

from importlib.resources import files
from pathlib import Path

import microscopygan

folder = Path(str(files("microscopygan") / "samples" / "clean"))
output = Path("restored_folder")
output.mkdir(exist_ok=True)

model = microscopygan.load()  # or load("my_run/restorer.onnx")
for path in sorted(folder.glob("neubias_bacteria_*.tif")):
    done = microscopygan.restore_file(path, output / path.name, model, overwrite=True)
    print(done)
