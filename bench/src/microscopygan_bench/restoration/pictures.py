"""A picture for each task: the shipped samples as every method restores them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from microscopygan.evaluate.metrics import affine_fit, psnr_affine
from microscopygan.evaluate.report.pictures import grey, window
from microscopygan_bench.peers.job import RESTORED_SAMPLES, Arrays, read_arrays
from microscopygan_bench.restoration import samples
from microscopygan_bench.restoration.cells import Bench
from microscopygan_bench.restoration.methods import METHODS
from microscopygan_bench.restoration.report import first_draw
from microscopygan_bench.restoration.tables import Group, Results

GROUPS = ("reference", "peers", "ours")
SHOWN = 96  # pixels a side, from the middle of each field
GAP, HEAD, FOOT = 4, 46, 18  # pixels


def write_pictures(bench: Bench, results: Results, folder: Path) -> list[Path]:
    """Draw ``TASK.png`` of each task, with the methods of the first group of the tables.

    A method is in it where its first draw left restored samples here: published scores have none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for task in (name for name in bench.data.tasks if name in samples.DEFECTS):
        if columns := restored_samples(bench, results, results.groups[0], task):
            paths.append(folder / f"{task}.png")
            sheet(columns, samples.clean()).save(paths[-1], optimize=True)
    return paths


def restored_samples(bench: Bench, results: Results, group: Group, task: str) -> Arrays:
    """Return what the methods of a group made of a task's samples, by title."""
    columns: Arrays = {}
    for place in results.places(group):
        path, method = first_draw(bench, place, task) / RESTORED_SAMPLES, METHODS[place[0]]
        if method.group in GROUPS and path.exists() and task in (left := read_arrays(path)):
            columns[method.title] = left[task]
    return columns


def sheet(columns: Arrays, targets: np.ndarray) -> Image.Image:
    """Lay out a picture: a row for each sample, a column for each method, the target last.

    Each restored image is fitted to its target by gain and offset; a row has the grey scale of its
    target. Below each is its PSNR after that fit.
    """
    step, height = SHOWN + GAP, SHOWN + FOOT
    width = (len(columns) + 1) * step - GAP
    picture = Image.new("L", (width, HEAD + len(targets) * height), 255)
    pen, small = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for column, (title, planes) in enumerate([*columns.items(), ("target", targets)]):
        left = column * step
        words = "\n".join(textwrap.wrap(title, 15))
        pen.text((left + SHOWN // 2, HEAD // 2), words, 70, small, anchor="mm", align="center")
        for row, (plane, target) in enumerate(zip(planes, targets, strict=True)):
            top, scale = HEAD + row * height, window(target)
            shown = plane if planes is targets else affine_fit(target, plane)
            picture.paste(Image.fromarray(grey(_middle(shown), *scale)), (left, top))
            if planes is not targets:
                place = (left + SHOWN // 2, top + SHOWN + FOOT // 2)
                pen.text(place, f"{psnr_affine(target, plane):.1f} dB", 70, small, anchor="mm")
    return picture


def _middle(plane: np.ndarray) -> np.ndarray:
    y, x = ((length - SHOWN) // 2 for length in plane.shape)
    return np.asarray(plane[y : y + SHOWN, x : x + SHOWN], np.float32)
