"""Pictures: one for each family, as the page shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from microscopygan_bench.odd import pictures
from microscopygan_bench.odd.families import FAMILIES, SIDE, CameraMaps

SHOWN = Path(__file__).resolve().parents[3] / "docs" / "images" / "odd"


def test_every_family_has_a_small_picture() -> None:
    assert {path.stem for path in SHOWN.glob("*.png")} == set(FAMILIES)
    assert max(path.stat().st_size for path in SHOWN.glob("*.png")) < 80_000


def test_a_picture_is_what_its_script_makes() -> None:
    none = CameraMaps(np.ones((256, 256)), np.zeros((256, 256)))
    made = np.asarray(pictures.picture("rows", none), float)
    shown = np.asarray(Image.open(SHOWN / "rows.png"), float)
    assert made.shape == shown.shape == (SIDE, 3 * SIDE + 2 * pictures.GAP)
    two = 2 * SIDE + pictures.GAP  # the restored part is another one with another network
    assert np.abs(made[:, :two] - shown[:, :two]).mean() < 1
