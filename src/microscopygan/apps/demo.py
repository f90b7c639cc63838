"""The demo: real images that ship, three defects put into them, restored at once, then learned.

Of the 24 clean images six stay clean, six appear only in defective form, six give pairs, and six
are kept for the test; for the axial defect, their axis 0 stands for the optical axis. The defects'
physical parameters are drawn here and not told to the training. With the seed 0 the generalist has
not seen the images of the test either.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ..datasets.folder import load_dataset
from ..defects import Defect
from ..defects.axial import Axial
from ..defects.lowres import LowResolution
from ..defects.noise import Noise
from ..image.formats import Image, list_images, read, write
from ..image.intensity import percentile_map
from ..restoration.models import GENERALIST
from ..settings import Settings, make_settings
from .batch import restore_batch

_FULL_SCALE = 40_000.0  # the 16-bit count that intensity 1 becomes
_BASELINE = 1_000.0  # the count of intensity 0, so that noise is not clipped
MINUTES = 3.0  # at most, for the adaptation


def run_demo(output: Path, *, seed: int = 0, overwrite: bool = False, quiet: bool = False) -> None:
    """Make the data, restore the test images as they are, adapt, restore again, and report.

    Parameters
    ----------
    output
        Gets ``dataset/``, ``restored-at-once/``, ``run/``, ``restored/`` and ``report.html``.
    seed
        Of the split, the defects and the training.
    overwrite
        Replace an earlier demo there.
    quiet
        Show no progress.

    Raises
    ------
    FileExistsError
        `output` exists and `overwrite` is not set.
    """
    from ..evaluate.report.page import write_report
    from ..training.stages import train
    from .training import evaluate_run

    console = Console(quiet=quiet, markup=False, emoji=False)
    _clear(output, overwrite)
    console.print("1/5  Putting noise, axial subsampling and low resolution into real images")
    dataset, run = output / "dataset", output / "run"
    write_dataset(dataset, np.random.default_rng(seed))
    data = load_dataset(dataset)
    console.print("2/5  Restoring the test images out of the box")
    begun = time.perf_counter()
    count = _restore(dataset, data.defects, output / "restored-at-once", GENERALIST)
    console.print(f"     {count} images in {time.perf_counter() - begun:.1f} s")
    console.print("3/5  Adapting to the dataset: the physics of its defects, then the restorer")
    trained = train(data, run, demo_settings(seed), minutes=MINUTES, overwrite=True, quiet=quiet)
    console.print("4/5  Restoring the test images once more")
    _restore(dataset, data.defects, output / "restored", run / "restorer.onnx")
    lines = evaluate_run(trained)
    console.print("5/5  Writing the report")
    write_report(run, output / "report.html", overwrite=True)
    console.print(scores_of(run))
    for line in lines:
        console.print(line)
    console.print(f"Open {output / 'report.html'} in a browser.")


def demo_settings(seed: int) -> Settings:
    """Return the settings of the adaptation."""
    return make_settings("default", seed=seed)


def _restore(dataset: Path, defects: Sequence[str], output: Path, model: Path | str) -> int:
    """Restore the test images of each defect; return how many there are."""
    count = 0
    for defect in defects:
        inputs = list_images([dataset / "test" / defect / "input"])
        failures = restore_batch(
            inputs, output / defect, model, overwrite=True, strict=True, quiet=True
        )
        for error in failures.values():
            raise error
        count += len(inputs)
    return count


def _clear(output: Path, overwrite: bool) -> None:
    if output.exists() and any(output.iterdir()) and not overwrite:
        raise FileExistsError(f"{output} exists; give --overwrite, or another folder")
    for name in ("dataset", "run", "restored", "restored-at-once"):
        shutil.rmtree(output / name, ignore_errors=True)
    (output / "report.html").unlink(missing_ok=True)


def draw_defect(name: str, rng: np.random.Generator) -> Defect:
    """Draw the parameters of one image's defect, around one microscope's."""
    if name == "noise":
        return Noise.draw(rng, photons=float(rng.uniform(8, 25)), read_noise=1.0)
    if name == "axial":
        return Axial.draw(rng, sigma_z=1.5, step=5)
    return LowResolution.draw(rng, sigma=2.0, binning=2, photons=float(rng.uniform(150, 300)))


def write_dataset(folder: Path, rng: np.random.Generator) -> None:
    """Write the demo's dataset folder, 16-bit TIFFs, in the layout of the README."""
    with as_file(files("microscopygan") / "samples") as samples:
        clean = [(path.stem, read(path)) for path in list_images([samples / "clean"])]
    order = rng.permutation(len(clean))
    roles = defaultdict(list)
    for place, index in enumerate(order):
        roles[("clean", "defective", "pairs", "test")[place % 4]].append(clean[index])
    for name, image in roles["clean"]:
        _write(folder / "clean" / f"{name}.tif", _scaled(image.array), image)
    for defect in ("noise", "axial", "lowres"):
        for name, image in roles["defective"]:
            bad = draw_defect(defect, rng).apply(_scaled(image.array), rng)
            _write(folder / defect / f"{name}.tif", bad, image)
        for part in ("pairs", "test"):
            for name, image in roles[part]:
                good = _scaled(image.array)
                bad = draw_defect(defect, rng).apply(good, rng)
                _write(folder / part / defect / "target" / f"{name}.tif", good, image)
                _write(folder / part / defect / "input" / f"{name}.tif", bad, image)


def _scaled(array: np.ndarray) -> np.ndarray:
    return percentile_map(array).apply(array)


def _write(path: Path, plane: np.ndarray, like: Image) -> None:
    counts = np.clip(np.round(plane * _FULL_SCALE + _BASELINE), 0, 65535).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, Image(counts, "YX", like.pixel_size, None))


def scores_of(run: Path) -> Table:
    """Return the affine-fit PSNR of the run's test images, by defect and method."""
    from ..evaluate.report.run_folder import read_run
    from ..evaluate.score_table import TITLES, score_table

    means = score_table(read_run(run).scores)
    methods = list(next(iter(means.values())))
    head = ("defect", *(TITLES[name].lower() for name in methods), "gain")
    table = Table(*head, title="Affine-fit PSNR on the test images, dB")
    for defect, of in means.items():
        gain = of["restored"].mean - of["input"].mean
        table.add_row(defect, *(of[name].text(2) for name in methods), f"{gain:+.2f}")
    return table
