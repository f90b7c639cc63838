"""What is known of a model: the page of one that ships, the table of a run."""

import re
from pathlib import Path

from microscopygan.apps.known_scores import known_psnr
from microscopygan.restoration.models import MODELS

REPOSITORY = Path(__file__).resolve().parents[2]
TITLES = {"noise": "noise", "lowres": "low resolution", "axial": "axial"}


def test_the_figures_of_what_ships_are_those_of_its_page() -> None:
    page = (REPOSITORY / MODELS["generalist"].page).read_text("utf-8")
    for defect, (before, after) in known_psnr("generalist").items():
        row = re.search(rf"^\| {TITLES[defect]} \| .*$", page, re.MULTILINE)
        assert row is not None
        cells = [cell.strip(" *") for cell in row[0].strip("|").split("|")]
        assert cells[1].startswith(f"{before:.2f} ")
        assert cells[3].startswith(f"{after:.2f} ")


def test_the_figures_of_a_run_are_means_of_its_table(tmp_path: Path) -> None:
    scores = tmp_path / "evaluation" / "scores.csv"
    scores.parent.mkdir()
    rows = ["defect,image,method,psnr_affine"]
    rows += ["noise,a,input,20", "noise,a,restored,30", "noise,b,input,22", "noise,b,restored,34"]
    rows += ["haze,a,input,inf", "haze,a,restored,31"]
    scores.write_text("\n".join(rows))
    assert known_psnr(tmp_path / "restorer.onnx") == {"noise": (21.0, 32.0)}
    assert known_psnr(tmp_path / "evaluation" / "restorer.onnx") == {}
