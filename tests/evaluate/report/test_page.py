import json
import re

import numpy as np
import pytest

from microscopygan.evaluate.report.page import write_report


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    for part in ("defects", "restorer", "evaluation"):
        (folder / part).mkdir(parents=True)
    (folder / "settings.json").write_text('{"restorer": {"note": "<b>bold</b>"}}')
    counts = {"noise": {"unpaired": 10, "pairs": 7, "test": 5}}
    record = {"seed": 1, "dataset": {"defects": counts, "clean": 20, "alpha": 0.5}}
    (folder / "run.json").write_text(json.dumps(record))
    lines = [f"{i},{i / 10},0.1,{2 / (i + 1)},{-i}" for i in range(30)]
    for part in ("defects", "restorer"):
        (folder / part / "log.csv").write_text("\n".join(["step,seconds,lr,content,gan", *lines]))
    scores = ["defect,image,method,psnr_affine,ssim_affine"]
    for method, value in (("input", 20), ("classical", 24), ("restored", 29)):
        scores += [f"noise,{i},{method},{value + i},0.5" for i in range(3)]
    evaluation = folder / "evaluation"
    (evaluation / "scores.csv").write_text("\n".join(scores))
    realism = {"noise": {"cin-gan": {"spectrum": 0.111, "noise_curve": None, "classifier": 0.61}}}
    (evaluation / "realism.json").write_text(json.dumps(realism))
    rng = np.random.default_rng(0)
    plane = rng.random((16, 16)).astype(np.float32)
    kinds = ("input", "classical", "restored", "clean")
    planes = {f"noise/0/{kind}": rng.random((64, 80), np.float32) for kind in kinds}
    np.savez(evaluation / "examples.npz", **planes)
    kinds = ("clean", "synthetic1", "synthetic2", "real")
    np.savez(evaluation / "synthetic.npz", **{f"noise/0/{kind}": plane for kind in kinds})
    return folder


def test_whole_run_makes_one_self_contained_page(run, tmp_path, checked):
    text, images = checked(write_report(run, tmp_path / "report.html"))
    assert images == 4 + 5 + 4
    assert 'class="best">30.00 ± 1.00' in text
    assert "+9.00 dB" in text
    assert text.count("<svg") == 4
    assert "0.111" in text
    assert "&lt;b&gt;bold" in text
    assert "no example" not in text


def test_a_detail_is_enlarged_first_and_framed_in_its_image(run, tmp_path, checked):
    text, _ = checked(write_report(run, tmp_path / "report.html"))
    detail, image = re.findall(r'<div class="row n\d">.*?</p></div>', text)[:2]
    titles = [re.findall(r"<figcaption>([^<]+)<", part) for part in (detail, image)]
    assert titles[0] == ["Input", "Classical", "Restored", "Clean"]
    assert titles[1] == [*titles[0], "|Restored − clean|"]
    assert 'width="48" height="48"' in detail
    assert image.count("<i style=") == 4
    assert "percentiles 1 and 99 of the clean detail" in detail
    assert "percentiles 1 and 99 of the clean image" in image


def test_an_adapted_network_is_called_so(run, tmp_path, checked):
    record = json.loads((run / "run.json").read_text())
    record["adaptation"] = {"kept_after_steps": 3, "judged_on": {"noise": "pairs"}}
    (run / "run.json").write_text(json.dumps(record))
    text, _ = checked(write_report(run, tmp_path / "report.html"))
    assert ">Adapted</th>" in text
    assert "|Adapted − clean|" in text


def test_further_images_are_folded_away(run, tmp_path, checked):
    rng = np.random.default_rng(1)
    kinds = ("input", "restored", "clean")
    planes = {f"noise/{n}/{k}": rng.random((16, 16), np.float32) for n in range(4) for k in kinds}
    np.savez(run / "evaluation" / "examples.npz", **planes)
    text, _ = checked(write_report(run, tmp_path / "report.html"))
    folded = text[text.index("<summary>More images") : text.index("</details>")]
    assert folded.count('class="row') == 2


def test_a_term_that_was_switched_off_has_no_chart(run, tmp_path, checked):
    log = run / "restorer" / "log.csv"
    head, *rows = log.read_text().splitlines()
    log.write_text("\n".join([f"{head},adversarial", *(f"{row},0" for row in rows)]))
    text, _ = checked(write_report(run, tmp_path / "report.html"))
    assert text.count("<svg") == 4


def test_absent_parts_are_said(run, tmp_path, checked):
    for part in ("run.json", "defects/log.csv", "restorer/log.csv"):
        (run / part).unlink()
    for path in (run / "evaluation").iterdir():
        path.unlink()
    text, images = checked(write_report(run, tmp_path / "report.html"))
    assert images == 0
    assert text.count('class="absent"') == 7


def test_faults_are_told_in_one_line(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_report(tmp_path / "nowhere", tmp_path / "x.html")
    with pytest.raises(ValueError, match="expected a run folder"):
        write_report(run / "evaluation", tmp_path / "x.html")
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        write_report(run, tmp_path / "there.html")
    assert (tmp_path / "there.html").read_text() == "mine"


def test_a_broken_part_leaves_no_page(run, tmp_path):
    (run / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json"):
        write_report(run, tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()
