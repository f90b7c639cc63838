"""Make the picture of the README: shipped images with a defect, restored out of the box, and clean.

``python scripts/readme_picture.py`` writes docs/images/before_after.png anew. The images are some
that the shipped network was not trained on; the defects are those of the demo.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import microscopygan
from microscopygan.apps.demo import draw_defect
from microscopygan.evaluate.report.pictures import grey, window
from microscopygan.image.intensity import percentile_map

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLES = REPOSITORY / "src" / "microscopygan" / "samples" / "clean"
OUTPUT = REPOSITORY / "docs" / "images" / "before_after.png"

# column: title, defect, sample, first row and column of the square that is shown
COLUMNS = (
    ("noise", "noise", "neubias_bacteria_thin", (60, 60)),
    ("few planes along the axis", "axial", "dsb2018_124", (110, 0)),
    ("low resolution", "lowres", "neubias_bacteria_thick", (40, 72)),
)
ROWS = ("before", "after", "clean")
SIZE, ZOOM, GAP, LEFT, TOP = 128, 2, 6, 70, 34
INK = (70, 80, 90)


def squares(defect: str, sample: str, corner: tuple[int, int]) -> list[np.ndarray]:
    """Return one square before, after and clean, (Y, X) uint8 on one grey scale."""
    array = microscopygan.read(SAMPLES / f"{sample}.tif").array
    clean = percentile_map(array).apply(array)
    rng = np.random.default_rng(0)
    before = np.asarray(draw_defect(defect, rng).apply(clean, rng), np.float32)
    after = microscopygan.restore(before, axes="YX")
    y, x = corner
    cut = [plane[y : y + SIZE, x : x + SIZE] for plane in (before, after, clean)]
    scale = window(cut[-1])
    return [grey(plane, *scale) for plane in cut]


def draw() -> Image.Image:
    """Lay out the picture: a column for each defect."""
    side = SIZE * ZOOM
    width = LEFT + len(COLUMNS) * (side + GAP)
    picture = Image.new("RGB", (width, TOP + len(ROWS) * (side + GAP)), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(17)
    for row, name in enumerate(ROWS):
        pen.text((LEFT - 10, TOP + row * (side + GAP) + side // 2), name, INK, font, anchor="rm")
    for column, (title, *which) in enumerate(COLUMNS):
        left = LEFT + column * (side + GAP)
        pen.text((left + side // 2, TOP // 2), title, INK, font, anchor="mm")
        for row, pixels in enumerate(squares(*which)):
            image = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            picture.paste(image, (left, TOP + row * (side + GAP)))
    return picture.convert("L")


def main(arguments: list[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    output = parser.parse_args(arguments).output
    output.parent.mkdir(parents=True, exist_ok=True)
    draw().save(output, optimize=True)


if __name__ == "__main__":
    main()
